"""Names of runs that consist of one file: an exported file, or a rule that comes with the program."""

from __future__ import annotations

from pathlib import Path

EXPORTED = ".safetensors"
"""Suffix of a file that a finished run was exported to."""

PRETRAINED = "pretrained:"
"""Prefix of the name of a rule that comes with the program, as in pretrained:quadratic."""

SHIPPED = Path(__file__).resolve().parents[1] / "results" / "pretrained"
"""Folder of these rules, one file each."""


def is_exported(path: Path) -> bool:
    """Return whether a path is named like an exported run; its content is checked when it is loaded."""
    return str(path).startswith(PRETRAINED) or (path.suffix == EXPORTED and not path.is_dir())


def pretrained() -> list[str]:
    """Return the names of the rules that come with the program."""
    return sorted(path.stem for path in SHIPPED.glob(f"*{EXPORTED}"))
