"""One recipe per paper, from rows to artefacts."""
