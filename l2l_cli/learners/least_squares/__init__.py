"""Online least squares on learned features, in a learner's state."""
