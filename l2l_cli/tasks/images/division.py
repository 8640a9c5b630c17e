"""Which pictures of a data set each phase fits networks to, and which it holds out."""

from __future__ import annotations

from typing import Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase, Split
from l2l_cli.tasks.photos import Photos
from l2l_cli.tasks.pictures import Pictures

Division = Literal["phases", "shared", "parts"]
"""See ``divide``."""

HELD_OUT = 6
"""One in so many pictures is for ``Split.TEST``."""

FIRST = (3, 5)
"""The share of the training pictures that "parts" meta-trains on: three of CIFAR's five files."""

Source = TypeVar("Source", Pictures, Photos)


class Share(NamedTuple, Generic[Source]):
    """What a split draws from: pictures, and the rows (n,) of those that it may show."""

    source: Source
    rows: Tensor


def divide(
    train: Source, test: Source, division: Division, phase: Phase, images: int | None, name: str
) -> dict[Split, Share[Source]]:
    """Return what a phase learns from and what it holds out.

    * "phases": the phase ``test`` fits to the test pictures, all others to the training pictures.
    * "shared": every phase fits to the training pictures (Chen and Lu 2018, first release of their code).
    * "parts": ``meta_train`` and ``meta_valid`` fit to the first three fifths of the training pictures, ``tune`` and
      ``test`` to the others (their release of September 2018); of each class by itself, where a data set has one
      class after the other.

    In the last two the phase ``test`` fits to all of its pictures and holds the test pictures out.  Everywhere else
    every 6th of a phase's pictures is held out, so that no test picture is met before that phase.

    Args:
        train: The training pictures; those of negative labels are left out.
        test: The test pictures; likewise.
        division: Which of the three.
        phase: The phase.
        images: How many of the training pictures that a phase fits to are used, evenly spaced; None is all.
        name: Of the data set, for messages.

    Raises:
        UsageError: There are too few.
    """
    if fits_to_test(division, phase):
        return _held_out(test, _usable(test, name, phase))
    rows = _usable(train, name, phase)
    if division == "parts":
        first = _first_part(train.labels, rows)
        rows = rows[first if phase in (Phase.META_TRAIN, Phase.META_VALID) else ~first]
    rows = _spread(rows, images, name, phase)
    if phase == Phase.TEST:
        return {Split.TRAIN: Share(train, rows), Split.TEST: Share(test, _usable(test, name, phase))}
    return _held_out(train, rows)


def fits_to_test(division: Division, phase: Phase) -> bool:
    """Whether a phase fits networks to test pictures."""
    return division == "phases" and phase == Phase.TEST


def _usable(source: Source, name: str, phase: Phase) -> Tensor:
    rows = (source.labels >= 0).nonzero().flatten()
    if len(rows) < 2:
        raise UsageError(f"{name} has {len(rows)} pictures of the chosen classes for {phase}; two are the least")
    return rows


def _first_part(labels: Tensor, rows: Tensor) -> Tensor:
    """Return which of the rows, (n,), are of the first part."""
    part, whole = FIRST
    own = labels[rows]
    runs = (own.diff(prepend=own[:1]) != 0).cumsum(0)
    counts = runs.bincount()
    if len(counts) > (own.bincount() > 0).sum():  # the classes are mixed
        return whole * rows < part * len(labels)
    ranks = torch.arange(len(rows), device="cpu") - (counts.cumsum(0) - counts)[runs]
    return whole * ranks < part * counts[runs]


def _spread(rows: Tensor, count: int | None, name: str, phase: Phase) -> Tensor:
    """Return so many of the rows, evenly spaced."""
    if count is None:
        return rows
    if count > len(rows):
        raise UsageError(
            f"images={count}, but {name} has {len(rows)} training pictures for {phase}; images=null takes them all"
        )
    return rows[torch.arange(count, device="cpu") * len(rows) // count]


def _held_out(source: Source, rows: Tensor) -> dict[Split, Share[Source]]:
    held = torch.arange(len(rows), device="cpu") % HELD_OUT == 0
    return {Split.TRAIN: Share(source, rows[~held]), Split.TEST: Share(source, rows[held])}
