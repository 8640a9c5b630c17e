"""Vector registers as values for Numba, and functions of them."""
