"""Vector registers as values for Numba, and what is computed on them."""
