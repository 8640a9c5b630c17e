"""An archive of compressed measurement files; what it holds need not be measured again."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from pathlib import Path

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write, make_folder, read_file
from l2l_cli.results.sealed import write_sealed

PACKED = ".xz"
"""Suffix that a packed file has after its own name."""


def unpack(archive: Path, files: Iterable[Path]) -> int:
    """Unpack the missing measurement files that an archive holds, and return how many.

    A file's name contains a hash of everything that determines its content, so a file in the archive holds exactly
    what would be measured.

    Raises:
        UsageError: A packed file is damaged.
    """
    count = 0
    for file in files:
        packed = archive / f"{file.name}{PACKED}"
        if not file.exists() and packed.is_file():
            write_sealed(file, _content(packed))
            count += 1
    return count


def pack(archive: Path, files: Iterable[Path]) -> int:
    """Add measurement files to an archive unless it has them already, and return how many were added."""
    make_folder(archive)
    count = 0
    for file in files:
        packed = archive / f"{file.name}{PACKED}"
        if not packed.exists():
            atomic_write(packed, lzma.compress(read_file(file), preset=9 | lzma.PRESET_EXTREME))
            count += 1
    return count


def _content(packed: Path) -> bytes:
    try:
        return lzma.decompress(read_file(packed))
    except lzma.LZMAError as error:
        raise UsageError(
            f"{packed} is damaged ({error}); restore it, for example with `git checkout`, or remove it to measure "
            "its content again"
        ) from error
