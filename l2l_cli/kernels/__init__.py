"""Floor 1: loops compiled by Numba, each beside the name of the reference that it must equal."""
