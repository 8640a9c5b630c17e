"""Tensor files in the safetensors format, with a checksum and optional notes in their header; no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from l2l_cli.core.files import checksum

KEY, UNKNOWN = "xxh3", 16 * "-"
"""Name of the checksum among the notes in the header, and its placeholder while it is computed."""

_PLACE = re.compile(rb'"xxh3":"([0-9a-f]{16}|-{16})"')

_NOTES = "__metadata__"


class Damaged(Exception):
    """A tensor file is not as it was written; the message is the reason."""


def sealed(content: bytes, notes: Mapping[str, str] | None = None) -> list[bytes | memoryview]:
    """Return the parts of a file whose header holds notes and a checksum of the whole file.

    The checksum is the entry "xxh3" of ``__metadata__``, and is computed with ``UNKNOWN`` in its place.

    Args:
        content: File whose checksum is ``UNKNOWN``.
        notes: Further texts for the header by name; equal ones give equal bytes.
    """
    end = end_of_head(content)
    head, data = content[:end], memoryview(content)[end:]
    if notes:
        entries = json.loads(head[8:])
        entries[_NOTES] |= notes
        text = json.dumps(_in_order(entries), separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)  # the format's data begin at a multiple of 8
        head = len(text).to_bytes(8, "little") + text
    placed = f'"{KEY}":"{UNKNOWN}"'.encode()
    return [head.replace(placed, f'"{KEY}":"{checksum(head, data)}"'.encode()), data]


def _in_order(entries: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Return a header with its notes first, sorted by name; safetensors writes them in any order."""
    return {_NOTES: dict(sorted(entries.pop(_NOTES).items())), **entries}


def see_that_it_is_whole(content: bytes) -> None:
    """Check that a file is as it was written; older files without a checksum pass.

    Raises:
        Damaged: The checksum does not match.
    """
    end = end_of_head(content)
    if found := _PLACE.search(head := content[:end]):
        bare = head[: found.start(1)] + UNKNOWN.encode() + head[found.end(1) :]
        if checksum(bare, memoryview(content)[end:]) != found.group(1).decode():
            raise Damaged("its checksum does not match")


def notes_of(content: bytes) -> dict[str, str]:
    """Return the notes in a file's header; none if it is not a tensor file.

    The content may be cut off after the header.
    """
    try:
        notes = json.loads(content[8 : end_of_head(content)])[_NOTES]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in notes.items()} if isinstance(notes, dict) else {}


def end_of_head(content: bytes) -> int:
    """Return the offset of the data in a safetensors file, from its first 8 bytes."""
    return 8 + int.from_bytes(content[:8], "little")
