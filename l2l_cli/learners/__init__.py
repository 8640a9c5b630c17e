"""Everything that learns within an episode."""
