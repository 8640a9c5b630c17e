"""Images with the numbers of their classes: what data sets are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Generator, Tensor

from l2l_cli.tasks.images.augment import Augment, augmented

Size = tuple[int, int]
"""Height and width."""


class LabelledImages(Protocol):
    """Images that are fetched by their numbers, wherever they are."""

    @property
    def labels(self) -> Tensor:
        """The class of each image (n,): integers from 0; a negative one excludes the image."""

    def request(self, rows: Tensor, augment: Augment, rng: Generator) -> Callable[[], Tensor]:
        """Begin to fetch images, and return the function that waits for their pixels (n, channels, height, width).

        Args:
            rows: Numbers of the images, (n,).
            augment: Random changes of each; see ``augmented``.
            rng: Generator of these changes, which may be drawn now or when the pixels are waited for.
        """


class LoadedImages(NamedTuple):
    """Images in memory (n, channels, height, width) from 0 to 255, of 8 bits or pooled, and their labels (n,)."""

    images: Tensor
    labels: Tensor

    def request(self, rows: Tensor, augment: Augment, rng: Generator) -> Callable[[], Tensor]:
        """Return the function that copies and changes the images."""
        return lambda: augmented(self.images[rows], augment, rng)


class Dataset(NamedTuple):
    """A data set with its own division into training and test images."""

    train: LoadedImages
    test: LoadedImages
    classes: int
