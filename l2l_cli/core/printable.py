"""Text without signs that a terminal obeys."""

from __future__ import annotations

import re

# Controls but for tab and newline, marks that turn the direction of writing, other ends of lines, halves of characters.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str) -> str:
    """Return text without the characters that a terminal obeys and no reader sees; tabs and newlines stay."""
    return _UNSEEN.sub("", text)
