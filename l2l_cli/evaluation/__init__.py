"""Floor 3: scoring and tuning learners."""
