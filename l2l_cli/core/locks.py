"""Locks of files that end with the process that holds them, however it ends, and that no process inherits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl


def try_lock(file: IO[Any]) -> bool:
    """Try to lock an open file until it is closed or its process ends; on systems without such locks, return True.

    By flock, so that this process too may open the file and see that it is locked.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# The others are POSIX locks: a process that a launcher forks would inherit flock's, and keep them after this one.


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
