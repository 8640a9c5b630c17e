"""Compiled and recorded ways through a learner's unroll, each beside the reference that it must equal."""
