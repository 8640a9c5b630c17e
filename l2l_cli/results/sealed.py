"""Measurement files with a checksum in a file beside each; a damaged one is removed and measured again."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from l2l_cli.core.files import atomic_write, checksum, file_checksum, read_file
from l2l_cli.results.metrics import Metric, MetricsFile, csv_of


def write_rows(path: Path, rows: Iterable[Metric]) -> None:
    """Write rows as a CSV file, atomically."""
    write_sealed(path, csv_of(rows).encode())


def write_sealed(path: Path, content: bytes) -> None:
    """Write the bytes of a file of rows and, beside it, their checksum, each atomically."""
    # The checksum first: without its file it does no harm, but a file without it counts as one of an older version.
    atomic_write(_seal(path), checksum(content) + "\n")
    atomic_write(path, content)


def drop_if_damaged(path: Path, metrics: Collection[str]) -> None:
    """Remove a file of rows that is damaged or lacks some metrics, with a warning.

    Raises:
        UsageError: The path is not that of a file, but for example of a link.
    """
    if os.path.lexists(path) and not _is_whole(path, metrics):
        print(f"warning: {path} is damaged; it is measured again", file=sys.stderr)
        path.unlink()


def _is_whole(path: Path, metrics: Collection[str]) -> bool:
    seal = _seal(path)
    if os.path.lexists(seal):
        if read_file(seal, 64).decode(errors="replace").strip() != file_checksum(path):
            return False
    elif not read_file(path).endswith(b"\n"):  # of an older version, which wrote no checksum
        return False
    return {*metrics} <= {*MetricsFile(path).read().metric}


def _seal(path: Path) -> Path:
    return path.with_name(f".{path.name}.xxh3")
