"""Locks of files that end with the process that holds them, however it ends, and that no process inherits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

# POSIX locks, for a process that is forked inherits those of flock, and keeps them when this one has ended.


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process has locked a file, and keep it locked in the block; nothing on Windows.

    A file may be locked by one block of a process at a time, which must not open it meanwhile.
    """
    with path.open("a") as file:
        if sys.platform != "win32":
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Return whether another process has locked a file; False if there is no such file."""
    if sys.platform == "win32" or not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def wait_for(path: Path) -> str:
    """Wait until no other process has locked a file, and return its content, also if it is deleted meanwhile.

    Raises:
        FileNotFoundError: There is no such file.
    """
    with path.open() as file:
        if sys.platform != "win32":
            fcntl.lockf(file, fcntl.LOCK_SH)
        return file.read()
