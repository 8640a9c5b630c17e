"""Image data that are read once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch

from l2l_cli.core.fingerprint import of_folder
from l2l_cli.tasks.images.data import Images
from l2l_cli.tasks.images.datasets import default_folder, outline, own_folder, resident
from l2l_cli.tasks.images.division import Division, Scheme
from l2l_cli.tasks.images.labelled import LoadedImages, Size


class ImagesInMemory(Images):
    """A data set in memory, or some of its classes.

    Args:
        dataset: "digits" (in scikit-learn, 8 × 8), "mnist", "cifar10", a folder of IDX files, or an image folder with
            ``train/<class>`` and ``test/<class>``, or with just ``<class>``, where every 6th image is a test image.
        classes: Labels whose images are used, renumbered in this order; None is all of them.
        pool: Height and width of the windows of pixels that are replaced by their mean; 1 leaves images as they are.
        size: Height and width that images are resized to; None takes them as they are, if they are all of one size.
        division: Name of the rule by which phases divide the images; see ``Division``.
        images: Number of a phase's training images of these classes that are used, evenly spaced; None is all.
        data_folder: Folder of data sets; None is ``default_folder``.

    Raises:
        ValueError: A number is out of range.
        UsageError: There is no such data set; if its files can neither be found nor downloaded, ``parts`` raises it.
    """

    stream: ClassVar[str] = "images"
    reads_ahead: ClassVar[bool] = False

    def __init__(
        self,
        dataset: str = "digits",
        classes: Sequence[int] | None = None,
        pool: int = 1,
        size: Size | None = None,
        division: Scheme = "phases",
        images: int | None = None,
        data_folder: Path | None = None,
    ) -> None:
        if size is not None and min(size) < 1:
            raise ValueError(f"size must be a height and a width of at least 1, not {size}")
        self._size = None if size is None else (size[0], size[1])  # a list, if it comes from a file
        self._folder = data_folder or default_folder()
        (channels, height, width), known = outline(dataset, self._folder, self._size)
        if pool < 1 or height % pool or width % pool:
            raise ValueError(f"pool must divide the images' {height} × {width} pixels, which {pool} does not")
        labels = tuple(range(known)) if classes is None else tuple(classes)
        if len(labels) < 2 or len(set(labels)) < len(labels) or not set(labels) <= set(range(known)):
            raise ValueError(f"classes must be two or more labels of 0 … {known - 1} in {dataset}, not {list(labels)}")
        self.name, self.division = dataset, Division(division, images, dataset)
        self.shape = (channels, height // pool, width // pool)
        self.classes, self.outputs, self._pool = labels, len(labels), pool

    def parts(self) -> tuple[LoadedImages, LoadedImages]:
        """Return the training and the test images, those of other classes with negative labels."""
        whole = resident(self.name, self._folder, self._size, self._pool, torch.get_default_device())
        numbers = torch.full((whole.classes,), -1, device="cpu")
        numbers[list(self.classes)] = torch.arange(len(self.classes), device="cpu")
        train, test = (LoadedImages(part.images, numbers[part.labels]) for part in (whole.train, whole.test))
        return train, test

    def fingerprint(self) -> str:
        """Return a name for the content of the user's own folder; other data sets have files of known checksums."""
        place = own_folder(self.name, self._folder)
        return "" if place is None else of_folder(place)
