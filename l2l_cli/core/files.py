"""Files: the one door through which all that may last, or may be a stranger's, is written and read.

What is written is whole at any moment, also after a power cut: content, then name, then folder reach the disk.  A link
at the end of a path is not followed, and nothing but a file is opened: a FIFO would be waited for.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from xxhash import xxh3_64

from l2l_cli.core.errors import UsageError

TEMPORARY = ".tmp"
"""Ending of a file's name while it is being written; its first character is a dot."""

LARGEST = 1 << 33
"""Bytes of a file that is read, where a reader knows no closer bound."""

_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)
"""Errors of file systems that cannot bring a folder to the disk, and of folders that may not be read."""


def open_file(path: Path, mode: str = "rb") -> IO[bytes]:
    """Open a file as ``open`` does, if it is one.

    Args:
        path: The file.
        mode: One of "rb", "ab", "a+b" and "xb".

    Raises:
        UsageError: A link, a folder, a FIFO or a device is there in its place.
        OSError: It cannot be opened.
    """
    if os.path.lexists(path):
        _refuse(path, os.lstat(path).st_mode)
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags | _CAREFUL, 0o666))
    try:
        _refuse(path, os.fstat(file.fileno()).st_mode)  # what is there may have changed since
    except UsageError:
        file.close()
        raise
    return file


def _refuse(path: Path, mode: int) -> None:
    """Refuse what is no file, given its mode."""
    if stat.S_ISREG(mode):
        return
    kind = "a link, which is not followed" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "not a file"
    raise UsageError(f"{path} is {kind}; remove it, or put the file itself in its place")


def refuse_links(folder: Path) -> None:
    """See that a folder holds files and folders alone, at any depth, so that writing in it writes nowhere else.

    Raises:
        UsageError: It holds a link, a FIFO or a device.
    """
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                refuse_links(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                _refuse(Path(entry.path), entry.stat(follow_symlinks=False).st_mode)


def read_file(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a file of at most ``largest`` bytes.

    Raises:
        UsageError: It is larger, or no file.
        OSError: It cannot be read.
    """
    with open_file(path) as file:
        _refuse_larger(path, file, largest)
        return file.read()


def _refuse_larger(path: Path, file: IO[bytes], largest: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if size > largest:
        raise UsageError(f"{path} has {size} bytes, more than the {largest} allowed; remove it")


def atomic_write(
    path: Path, content: bytes | str | Sequence[bytes | memoryview], kept: Path | None = None, lasting: bool = True
) -> None:
    """Replace a file so that readers, also after a crash, see either the old content or the new one.

    Args:
        path: The file; a link in its place is replaced, not followed.
        content: New content, or its parts.
        kept: File that has the old content afterwards, or at a crash in between alone; None drops it.
        lasting: Whether the file must still be there after a power cut; otherwise it may be missing, but never torn.

    Raises:
        UsageError: A folder is there in its place, or in that of ``kept``.
        OSError: It cannot be written.
    """
    for place in (path, kept):
        if place is not None and place.is_dir() and not place.is_symlink():
            _refuse(place, stat.S_IFDIR)
    text = content.encode() if isinstance(content, str) else content
    parts = [text] if isinstance(text, bytes) else text
    # Two threads, or processes of two machines that share a file system, may write one file at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with open_file(temporary, "xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if kept is not None and path.exists():
            os.replace(path, kept)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if lasting:
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Bring what was appended to a file to the disk, and its name; nothing if there is no file."""
    if path.exists():
        with open_file(path, "ab") as file:
            os.fsync(file.fileno())
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where its file system can."""
    if sys.platform == "win32":
        return
    try:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise


def make_folder(path: Path) -> None:
    """Make a folder and its parents, and bring the names of those that are new to the disk."""
    new = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in reversed(new):
        sync_folder(one.parent)


def checksum(*parts: bytes | memoryview) -> str:
    """Return 16 hex digits by which content, in one or more parts, is told from the same with damage.

    XXH3, which is as fast as the content is read (30 GB/s against 5 GB/s of CRC-32): it is to find damage, not forgery.
    """
    found = xxh3_64()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def file_checksum(path: Path) -> str | None:
    """Return the checksum of a file's content; None if there is no file.

    Raises:
        UsageError: It is larger than any file of a run, or something else is there in its place.
    """
    if not os.path.lexists(path):
        return None
    found = xxh3_64()
    with open_file(path) as file:
        _refuse_larger(path, file, LARGEST)
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def cache_folder() -> Path:
    """Return the folder for what can be made or downloaded again, which may still have to be made."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2l"
