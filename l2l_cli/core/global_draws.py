"""The global random number generators of a process: those of torch, NumPy and Python.

This program does not draw from them, but dropout and the default initialization of torch's layers do.  They are seeded
wherever a user's code is built, trained or scored, so that its draws, too, are functions of a seed.
"""

from __future__ import annotations

import random
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.random import derive


def seed_global_generators(seed: int, *labels: object) -> None:
    """Seed the global generators for a purpose."""
    number = derive(seed, "global", *labels)
    # Not torch.manual_seed, which writes a stack trace for each GPU that is not in use.
    torch.default_generator.manual_seed(number)
    if _uses_cuda():
        torch.cuda.manual_seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 - it is the global one that users' code draws from
    random.seed(number)


def _uses_cuda() -> bool:
    initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return initialized or torch.get_default_device().type == "cuda"


class GlobalState(NamedTuple):
    """The states of all global generators; ``cuda`` is that of the current GPU, None if no GPU is in use."""

    torch: Tensor
    cuda: Tensor | None
    numpy: object
    python: object

    @classmethod
    def now(cls) -> GlobalState:
        """Return the present state."""
        cuda = torch.cuda.get_rng_state() if _uses_cuda() else None
        return cls(torch.default_generator.get_state(), cuda, np.random.get_state(), random.getstate())  # noqa: NPY002

    def restore(self) -> None:
        """Go back to this state."""
        torch.default_generator.set_state(self.torch)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)
        np.random.set_state(self.numpy)  # type: ignore[arg-type]  # noqa: NPY002
        random.setstate(self.python)  # type: ignore[arg-type]


class Draws:
    """A context in which draws from the global generators depend only on a seed and a purpose.

    When entered again, it continues where it left off; on exit, the generators are as they were before.
    """

    def __init__(self, seed: int, *labels: object) -> None:
        self._seed, self._labels = seed, labels
        self._inside: GlobalState | None = None
        self._outside: GlobalState | None = None

    def __enter__(self) -> Self:
        """Switch the global generators to this stream."""
        self._outside = GlobalState.now()
        if self._inside is None:
            seed_global_generators(self._seed, *self._labels)
        else:
            self._inside.restore()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the generators."""
        assert self._outside is not None
        self._inside = GlobalState.now()
        self._outside.restore()
