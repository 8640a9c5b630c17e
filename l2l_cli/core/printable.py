"""Text for people: without terminal control characters, with readable counts and sizes."""

from __future__ import annotations

import re

# Control characters but tab and newline, marks of writing direction, other line separators, lone surrogates.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str) -> str:
    """Return text without invisible control characters; tabs and newlines stay."""
    return _UNSEEN.sub("", text)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, as in "1 seed" and "5 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size_text(count: int) -> str:
    """Return a number of bytes in readable form, as in "1.2 MB"."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
