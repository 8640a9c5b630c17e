"""The path that a computation takes: the reference, in plain torch operations, or a compiled path that equals it."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Paths(NamedTuple):
    """Paths that a learner may take; they may change the last digits of its results, never what it computes.

    Attributes:
        compiled: Whether a compiled path may be taken where there is one.
        state_dtype: Type of a rule's states in a GPU's memory, float32 or bfloat16.
    """

    compiled: bool = True
    state_dtype: torch.dtype = torch.float32


EVERY_PATH = Paths()


class Path(NamedTuple):
    """The path that is taken.

    Attributes:
        name: "reference", or what runs in its place: "numba", "triton", "recorded".
        why_not: Reason why the reference is taken although compiled paths are allowed; empty if there is none to give.
    """

    name: str = "reference"
    why_not: str = ""

    @property
    def is_compiled(self) -> bool:
        """Whether something other than the reference runs."""
        return self.name != Path().name

    def __str__(self) -> str:
        """Return the name, with the reason if there is one."""
        return f"{self.name}: {self.why_not}" if self.why_not else self.name


REFERENCE = Path()
NUMBA = Path("numba")
TRITON = Path("triton")
RECORDED = Path("recorded")
