"""The images of a data set that each phase fits networks to, and those that it holds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.printable import counted
from l2l_cli.core.types import Phase, Split
from l2l_cli.tasks.images.labelled import LabelledImages

Scheme = Literal["phases", "shared", "parts"]
"""How phases share a data set; see ``Division``."""

HELD_OUT = 6
"""One image in this many is for ``Split.TEST``."""

FIRST = (3, 5)
"""The share of the training images that "parts" meta-trains on: three of CIFAR's five files."""


class Share(NamedTuple):
    """The images of a split: a part of a data set, and the rows (n,) of it that belong to the split."""

    source: LabelledImages
    rows: Tensor


@dataclass(frozen=True)
class Division:
    """The rule by which phases divide a data set.

    * "phases": the phase ``test`` fits to the test images, all others to the training images.
    * "shared": every phase fits to the training images (Chen and Lu 2018, first release of their code).
    * "parts": ``meta_train`` and ``meta_valid`` fit to the first three fifths of the training images, ``tune`` and
      ``test`` to the others (their release of September 2018).  If a data set lists one class after the other, each
      class is divided in this way.

    In the last two, the phase ``test`` fits to all of its images and holds out the test images.  In all other cases
    every 6th of a phase's images is held out, so that no test image is seen before the phase ``test``.

    Args:
        scheme: Name of the rule.
        images: Number of the training images that a phase fits to, evenly spaced; None is all.
        name: Name of the data set, for messages.

    Raises:
        ValueError: ``images`` is out of range.
    """

    scheme: Scheme
    images: int | None
    name: str

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 2:
            raise ValueError(f"images must be at least 2, one to learn and one to hold out, not {self.images}")

    def fits_to_test(self, phase: Phase) -> bool:
        """Return whether a phase fits networks to test images."""
        return self.scheme == "phases" and phase == Phase.TEST

    def shares(self, train: LabelledImages, test: LabelledImages, phase: Phase) -> dict[Split, Share]:
        """Return the images that a phase learns from and those that it holds out, none with a negative label.

        Raises:
            UsageError: There are too few images.
        """
        if self.fits_to_test(phase):
            return _held_out(test, self._usable(test, phase))
        rows = self._usable(train, phase)
        if self.scheme == "parts":
            first = _first_part(train.labels, rows)
            rows = rows[first if phase in (Phase.META_TRAIN, Phase.META_VALID) else ~first]
        rows = self._spread(rows, phase)
        if phase == Phase.TEST:
            return {Split.TRAIN: Share(train, rows), Split.TEST: Share(test, self._usable(test, phase))}
        return _held_out(train, rows)

    def _usable(self, source: LabelledImages, phase: Phase) -> Tensor:
        rows = (source.labels >= 0).nonzero().flatten()
        if len(rows) < 2:
            raise UsageError(
                f"{self.name} has {counted(len(rows), 'image')} of the chosen classes for {phase}; "
                "at least two are needed"
            )
        return rows

    def _spread(self, rows: Tensor, phase: Phase) -> Tensor:
        """Return ``images`` of the rows, evenly spaced."""
        if self.images is None:
            return rows
        if self.images > len(rows):
            raise UsageError(
                f"task.images={self.images}, but {self.name} has {len(rows)} training images for {phase}; "
                "task.images=null takes them all"
            )
        return rows[torch.arange(self.images, device="cpu") * len(rows) // self.images]


def _first_part(labels: Tensor, rows: Tensor) -> Tensor:
    """Return a mask of the rows that belong to the first part, (n,)."""
    part, whole = FIRST
    kept = labels[rows]
    runs = (kept.diff(prepend=kept[:1]) != 0).cumsum(0)
    counts = runs.bincount()
    if len(counts) > (kept.bincount() > 0).sum():  # the classes are mixed
        return whole * rows < part * len(labels)
    ranks = torch.arange(len(rows), device="cpu") - (counts.cumsum(0) - counts)[runs]
    return whole * ranks < part * counts[runs]


def _held_out(source: LabelledImages, rows: Tensor) -> dict[Split, Share]:
    held = torch.arange(len(rows), device="cpu") % HELD_OUT == 0
    return {Split.TRAIN: Share(source, rows[~held]), Split.TEST: Share(source, rows[held])}
