"""Run folders, tables, figures and reports; no torch."""
