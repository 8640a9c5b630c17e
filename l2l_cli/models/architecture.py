"""Families of image classifiers, configured before the images' shape and the number of classes are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from l2l_cli.models.model import Model

ImageShape = tuple[int, int, int]
"""Channels, height and width of an image."""


class Architecture(ABC):
    """A family of networks that classify images; the shape of the images and the number of classes determine one.

    Attributes:
        flat: Whether the network takes all pixels of an image as one vector, rather than as channels, rows and columns.
        normalises: Whether the network normalises by the current batch, which must then have at least two examples.
    """

    flat: ClassVar[bool] = False
    normalises: ClassVar[bool] = False

    @abstractmethod
    def model(self, shape: ImageShape, outputs: int) -> Model:
        """Build the network and the initializer of its θ₀.

        Args:
            shape: Channels, height and width of an image.
            outputs: Number of logits.

        Raises:
            ValueError: A width is out of range.
        """
