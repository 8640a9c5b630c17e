"""From the command line's words to checked settings, and from settings to objects; no torch."""
