"""A task, an update rule and a paper for l2l."""
