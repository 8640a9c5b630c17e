"""What happens between a command and the mathematics: building, loading, tuning, training, progress."""
