"""Labelled images in IDX files, named and laid out like MNIST's (LeCun et al. 1998)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.tasks.images.labelled import Dataset, LoadedImages

DENSEST = 1100
"""Largest number of bytes that a byte of gzip can stand for: DEFLATE's 1032, and some for headers."""


def read_idx(place: Path) -> Dataset:
    """Read a folder of files named like MNIST's, compressed or not.

    Raises:
        UsageError: A file is missing or is not what its name says.
    """
    parts = []
    for part in ("train", "t10k"):
        images, labels = _idx(place, f"{part}-images-idx3-ubyte", 3), _idx(place, f"{part}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise UsageError(
                f"{place}: {len(images)} images and {len(labels)} labels of {part}: their numbers must be equal"
            )
        parts.append(LoadedImages(images[:, None], labels.long()))
    sizes = [" × ".join(map(str, part.images.shape[2:])) for part in parts]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"{place}: images of train have {sizes[0]} pixels, those of t10k {sizes[1]}: they must be equal"
        )
    return Dataset(parts[0], parts[1], int(max(part.labels.max() for part in parts)) + 1)


def _idx(place: Path, name: str, axes: int) -> Tensor:
    """Read one IDX file of bytes: a magic number with the number of axes, their lengths, the values."""
    found = next((path for path in (place / f"{name}.gz", place / name) if path.is_file()), None)
    if found is None:
        raise UsageError(f"{place} has neither {name} nor {name}.gz, nor one sub-folder of images per class")
    try:
        with found.open("rb") as raw:
            if found.suffix != ".gz":
                return _parsed(raw, found, axes, found.stat().st_size)
            if raw.read(2) != b"\x1f\x8b":
                raise _damaged(found, "it is not compressed by gzip, though its name says so")
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _parsed(unpacked, found, axes, DENSEST * found.stat().st_size)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(found, f"it cannot be unpacked: {error}") from error


def _parsed(file: IO[bytes] | gzip.GzipFile, path: Path, axes: int, most: int) -> Tensor:
    """Read what the header declares, and no more; the file can hold at most ``most`` bytes."""
    header = file.read(4 + 4 * axes)
    if len(header) < 4 + 4 * axes:
        raise _damaged(path, f"it ends after {len(header)} bytes, within its header" if header else "it is empty")
    zero, kind, given = struct.unpack_from(">HBB", header)
    if zero or kind != 8 or given != axes:
        raise _damaged(path, f"it is not an IDX file of bytes with {axes} axes")
    shape = struct.unpack_from(f">{axes}I", header, 4)
    size = math.prod(shape)
    if not size:
        raise _damaged(path, "it holds nothing")
    if size + len(header) > most:
        raise _damaged(path, f"it is truncated: its header declares {size} values")
    content = file.read(size)
    if len(content) < size:
        raise _damaged(path, f"it is truncated: it has {len(content)} of {size} values")
    if file.read(1):
        raise _damaged(path, f"it has more than the {size} values that its header declares")
    return torch.from_numpy(np.frombuffer(content, np.uint8).reshape(shape).copy())


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is damaged or a different file: {reason}; delete it and fetch it again, or correct data.dir=…"
    )
