"""Files that are whole at any moment, and the user's folder for what can be made again."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

TEMPORARY = ".tmp"
"""Ending of a file's name while it is being written; its first character is a dot."""


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace a file so that readers, also after a crash, see either the old content or the new one."""
    data = content.encode() if isinstance(content, str) else content
    # Two threads, or processes of two machines that share a file system, may write one file at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return the folder for what can be made or downloaded again, which may still have to be made."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2l"
