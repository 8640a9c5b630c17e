"""Update rules, hand-made and learned."""
