"""Labelled images in a user's own folder: IDX files like MNIST's, or one sub-folder per class."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from l2l_cli.core.cores import usable_memory
from l2l_cli.core.errors import UsageError
from l2l_cli.core.printable import counted
from l2l_cli.core.voice import VOICE
from l2l_cli.tasks.images.idx import read_idx
from l2l_cli.tasks.images.labelled import Dataset, LoadedImages, Size, resized

TEST_EVERY = 6
"""One image in this many of each class is a test image if an image folder has no folder of test images."""

GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
"""Pillow's names of the modes with 8 bits per channel; its other modes have more."""

TRAIN, HELD = ("train", "training"), ("test", "val", "testing", "valid", "validation")
"""Names of the folders of training images and of test images, in upper or lower case."""

NO_READERS = ("BUFR", "GRIB", "HDF5", "MPEG", "WMF", "EPS")
"""Formats that Pillow knows by name but cannot read by itself."""

NAMED = 5
"""Largest number of files that a message names."""

Paths = dict[str, list[str]]
"""Paths of the images of each class, by the class's name; strings, since ImageNet has 1.3 million of them."""


def read_folder(place: Path, size: Size | None = None) -> Dataset:
    """Read ``train/<class>/*`` and ``test/<class>/*`` (or ``val``; see ``HELD``), ``<class>/*``, or four IDX files.

    Without a division, every 6th image of a class, from the first on, is a test image.  Classes are numbered in the
    order of their names.  Alpha channels are dropped; images stay grey unless some are coloured.

    Args:
        place: The folder.
        size: Height and width that images are resized to; None takes them as they are, if all are of one size.

    Raises:
        UsageError: A file or folder, which the message names, is missing, damaged or unsuitable.
    """
    if any(place.glob("*-ubyte*")) or not class_folders(place):
        return resized(read_idx(place), size)
    if train_folder(place) is None:
        train, test = {}, {}
        for name, files in _paths(place).items():
            if len(files) < 2:
                raise UsageError(f"{place / name} has one image, but needs two or more: one to learn from, one to test")
            test[name] = files[::TEST_EVERY]
            train[name] = [file for index, file in enumerate(files) if index % TEST_EVERY]
        return _decoded(train, test, size)
    return _decoded(*train_and_test(place, HELD), size)


def train_folder(place: Path) -> Path | None:
    """Return the folder of training images in a folder; None if there is none.

    A name other than "train" counts only for a folder with sub-folders, since a class may be called "Training" too.
    """
    if (place / "train").is_dir():
        return place / "train"
    found = _called(place, TRAIN)
    return found if found is not None and class_folders(found) else None


def _called(place: Path, names: Sequence[str]) -> Path | None:
    """Return the sub-folder with the first of some names, in upper or lower case."""
    folders = {name.lower(): place / name for name in class_folders(place)} if place.is_dir() else {}
    return next((folders[name] for name in names if name in folders), None)


def train_and_test(place: Path, names: Sequence[str]) -> tuple[Paths, Paths]:
    """List a folder's training images in ``train/<class>/*`` and its test images in the first of ``names`` that exists.

    Raises:
        UsageError: A folder, which the message names, is missing or unsuitable.
    """
    learned, held = train_folder(place) or place / "train", _called(place, names)
    if held is None:
        raise UsageError(f"{place} has {learned.name}, but no {' or '.join(names[:2])} beside it")
    train, test = _paths(learned), _paths(held)
    if odd := sorted(train.keys() ^ test.keys()):
        raise UsageError(f"{learned} and {held} must have the same classes; {odd[0]} is in only one of them")
    return train, test


def labels_of(paths: Paths) -> Tensor:
    """Return the class of each image, class after class, (n,)."""
    return torch.from_numpy(np.repeat(np.arange(len(paths)), [len(files) for files in paths.values()]))


def class_folders(place: Path) -> list[str]:
    """Return the names of a folder's sub-folders that are not hidden, one per class, sorted."""
    with os.scandir(place) as entries:
        return sorted(one.name for one in entries if os.path.isdir(one.path) and not one.name.startswith("."))


