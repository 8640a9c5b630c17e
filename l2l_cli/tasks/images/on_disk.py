"""Photos in a folder laid out like ILSVRC2012's: too many to be in memory, so each is decoded when it is asked for.

Source: Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.tasks.datasets import ENVIRONMENT, folder
from l2l_cli.tasks.pictures import opened

IMAGENET = "imagenet"
IMAGENET_CLASSES = 1000
ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
}
STAND_IN = ("imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3")
"""Ten of the classes, 13 394 photos, in the same layout: https://github.com/fastai/imagenette."""


class Photos(NamedTuple):
    """Paths of photos and their classes (n,), integers from 0."""

    files: list[str]
    labels: Tensor


class PhotoSet(NamedTuple):
    """Training and test photos: the folders ``train`` and ``val``."""

    train: Photos
    test: Photos


def count_classes(name: str) -> int:
    """Return the number of folders in ``train``, reading nothing else; ImageNet's is known without its files.

    Raises:
        UsageError: There is no such folder.
    """
    place = _find(name)
    if place is None and name == IMAGENET:
        return IMAGENET_CLASSES
    return len(_subfolders(_required(name, place) / "train"))


def find_photos(name: str) -> PhotoSet:
    """Return the index of a folder of photos, made once: ``train/<class>/*`` and ``val/<class>/*``.

    Args:
        name: The folder, by its path or by its name in the folder of data sets.

    Raises:
        UsageError: It is not there, or not laid out like that; says what to put where.
    """
    return _index(_required(name, _find(name)))


def decode(file: str, size: int, frame: Sequence[float]) -> NDArray[np.uint8]:
    """Return a square part of a photo in colour, (size, size, 3).

    Deviation: resizing and cropping are one resampling of just that part, so that its edges lie between pixels, and
    where it shrinks it takes means over all pixels, whereas TensorFlow's takes samples.

    Args:
        file: The photo.
        size: Side of the part.
        frame: Which part; a row of ``draw_frames``.

    Raises:
        UsageError: The file is no picture.
    """
    zoom, down, right, flip = frame
    photo = opened(file).convert("RGB")
    side = min(photo.size) / zoom
    left, top = right * (photo.width - side), down * (photo.height - side)
    box = (left, top, min(left + side, photo.width), min(top + side, photo.height))
    part = photo.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part)


def _find(name: str) -> Path | None:
    return next((path for path in (Path(name).expanduser(), folder() / name) if (path / "train").is_dir()), None)


def _required(name: str, place: Path | None) -> Path:
    if place is None:
        wanted = ", ".join(
            f"{archive} (MD5 {checksum}) in {folder() / name / part}/<class>/*.JPEG"
            for part, (archive, checksum) in ARCHIVES.items()
        )
        raise UsageError(
            f"there is no folder {name!r} of photos with train and val in it, neither here nor in {folder()}; unpack "
            f"{wanted}, both from https://image-net.org, or name another folder by task.dataset=…, such as that of "
            f"{STAND_IN[0]} (MD5 {STAND_IN[1]}, https://github.com/fastai/imagenette); data.dir=… or the variable "
            f"{ENVIRONMENT} says where folders are"
        )
    return place


@lru_cache(maxsize=4)
def _index(place: Path) -> PhotoSet:
    parts = []
    names: dict[str, list[str]] = {}
    for part in ("train", "val"):
        if not (place / part).is_dir():
            raise UsageError(f"{place} has train, but no val beside it")
        names[part] = _subfolders(place / part)
        if not names[part]:
            raise UsageError(
                f"{place / part} must have one folder a class; ILSVRC2012's validation photos come without: sort them"
            )
        groups = [_files(place / part / name) for name in names[part]]
        labels = torch.from_numpy(np.repeat(np.arange(len(groups)), [len(group) for group in groups]))
        parts.append(Photos([file for group in groups for file in group], labels))
    if odd := sorted(set(names["train"]) ^ set(names["val"])):
        raise UsageError(f"{place}: train and val must have the same classes; {odd[0]} is in one of them alone")
    return PhotoSet(*parts)


def _subfolders(place: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith("."))


def _files(place: Path) -> list[str]:
    # Strings, and nothing asked of the disk but the folder: ImageNet has 1.3 million of them.
    found = sorted(entry.path for entry in os.scandir(place) if entry.is_file() and not entry.name.startswith("."))
    if not found:
        raise UsageError(f"the class {place} holds no pictures")
    return found
