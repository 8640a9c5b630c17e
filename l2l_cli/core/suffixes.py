"""Endings of files by which the command line knows what they are."""

from __future__ import annotations

from pathlib import Path

EXPORTED = ".safetensors"
"""Ending of a file that a finished run was exported to."""


def is_exported(path: Path) -> bool:
    """Say whether a path is that of an exported run, by its name; whoever loads it sees what is there."""
    return path.suffix == EXPORTED and not path.is_dir()
