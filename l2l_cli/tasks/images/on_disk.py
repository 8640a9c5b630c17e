"""Image data too large for memory: each image is decoded when its minibatch is drawn.

Sources: Chen and Lu 2018, §4 (ResNet-18 v2 on ILSVRC2012); Russakovsky et al. 2015, "ImageNet large scale visual
recognition challenge", for the layout of the folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Generator, Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.fingerprint import of_folder
from l2l_cli.tasks.images.augment import Augment, augmented, draw_frames, middle_frames
from l2l_cli.tasks.images.data import Images
from l2l_cli.tasks.images.datasets import ENVIRONMENT, default_folder
from l2l_cli.tasks.images.division import Division, Scheme
from l2l_cli.tasks.images.folders import class_folders, labels_of, open_image, train_and_test, train_folder
from l2l_cli.tasks.images.labelled import Fill

IMAGENET = "imagenet"
IMAGENET_CLASSES = 1000
ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
}
STAND_IN = ("imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3")
"""Ten of the classes, 13 394 images, in the same layout: https://github.com/fastai/imagenette."""

_Files = tuple[list[str], Tensor]
"""Paths of images and their classes (n,), integers from 0."""


class ImageFiles(NamedTuple):
    """Paths of images, their classes (n,), integers from 0, and threads that decode crops of ``side`` × ``side``."""

    files: list[str]
    labels: Tensor
    side: int
    threads: ThreadPoolExecutor

    def request(self, rows: Tensor, augment: Augment, rng: Generator) -> Fill:
        """Begin to decode images: a random part of each for "imagenet", otherwise the middle."""
        frames = draw_frames(len(rows), rng) if augment == "imagenet" else middle_frames(len(rows))
        pairs = zip(rows.tolist(), frames.tolist(), strict=True)
        crops = [self.threads.submit(decode, self.files[row], self.side, frame) for row, frame in pairs]
        later: Augment = "none" if augment == "imagenet" else augment

        def fill(out: Tensor) -> None:
            images = torch.from_numpy(np.stack([crop.result() for crop in crops])).movedim(-1, 1)
            out.copy_(augmented(images, later, rng))

        return fill


class ImagesOnDisk(Images):
    """Colour images in a folder laid out like ILSVRC2012's.

    The images in ``train`` are the training images, those in ``val`` the test images.  They are decoded by as many
    threads as the run has (``hardware.threads``), one minibatch ahead of the one in use.

    Args:
        dataset: A folder with ``train/<class>/*`` and ``val/<class>/*``, by its path or by its name in the folder of
            data sets.
        side: Height and width of the crops; the shorter side of an image is resized to 8/7 of it, or by the
            augmentation "imagenet" to 8/7 … 16/7 of it, 256 … 512.
        outputs: Number of classes of the targets; None is the number of folders.  The code of Chen and Lu has 1001, one
            of which is never the target.
        division: Name of the rule by which phases divide the images; see ``Division``.
        images: Number of a phase's training images that are used, evenly spaced; None is all.
        data_folder: Folder of data sets; None is ``default_folder``.

    Raises:
        ValueError: A number is out of range.
        UsageError: There is no such folder; for ImageNet's, raised only by ``parts``.
    """

    # Every draw depends on this name, so it never changes.
    stream: ClassVar[str] = "photos"
    reads_ahead: ClassVar[bool] = True

    def __init__(
        self,
        dataset: str = IMAGENET,
        side: int = 224,
        outputs: int | None = None,
        division: Scheme = "phases",
        images: int | None = None,
        data_folder: Path | None = None,
    ) -> None:
        if side < 1:
            raise ValueError(f"side must be at least 1, not {side}")
        self._folder = data_folder or default_folder()
        classes = _count_classes(dataset, self._folder)
        if outputs is not None and outputs < classes:
            raise ValueError(f"outputs must be at least {classes}, the classes of {dataset}, not {outputs}")
        self.name, self.division = dataset, Division(division, images, dataset)
        self.shape, self.outputs = (3, side, side), classes if outputs is None else outputs

    def parts(self) -> tuple[ImageFiles, ImageFiles]:
        """Return the images in ``train`` and those in ``val``."""
        # Pillow decodes without Python's lock, so threads suffice and nothing is copied between processes.
        threads = ThreadPoolExecutor(torch.get_num_threads(), "images")
        train, test = _index(_required(self.name, self._folder))
        side = self.shape[-1]
        return ImageFiles(*train, side, threads), ImageFiles(*test, side, threads)

    def fingerprint(self) -> str:
        """Return a name for the content of the folder."""
        place = _find(self.name, self._folder)
        return "" if place is None else of_folder(place)


def decode(file: str, side: int, frame: Sequence[float]) -> npt.NDArray[np.uint8]:
    """Return a square part of an image in colour, (side, side, 3).

    Deviation: resizing and cropping are one resampling of just that part, so that its edges may lie between pixels;
    if the part shrinks, all of its pixels are averaged, whereas TensorFlow's resizing picks some.

    Args:
        file: Path of the image.
        side: Height and width that the part is resized to.
        frame: Place of the part; a row of ``draw_frames``.

    Raises:
        UsageError: The file is not an image.
    """
    zoom, down, right, flip = frame
    image = open_image(file).convert("RGB")
    extent = min(image.size) / zoom
    left, top = right * (image.width - extent), down * (image.height - extent)
    box = (left, top, min(left + extent, image.width), min(top + extent, image.height))
    part = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part)


def _count_classes(name: str, folder: Path) -> int:
    """Return the number of folders in ``train``, reading nothing else; ImageNet's is known without its files."""
    if name == IMAGENET and _find(name, folder) is None:
        return IMAGENET_CLASSES
    place = _required(name, folder)
    return len(class_folders(train_folder(place) or place))


def _find(name: str, folder: Path) -> Path | None:
    return next((path for path in (Path(name).expanduser(), folder / name) if train_folder(path) is not None), None)


def _required(name: str, folder: Path) -> Path:
    place = _find(name, folder)
    if place is None:
        wanted = ", ".join(
            f"{archive} (MD5 {checksum}) in {folder / name / part}/<class>/*.JPEG"
            for part, (archive, checksum) in ARCHIVES.items()
        )
        raise UsageError(
            f"there is no image folder {name!r} with train and val in it here or in {folder}; unpack "
            f"{wanted}, both from https://image-net.org, or name another folder by task.dataset=…, such as that of "
            f"{STAND_IN[0]} (MD5 {STAND_IN[1]}, https://github.com/fastai/imagenette); data.dir=… or the variable "
            f"{ENVIRONMENT} says where folders are"
        )
    return place


@lru_cache(maxsize=4)
def _index(place: Path) -> tuple[_Files, _Files]:
    """Return the training and the test images of a folder, which is listed only once."""
    train, test = train_and_test(place, ("val", "valid", "validation", "test"))
    return ([*chain(*train.values())], labels_of(train)), ([*chain(*test.values())], labels_of(test))
