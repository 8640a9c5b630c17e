"""The nouns that every floor shares: parameters, phases, splits and batches."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from torch import Tensor

Params = dict[str, Tensor]
"""Named parameters of E models side by side; each tensor is (E, ...)."""


class Phase(StrEnum):
    """What an episode is drawn for; the draws of two phases never coincide."""

    META_TRAIN = "meta_train"
    META_VALID = "meta_valid"
    TUNE = "tune"
    TEST = "test"


class Split(StrEnum):
    """The two data sets inside one episode: what is learned from, and what is held out."""

    TRAIN = "train"
    TEST = "test"


class Batch(NamedTuple):
    """N examples for each of E episodes: inputs (E, N, ...), targets (E, N, ...).

    ``shown`` says whose targets may be learned from at this step, (E,) of 0 and 1; None: all.  A hidden target serves
    the score alone (the separator flag of Bosc 2016).  Targets may be hidden and later ones shown again.
    """

    inputs: Tensor
    targets: Tensor
    shown: Tensor | None = None


class Batches(NamedTuple):
    """T consecutive batches: inputs (T, E, N, ...), targets (T, E, N, ...); ``shown`` is (T, E) or None."""

    inputs: Tensor
    targets: Tensor
    shown: Tensor | None = None

    @property
    def steps(self) -> int:
        """The number of steps T."""
        return self.inputs.shape[0]

    def at(self, step: int) -> Batch:
        """Return the batch of one step."""
        return Batch(self.inputs[step], self.targets[step], None if self.shown is None else self.shown[step])


class Spec(NamedTuple):
    """What a learner must know of a task before it sees data.

    One example's shapes, the examples N of a step, and whether an episode hides its later targets.
    """

    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    examples: int
    hides: bool = False
