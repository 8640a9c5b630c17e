"""Compiled ways through many steps of an update rule, each beside the reference that it must equal."""
