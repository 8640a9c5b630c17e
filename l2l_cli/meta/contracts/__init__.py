"""Contracts of tasks, learners, rules and estimators, checked on a few steps of a few episodes before a run."""
