"""Tensors in parts that threads share, and where the parts lie in memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from torch import Tensor

from l2l_cli.kernels.simd.registers import IntArray

PART = 8192
"""Largest number of coordinates that a thread takes at a time."""

Coordinates = Tensor | Sequence[Tensor]
"""Numbers of all coordinates, (E, P), or the K tensors of a single episode, each contiguous, anywhere in memory."""


@lru_cache(maxsize=64)
def parts_of(sizes: tuple[int, ...], episodes: int) -> tuple[IntArray, IntArray]:
    """Return parts (episode, first coordinate, count, tensor counted over all episodes, start in it), and their owners.

    An owner is a pair (episode, tensor).
    """
    rows, owners = [], []
    for episode in range(episodes):
        begin = 0
        for tensor, size in enumerate(sizes):
            for first in range(0, size, PART):
                rows.append((episode, begin + first, min(PART, size - first), episode * len(sizes) + tensor, first))
                owners.append((episode, tensor))
            begin += size
    return np.array(rows, np.int64), np.array(owners, np.int64)


def placed(parts: IntArray, owners: IntArray, size: int, *values: Coordinates) -> IntArray:
    """Return parts (episode, first coordinate, count, tensor counted over all episodes) with their addresses in values.

    Args:
        parts: Parts, as ``parts_of`` returns them.
        owners: Their owners.
        size: Number P of coordinates of an episode.
        values: Values of the coordinates.
    """
    found = {}
    for value in {id(one): one for one in values}.values():
        if isinstance(value, Tensor):
            assert value.is_contiguous(), "coordinates lie side by side"
            found[id(value)] = value.data_ptr() + (parts[:, 0] * size + parts[:, 1]) * value.element_size()
        else:
            starts = np.array([one.data_ptr() for one in value], np.int64)
            found[id(value)] = starts[owners[:, 1]] + parts[:, 4] * value[0].element_size()
    places = [found[id(value)] for value in values]
    table: IntArray = np.column_stack([parts[:, :4], *places])
    return table
