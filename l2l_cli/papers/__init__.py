"""One recipe a paper, from rows to artefacts."""
