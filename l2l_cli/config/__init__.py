"""Configuration, composed from files and overrides, checked, saved, and built into objects; no torch."""
