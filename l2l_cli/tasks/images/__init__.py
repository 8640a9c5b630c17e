"""Image classification: data sets, their division between phases, and one task for every network."""
