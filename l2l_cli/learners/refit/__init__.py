"""Learners that fit a model to all examples seen so far, once a data set."""
