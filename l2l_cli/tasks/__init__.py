"""Tasks: distributions of episodes in which something is learned."""
