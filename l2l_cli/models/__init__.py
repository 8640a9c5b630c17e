"""Floor 1: the networks that tasks fit."""
