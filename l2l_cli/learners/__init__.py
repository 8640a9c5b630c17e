"""Floor 2: everything that learns within an episode."""
