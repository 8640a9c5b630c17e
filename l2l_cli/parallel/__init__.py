"""Processes that share a step, a training or many runs."""
