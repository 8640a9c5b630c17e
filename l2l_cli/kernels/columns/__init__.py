"""Kernels whose vector lanes are columns: coordinates of a learned rule, or episodes."""
