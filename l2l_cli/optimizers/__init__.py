"""Floor 1: update rules, hand-made and learned."""
