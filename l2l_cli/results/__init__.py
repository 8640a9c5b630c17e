"""Floor 0: run folders, tables, figures and reports; no torch."""
