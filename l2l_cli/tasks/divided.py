"""A part of the episodes of one draw, for one of several processes."""

from __future__ import annotations

from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Batch, Batches, Split
from l2l_cli.tasks.base import Episode


class DividedEpisode(Episode):
    """A contiguous part of E parallel draws, with the same data as within the whole.

    Args:
        whole: All E draws.
        span: Range of the draws that belong to the part.
    """

    def __init__(self, whole: Episode, span: slice) -> None:
        self._whole, self._span = whole, span

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return the part's data of one step."""
        return tree_map(lambda value: value[self._span].contiguous(), self._whole.batch(step, split))

    def batches(self, start: int, stop: int, split: Split = Split.TRAIN) -> Batches:
        """Return the part's data of the steps start … stop − 1."""
        batches = self._whole.batches(start, stop, split)
        return tree_map(lambda value: value[:, self._span].contiguous(), batches)
