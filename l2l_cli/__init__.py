"""l2l: the command line for learning to learn."""

__version__ = "0.2.0"
