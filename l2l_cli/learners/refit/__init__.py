"""Learners that refit a classical model to all examples of an episode."""
