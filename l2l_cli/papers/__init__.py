"""Floor 4: one recipe a paper, from rows to artefacts."""
