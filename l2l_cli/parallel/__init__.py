"""One training over several processes: shared memory, workers, a network whose batches are divided."""
