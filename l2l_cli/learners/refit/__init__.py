"""Learners that fit a classical model anew to all examples of an episode."""
