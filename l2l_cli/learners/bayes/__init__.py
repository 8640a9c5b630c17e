"""Limits of learning: learners that know the prior from which the functions of a task are drawn."""
