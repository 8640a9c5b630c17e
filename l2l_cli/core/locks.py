"""File locks that are released when their process ends, however it ends, and that no process inherits.

On POSIX they use fcntl: before version 4, filelock empties the file that names the holder and lets forked processes
inherit its lock; and where a file system has no flock, its lock outlives the process.  Elsewhere they use filelock, on
a file next to the locked one, whose content others must be able to read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

from l2l_cli.core.files import open_file

if sys.platform != "win32":
    import fcntl

HAS_FCNTL = sys.platform != "win32"

_BESIDE: WeakKeyDictionary[IO[Any], Any] = WeakKeyDictionary()
"""Locks of filelock by the open file that each stands for, with which it is released."""


def try_lock(file: IO[Any]) -> bool:
    """Try to lock an open file until it is closed or its process ends.

    On POSIX it is a flock, so that this process, too, can open the file and see that it is locked.
    """
    if not HAS_FCNTL:
        from filelock import Timeout

        lock = _beside(Path(file.name))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        _BESIDE[file] = lock
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _beside(path: Path) -> Any:
    from filelock import FileLock

    return FileLock(path.with_name(f"{path.name}.held"))


# The locks below are POSIX locks: a process forked by a launcher would inherit a flock and hold it after this one ends.


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process has locked a file, and keep it locked in the block.

    Only one block of a process may lock a file at a time, and the process must not open the file meanwhile.
    """
    with open_file(path, "ab") as file:
        if not HAS_FCNTL:
            with _beside(path):
                yield
            return
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Return whether another process has locked a file; False if there is no such file."""
    if not path.exists():
        return False
    with open_file(path, "ab") as file:
        if not HAS_FCNTL:
            return not try_lock(file)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def wait_for(path: Path) -> str:
    """Wait until no other process has locked a file, and return its content, even if it is deleted meanwhile.

    Raises:
        FileNotFoundError: There is no such file.
    """
    with open_file(path) as file:
        if HAS_FCNTL:
            fcntl.lockf(file, fcntl.LOCK_SH)
        else:
            with _beside(path):
                pass
        return file.read().decode()
