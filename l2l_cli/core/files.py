"""Reading and writing of files: all files that are to last, or may come from someone else, pass through this module.

Files are complete at any moment, even after a power cut: content, name and folder reach the disk in this order.  A link
at the end of a path is not followed, and only regular files are opened, since a FIFO could block.
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
"""Suffix of a file's name while it is being written; such a name also begins with a dot."""

LARGEST = 1 << 33
"""Largest size in bytes of a file to read, where the reader knows no tighter bound."""

_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)
"""Error numbers of file systems that cannot flush a folder to disk, and of folders that may not be read."""


def open_file(path: Path, mode: str = "rb") -> IO[bytes]:
    """Open a regular file as ``open`` does.

    Args:
        path: The file.
        mode: One of "rb", "ab", "a+b" and "xb".

    Raises:
        UsageError: The path is a link, a folder, a FIFO or a device.
        OSError: The file cannot be opened.
    """
    if os.path.lexists(path):
        _refuse(path, os.lstat(path).st_mode)
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags | _CAREFUL, 0o666))
    try:
        _refuse(path, os.fstat(file.fileno()).st_mode)  # the file may have been replaced since the first check
    except UsageError:
        file.close()
        raise
    return file


def _refuse(path: Path, mode: int) -> None:
    """Refuse anything but a regular file, given its mode."""
    if stat.S_ISREG(mode):
        return
    kind = "a link, which is not followed" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "not a file"
    raise UsageError(f"{path} is {kind}; remove it, or put the file itself in its place")


def refuse_links(folder: Path) -> None:
    """Check that a folder holds only files and folders, at any depth, so that writing in it writes nowhere else.

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
        UsageError: It is larger, or not a regular file.
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
        kept: File that receives the old content, and may be the only one after a crash in between; None discards it.
        lasting: Whether the file must survive a power cut; otherwise it may then be missing, but never incomplete.

    Raises:
        UsageError: ``path`` or ``kept`` is a folder.
        OSError: The file cannot be written.
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
    """Flush what was appended to a file, and the file's name, to disk; do nothing if there is no file."""
    if path.exists():
        with open_file(path, "ab") as file:
            os.fsync(file.fileno())
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if its file system supports it."""
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
    """Make a folder and its parents, and flush the names of new ones to disk."""
    new = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in reversed(new):
        sync_folder(one.parent)


def checksum(*parts: bytes | memoryview) -> str:
    """Return a checksum of content, in one or more parts, as 16 hexadecimal digits.

    It is XXH3, which at 30 GB/s keeps pace with reading (CRC-32: 5 GB/s); it detects damage, not forgery.
    """
    found = xxh3_64()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def file_checksum(path: Path) -> str | None:
    """Return the checksum of a file's content; None if there is no file.

    Raises:
        UsageError: It is larger than any file of a run, or not a regular file.
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
    """Return the cache folder, for what can be computed or downloaded again; it need not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2l"
