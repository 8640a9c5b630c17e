"""The foundations that all other folders share: errors, random numbers, state trees, parameter vectors and batches."""
