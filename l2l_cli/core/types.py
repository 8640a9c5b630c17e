"""The types that all folders share: parameters, phases, splits and batches."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from torch import Tensor

Params = dict[str, Tensor]
"""Named parameters of E models side by side; each tensor is (E, ...)."""


class Context(Protocol):
    """The context of a ``torch.autograd.Function``, which carries any attribute from its forward to its backward."""

    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: object) -> None: ...


class Phase(StrEnum):
    """The purpose that an episode is drawn for; the draws of two phases never coincide."""

    META_TRAIN = "meta_train"
    META_VALID = "meta_valid"
    TUNE = "tune"
    TEST = "test"


class Split(StrEnum):
    """The two data sets of one episode: examples to learn from, and held-out ones."""

    TRAIN = "train"
    TEST = "test"


class Batch(NamedTuple):
    """N examples for each of E episodes: inputs (E, N, ...), targets (E, N, ...).

    ``shown`` is the mask of the episodes whose targets may be learned from at this step, (E,) of 0 and 1; None means
    all.  A hidden target is only scored (the separator flag of Bosc 2016); later ones may be shown again.
    """

    inputs: Tensor
    targets: Tensor
    shown: Tensor | None = None


class Batches(NamedTuple):
    """T consecutive batches: inputs and targets (T, E, N, ...), and the mask ``shown``, (T, E) or None."""

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
    """Shapes of an example's inputs and targets, the number N of examples in a step, and whether targets are hidden."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    examples: int
    hides: bool = False
