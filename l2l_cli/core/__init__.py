"""What every other folder uses: errors, random numbers, states as trees, parameters as vectors, batches."""
