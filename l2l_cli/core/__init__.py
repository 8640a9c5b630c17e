"""Floor 0: states, parameters, models, points and random numbers."""
