"""The interface of an image task's data, which are an entry of its configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from l2l_cli.models.architecture import ImageShape
from l2l_cli.tasks.images.division import Division
from l2l_cli.tasks.images.labelled import LabelledImages


class Images(ABC):
    """Training and test images of one shape, and their division over the phases.

    Attributes:
        name: Name of the data set.
        shape: Channels, height and width of an image.
        outputs: Number of classes of the one-hot targets.
        division: Division of the images over the phases.
        stream: Name of the random stream that minibatches are drawn from.
        reads_ahead: Whether the next minibatch is requested while the current one is in use.
    """

    name: str
    shape: ImageShape
    outputs: int
    division: Division
    stream: ClassVar[str]
    reads_ahead: ClassVar[bool]

    @abstractmethod
    def parts(self) -> tuple[LabelledImages, LabelledImages]:
        """Return the training images and the test images; their files are needed from here on.

        Raises:
            UsageError: The files are missing or damaged.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a name for the content of the files; empty if they are known by their checksums, or still missing."""
