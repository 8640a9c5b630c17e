"""Files of measurements that are whole or made anew: each beside a file with its checksum."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from l2l_cli.core.files import atomic_write, checksum, file_checksum, read_file
from l2l_cli.results.metrics import Metric, csv_of


def write_rows(path: Path, rows: Iterable[Metric]) -> None:
    """Write rows as a CSV file that ``is_whole`` until it is damaged."""
    content = csv_of(rows).encode()
    # A checksum without its file says nothing; a file without its checksum is one of an older version.
    atomic_write(_seal(path), checksum(content) + "\n")
    atomic_write(path, content)


def is_whole(path: Path) -> bool:
    """Say whether a file of rows is as it was written.

    Of older versions there is no checksum; then it must end with a whole line.

    Raises:
        UsageError: Something else is in its place, such as a link.
    """
    seal = _seal(path)
    if os.path.lexists(seal):
        return read_file(seal, 64).decode(errors="replace").strip() == file_checksum(path)
    content = read_file(path)
    return content.startswith(",".join(Metric._fields).encode() + b"\n") and content.endswith(b"\n")


def _seal(path: Path) -> Path:
    return path.with_name(f".{path.name}.crc32")