def _paths(place: Path) -> Paths:
    """List the images of each class, and print a note on other files; hidden files are ignored."""
    listed = {name: _files(place / name) for name in class_folders(place)}
    if len(listed) < 2:
        hint = "" if listed else "; ILSVRC2012's validation images come without them: sort the images"
        count = "one sub-folder" if listed else "no sub-folders"
        raise UsageError(f"{place} has {count} of images, but needs two or more, one per class{hint}")
    known = Image.registered_extensions().items()  # loads Pillow's readers
    kinds = {end for end, kind in known if kind in Image.OPEN and kind not in NO_READERS}
    paths = {name: [file for file in files if _is_image(file, kinds)] for name, files in listed.items()}
    if empty := [str(place / name) for name, files in paths.items() if not files]:
        raise UsageError(f"there are no images in the class {few(empty)}; put some there, or remove the folder")
    if other := [file for name, files in listed.items() for file in files if file not in set(paths[name])]:
        VOICE.note(f"data: skipped {counted(len(other), 'file')} other than images: {few(other)}", sys.stderr)
    return paths


def _files(folder: Path) -> list[str]:
    """Return the paths of a folder's files that are not hidden, sorted; links to files count."""
    with os.scandir(folder) as entries:
        return sorted(one.path for one in entries if os.path.isfile(one.path) and not one.name.startswith("."))


def _is_image(file: str, kinds: Collection[str]) -> bool:
    """Return whether a file is taken for an image, by its extension; if it has none, unless named like a text file."""
    stem, end = os.path.splitext(os.path.basename(file))
    return end.lower() in kinds if end else stem.lower() not in ("readme", "license", "copying", "makefile")


def few(names: Sequence[str]) -> str:
    """Join names to a list, which is cut off after the first ``NAMED``."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _decoded(train: Paths, test: Paths, size: Size | None) -> Dataset:
    files = [file for part in (train, test) for group in part.values() for file in group]
    decoded, damaged = list[NDArray[np.uint8]](), list[UsageError]()
    for file in files:
        try:
            decoded.append(_decode(file, size))
        except UsageError as error:
            damaged.append(error)
            continue
        if len(decoded) == 1:
            example = file
            _refuse_too_many(len(files), decoded[0])
        shapes = [" × ".join(map(str, values.shape[:2])) for values in (decoded[-1], decoded[0])]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"{file} has {shapes[0]} pixels, {example} has {shapes[1]}; give task.size=[height,width] to resize all"
            )
    if damaged:
        raise UsageError(
            "; ".join(map(str, damaged[:NAMED])) + (f"; {len(damaged)} in all" if len(damaged) > 1 else "")
        )
    channels = max(values.shape[2] for values in decoded)
    pixels = np.stack([np.broadcast_to(values, (*values.shape[:2], channels)) for values in decoded])
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    labels = [labels_of(train), labels_of(test)]
    first, last = torch.split(images, [len(part) for part in labels])
    return Dataset(LoadedImages(first, labels[0]), LoadedImages(last, labels[1]), len(train))


def _refuse_too_many(count: int, one: NDArray[np.uint8]) -> None:
    """Refuse images that do not all fit into memory twice, as they are read and as they are kept."""
    needed, free = 2 * count * 3 * one.shape[0] * one.shape[1], usable_memory()
    if free is not None and needed > free:
        raise UsageError(
            f"{count} images of {one.shape[0]} × {one.shape[1]} take about {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free; make them smaller by task.size=[height,width], or decode them as they are "
            "drawn, as task=imagenet_resnet18 does"
        )


def _decode(file: str, size: Size | None) -> NDArray[np.uint8]:
    """Return an image (height, width, 1 or 3)."""
    flat = open_image(file)
    if size is not None:
        flat = flat.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(flat).reshape(flat.height, flat.width, -1)


def open_image(file: str) -> Image.Image:
    """Return a file's image in Pillow's mode L or RGB.

    Raises:
        UsageError: It is not an image, or not one of 8 bits per channel.
    """
    if not os.path.isfile(file):  # opening a pipe would block
        raise UsageError(f"{file} no longer exists; put the image back, or begin again without it")
    try:
        with Image.open(file) as image:
            if image.mode not in GREY + COLOUR:
                raise UsageError(f"{file} has more than 8 bits per channel (Pillow's mode {image.mode}): convert it")
            return image.convert("L" if image.mode in GREY else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{file} cannot be read as an image ({error}); repair or remove it") from error
