"""Text for people: without signs that a terminal obeys, and counts and sizes as they say them."""

from __future__ import annotations

import re

# Controls but for tab and newline, marks that turn the direction of writing, other ends of lines, halves of characters.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str) -> str:
    """Return text without the characters that a terminal obeys and no reader sees; tabs and newlines stay."""
    return _UNSEEN.sub("", text)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, as "1 seed" and "5 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size_text(count: int) -> str:
    """Return a number of bytes as people say it, as "1.2 MB"."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
