"""A network whose batches are divided over processes: shared memory, worker processes, the network itself."""
