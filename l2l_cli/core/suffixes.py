"""How a run is named that lies in one file: by the file's ending, or as a rule that comes with the program."""

from __future__ import annotations

from pathlib import Path

EXPORTED = ".safetensors"
"""Ending of a file that a finished run was exported to."""

PRETRAINED = "pretrained:"
"""Beginning of the name of a rule that comes with the program, as in pretrained:quadratic."""

SHIPPED = Path(__file__).resolve().parents[1] / "results" / "pretrained"
"""Folder of these rules, a file each."""


def is_exported(path: Path) -> bool:
    """Say whether a path is that of an exported run, by its name; whoever loads it sees what is there."""
    return str(path).startswith(PRETRAINED) or (path.suffix == EXPORTED and not path.is_dir())


def pretrained() -> list[str]:
    """Return the names of the rules that come with the program."""
    return sorted(path.stem for path in SHIPPED.glob(f"*{EXPORTED}"))
