"""Kernels whose vector lanes are seeds of one configuration."""
