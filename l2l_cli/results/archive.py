"""Files of measurements in an archive, packed: what is there is taken from it, and need not be measured again."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from pathlib import Path

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write, make_folder, read_file
from l2l_cli.results.sealed import write_sealed

PACKED = ".xz"
"""What the name of a packed file ends in, beside its own."""


def unpack(archive: Path, files: Iterable[Path]) -> int:
    """Write those of the files of measurements that are not there and that an archive has; return how many.

    A file's name holds the identity of all that decides its measurements, so what is found is what would be measured.

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
    """Put files of measurements into an archive, unless they are in it; return how many."""
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
            f"{packed} is damaged ({error}); get it again, as by `git checkout`, or remove it, and what it "
            "holds is measured anew"
        ) from error
