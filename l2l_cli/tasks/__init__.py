"""Floor 1: what is learned."""
