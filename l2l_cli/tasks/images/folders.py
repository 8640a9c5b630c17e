"""Labelled images in a folder of the user's: IDX files as MNIST's, or one sub-folder a class."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.tasks.images.labelled import Dataset, LoadedImages, Size

TEST_EVERY = 6
"""One in so many images of a class is for test where an image folder makes no division."""

GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
"""Pillow's names of the modes with 8 bits a channel; its others have more."""

Paths = dict[str, list[str]]
"""Paths of the images of each class, by the class's name; strings, since ImageNet has 1.3 million of them."""


def read_folder(place: Path, size: Size | None = None) -> Dataset:
    """Read ``train/<class>/*`` and ``test/<class>/*`` (or ``val``), ``<class>/*``, or four IDX files.

    Without a division every 6th image of a class, the first one included, is for test.  Classes are numbered in the
    order of their names.  Alpha channels are dropped; images stay grey unless some are coloured.

    Args:
        place: The folder.
        size: Height and width that images are resized to; None takes them as they are, if all are of one size.

    Raises:
        UsageError: Names the file or folder that is not as it should be.
    """
    if any(place.glob("*-ubyte*")) or not class_folders(place):
        if size is not None:
            raise UsageError(f"size is for image folders; {place} has IDX files: pool reduces them")
        return read_idx(place)
    if not (place / "train").is_dir():
        train, test = {}, {}
        for name, files in _paths(place).items():
            if len(files) < 2:
                raise UsageError(f"{place / name} has one image; two are the least: one to learn, one for test")
            test[name] = files[::TEST_EVERY]
            train[name] = [file for index, file in enumerate(files) if index % TEST_EVERY]
        return _decoded(train, test, size)
    return _decoded(*train_and_test(place, ("test", "val")), size)


def train_and_test(place: Path, names: Sequence[str]) -> tuple[Paths, Paths]:
    """List a folder's training images in ``train/<class>/*`` and its test images in the first of ``names`` that exists.

    Raises:
        UsageError: Names the folder that is not as it should be.
    """
    held = next((place / name for name in names if (place / name).is_dir()), None)
    if held is None:
        raise UsageError(f"{place} has train, but no {' or '.join(names)} beside it")
    train, test = _paths(place / "train"), _paths(held)
    if odd := sorted(train.keys() ^ test.keys()):
        raise UsageError(f"{place / 'train'} and {held} must have the same classes; {odd[0]} is in one of them alone")
    return train, test


def labels_of(paths: Paths) -> Tensor:
    """Return the class of each image, class after class, (n,)."""
    return torch.from_numpy(np.repeat(np.arange(len(paths)), [len(files) for files in paths.values()]))


def class_folders(place: Path) -> list[str]:
    """Return the names of a folder's sub-folders that are not hidden, one a class, sorted."""
    return sorted(entry.name for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith("."))


def _paths(place: Path) -> Paths:
    """List the images of each class: every file that is not hidden is taken for one."""
    paths = {
        name: sorted(file.path for file in os.scandir(place / name) if file.is_file() and not file.name.startswith("."))
        for name in class_folders(place)
    }
    if len(paths) < 2:
        hint = "" if paths else "; ILSVRC2012's validation images come without: sort them"
        raise UsageError(f"{place} has {len(paths)} sub-folders of images, one a class; two are the least{hint}")
    for name, files in paths.items():
        if not files:
            raise UsageError(f"the class {place / name} holds no images")
    return paths


def _decoded(train: Paths, test: Paths, size: Size | None) -> Dataset:
    files = [file for part in (train, test) for group in part.values() for file in group]
    decoded = []
    for file in files:
        decoded.append(_decode(file, size))
        shapes = [" × ".join(map(str, values.shape[:2])) for values in (decoded[-1], decoded[0])]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"{file} has {shapes[0]} pixels, {files[0]} has {shapes[1]}; give size=[height,width] to resize all"
            )
    channels = max(values.shape[2] for values in decoded)
    pixels = np.stack([np.broadcast_to(values, (*values.shape[:2], channels)) for values in decoded])
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    labels = [labels_of(train), labels_of(test)]
    first, last = torch.split(images, [len(part) for part in labels])
    return Dataset(LoadedImages(first, labels[0]), LoadedImages(last, labels[1]), len(train))


def _decode(file: str, size: Size | None) -> NDArray[np.uint8]:
    """Return an image (height, width, 1 or 3)."""
    flat = open_image(file)
    if size is not None:
        flat = flat.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(flat).reshape(flat.height, flat.width, -1)


def open_image(file: str) -> Image.Image:
    """Return a file's image in Pillow's mode L or RGB.

    Raises:
        UsageError: It is no image, or not one of 8 bits a channel.
    """
    try:
        with Image.open(file) as image:
            if image.mode not in GREY + COLOUR:
                raise UsageError(f"{file} has more than 8 bits a channel (Pillow's mode {image.mode}): convert it")
            return image.convert("L" if image.mode in GREY else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{file} cannot be read as an image ({error}); repair or remove it") from error


def read_idx(place: Path) -> Dataset:
    """Read a folder of files named as MNIST's, compressed or not.

    Raises:
        UsageError: A file is missing or is not what its name says.
    """
    parts = []
    for part in ("train", "t10k"):
        images, labels = (_idx(place, f"{part}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        if len(images) != len(labels):
            raise UsageError(f"{place}: {len(images)} images and {len(labels)} labels of {part}")
        parts.append(LoadedImages(images[:, None], labels.long()))
    return Dataset(parts[0], parts[1], int(max(part.labels.max() for part in parts)) + 1)


def _idx(place: Path, name: str) -> Tensor:
    """Read one IDX file of bytes: a magic number with the number of axes, their lengths, the values."""
    found = next((path for path in (place / f"{name}.gz", place / name) if path.is_file()), None)
    if found is None:
        raise UsageError(f"{place} has neither {name} nor {name}.gz, nor one sub-folder of images a class")
    content = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
    zero, kind, axes = struct.unpack_from(">HBB", content)
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if zero or kind != 8 or len(content) != 4 + 4 * axes + int(np.prod(shape)):
        raise UsageError(f"{found} is no IDX file of bytes")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())
