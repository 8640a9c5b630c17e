"""Files that are whole at any moment, locks on them, and the user's folder for what can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace a file so that readers, also after a crash, see either the old content or the new one."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def try_lock(file: IO[str]) -> bool:
    """Try to lock an open file until it is closed or its process ends; on systems without such locks, return True."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
