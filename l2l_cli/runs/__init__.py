"""The layer between commands and mathematics: building, loading, tuning, training and progress."""
