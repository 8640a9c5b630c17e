"""Scoring and tuning learners."""
