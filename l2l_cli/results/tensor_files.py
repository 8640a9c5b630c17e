"""Files of tensors in the safetensors format, which carry a checksum and may carry notes; no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from l2l_cli.core.files import checksum

KEY, UNKNOWN = "xxh3", 16 * "-"
"""Name of the checksum among the notes of the head, and what stands in its place while it is taken."""

_PLACE = re.compile(rb'"xxh3":"([0-9a-f]{16}|-{16})"')

_NOTES = "__metadata__"


class Damaged(Exception):
    """A file of tensors that is not as it was written; the reason."""


def sealed(content: bytes, notes: Mapping[str, str] | None = None) -> list[bytes | memoryview]:
    """Return the parts of a file with notes, and a checksum of the whole file, in its head.

    It stands under "xxh3" of the head's ``__metadata__``, and is that of the file with "-" in its place.

    Args:
        content: File whose checksum is ``UNKNOWN``.
        notes: Further texts of the head by name; equal ones come to equal bytes.
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
    """Return a head with its notes first and by name; safetensors writes them in any order."""
    return {_NOTES: dict(sorted(entries.pop(_NOTES).items())), **entries}


def see_that_it_is_whole(content: bytes) -> None:
    """See that a file is as it was written; of versions that wrote no checksum, none is asked for.

    Raises:
        Damaged: It is not.
    """
    end = end_of_head(content)
    if found := _PLACE.search(head := content[:end]):
        bare = head[: found.start(1)] + UNKNOWN.encode() + head[found.end(1) :]
        if checksum(bare, memoryview(content)[end:]) != found.group(1).decode():
            raise Damaged("its checksum is another")


def notes_of(content: bytes) -> dict[str, str]:
    """Return the notes of a file's head; none if it is no file of tensors.

    The file may be cut behind its head.
    """
    try:
        notes = json.loads(content[8 : end_of_head(content)])[_NOTES]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in notes.items()} if isinstance(notes, dict) else {}


def end_of_head(content: bytes) -> int:
    """Return where the data of a safetensors file begin, as its first 8 bytes say."""
    return 8 + int.from_bytes(content[:8], "little")
