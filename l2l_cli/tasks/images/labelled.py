"""Images with the labels of their classes, of which data sets consist."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional

from l2l_cli.kernels.pixels import copy, copy_shifted
from l2l_cli.tasks.images.augment import Augment, augmented, draw_shifts

Size = tuple[int, int]
"""Height and width."""

Fill = Callable[[Tensor], None]
"""Function that writes the pixels of a minibatch into a tensor (n, channels, height, width), numbers from 0 to 255."""


class LabelledImages(Protocol):
    """Images that are fetched by their indices, wherever they are stored."""

    @property
    def labels(self) -> Tensor:
        """The class of each image (n,): integers from 0; a negative one excludes the image."""

    def request(self, rows: Tensor, augment: Augment, rng: Generator) -> Fill:
        """Begin to fetch images, and return the function that waits for their pixels and writes them.

        Args:
            rows: Indices of the images, (n,).
            augment: Random changes of each; see ``augmented``.
            rng: Generator of these changes, on the CPU; they may be drawn now or when the pixels are waited for.
        """


class LoadedImages(NamedTuple):
    """Images (n, channels, height, width) from 0 to 255, of 8 bits or pooled, with their labels (n,) on the CPU."""

    images: Tensor
    labels: Tensor

    def request(self, rows: Tensor, augment: Augment, rng: Generator) -> Fill:
        """Return the function that copies and changes the images on their own device."""

        def fill(out: Tensor) -> None:
            if out.device.type != "cpu" or augment == "imagenet":
                out.copy_(augmented(self.images[rows.to(out.device)], augment, rng))
            elif augment == "none":
                copy(self.images, rows, out)
            else:
                copy_shifted(self.images, rows, draw_shifts(out.shape, rng), out)

        return fill

    def on(self, device: torch.device) -> LoadedImages:
        """Return these images on a device, where minibatches of them are made."""
        return self._replace(images=self.images.to(device))


class Dataset(NamedTuple):
    """A data set with its own division into training and test images."""

    train: LoadedImages
    test: LoadedImages
    classes: int


def resized(whole: Dataset, size: Size | None) -> Dataset:
    """Return a data set with images resized bilinearly; the same data set if ``size`` is None."""
    if size is None:
        return whole
    return whole._replace(train=_resized(whole.train, size), test=_resized(whole.test, size))


def _resized(part: LoadedImages, size: Size) -> LoadedImages:
    # In parts: all images as floating-point numbers would take four times their memory.
    parts = [
        functional.interpolate(some.float(), size, mode="bilinear", antialias=True).round().to(torch.uint8)
        for some in torch.split(part.images, 1000)
    ]
    return part._replace(images=torch.cat(parts))
