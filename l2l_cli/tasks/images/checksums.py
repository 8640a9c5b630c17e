"""Checksums of data files: computed once, and remembered while a file's size and modification time stay the same."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write, cache_folder

LARGEST = 1 << 30
"""Largest number of bytes in a file with a known checksum."""


def verify(path: Path, content: bytes, checksum: str) -> None:
    """Check that a file's content has the given checksum, its MD5 in hexadecimal.

    Raises:
        UsageError: It has another checksum.
    """
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
        raise UsageError(f"{path} is damaged or a different file: its MD5 is not {checksum}; delete it and try again")


def read_verified(path: Path, checksum: str) -> bytes:
    """Return a file's content after checking its checksum, unless that was done since the file last changed.

    Raises:
        UsageError: It has another checksum, or is larger than any such file.
    """
    if (state := path.stat()).st_size > LARGEST:
        raise UsageError(
            f"{path} has {state.st_size} bytes and is not a file of this data set; delete it and try again"
        )
    content = path.read_bytes()
    memory, key = cache_folder() / "checksums.json", str(path.resolve())
    fact = [state.st_size, state.st_mtime_ns, checksum]
    known = _remembered(memory)
    if known.get(key) != fact:
        verify(path, content, checksum)
        with suppress(OSError):  # if the home folder cannot be written to, every process computes them again
            memory.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(memory, json.dumps(known | {key: fact}))
    return content


def _remembered(memory: Path) -> dict[str, object]:
    """Return the checksums that are remembered; none if their file is missing or damaged, so that all are computed."""
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
