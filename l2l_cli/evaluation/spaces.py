"""Search spaces of settings: grids, ranges and lists of choices, their ends, and the values beyond these."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.random import generator
from l2l_cli.core.ranges import Range

NEAR_ONE = ("momentum", "beta1", "beta2", "decay")
"""Endings of keys that are drawn log-uniformly in 1 − value, the inverse of the number of steps averaged over."""

EDGE = 0.03
"""Share of a range, on the scale on which it is drawn, that counts as its edge."""

PARTS = 8
"""Number of parts of a range, as many as a grid has values; a search beyond the range goes on by one part at a time."""


class Space(NamedTuple):
    """Values by configuration key.

    Attributes:
        lists: Values that are tried, in a grid or as choices beside ranges.
        ranges: Ranges that settings are drawn from.
    """

    lists: Mapping[str, Sequence[Any]] = MappingProxyType({})
    ranges: Mapping[str, Range] = MappingProxyType({})

    def settings(self, budget: int, seed: int) -> list[Entries]:
        """Return the settings that are tried first: a grid's points, or as many draws as the budget allows.

        Raises:
            ValueError: The logarithm is not defined on a range, or the budget is below 1.
        """
        return draws_of(self.ranges, budget, seed, self.lists) if self.ranges else settings_of(self.lists, budget)

    def side(self, key: str, best: Node, tried: Sequence[Node]) -> int:
        """Return at which end of the values tried the best one of a key lies: −1 at the low, 1 at the high, 0 at none.

        The end of a range is its outer share ``EDGE``, and that of a list the last of its values that were tried,
        unless a setting that is farther out but otherwise the same was tried too.  The last possible value, such as no
        momentum or one iteration, is not an end, since nothing lies beyond it.
        """
        value = best[key]
        if not {key} & {*self.lists, *self.ranges} or not _is_number(value) or not _has_room(key, value):
            return 0
        if key in self.ranges:
            low, high = (_scale(key, end) for end in self.ranges[key][:2])
            share = (_scale(key, value) - low) / (high - low)
            side = int(share > 1.0 - EDGE) - int(share < EDGE)
        else:
            values = [one[key] for one in tried if _is_number(one[key]) and one[key] in self.lists[key]]
            is_first_count = value == 1 and all(isinstance(each, int) for each in values)
            side = int(value >= max(values)) - int(value <= min(values) and not is_first_count)
        alike = [one[key] for one in tried if {**one, key: value} == dict(best)]
        return side if side and not any(side * (each - value) > 0 for each in alike) else 0

    def beyond(self, key: str, value: float, side: int) -> float | int | None:
        """Return the next value of a key on one side of a value, by the ratio of its grid's two values at that end.

        The step of a range is an eighth of it, on the scale on which it is drawn.  None if there is no such value.
        """
        ends, parts, whole = list[float](), PARTS, False
        if key in self.ranges:
            ends = [*self.ranges[key][:2]]
        else:
            values = sorted({each for each in self.lists[key] if _is_number(each)})
            ends, parts = values[:2] if side < 0 else values[-2:], 1
            whole = all(isinstance(each, int) for each in values)
        if len(ends) < 2 or not all(_has_place(key, end) for end in ends):
            return None
        place = _scale(key, value) + side * (_scale(key, ends[1]) - _scale(key, ends[0])) / parts
        if _is_near_one(key):
            found = _unscale(key, max(0.0, place))
        else:
            found = max(1, round(_unscale(key, place))) if whole else float(f"{_unscale(key, place):.3g}")
        return found if side * (found - value) > 0 else None


def settings_of(grid: Mapping[str, Sequence[Any]], budget: int | None) -> list[Entries]:
    """Return the grid's points; with a budget below their number, that many of them, evenly spread.

    Raises:
        ValueError: The budget is below 1.
    """
    if budget is not None and budget < 1:
        raise ValueError(f"tune.budget must be at least 1 or null, not {budget}")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if budget is None or budget >= len(points):
        return points
    if budget == 1:
        return [points[len(points) // 2]]
    return [points[round(index * (len(points) - 1) / (budget - 1))] for index in range(budget)]


def draws_of(
    ranges: Mapping[str, Range], budget: int, seed: int, choices: Mapping[str, Sequence[Any]] = MappingProxyType({})
) -> list[Entries]:
    """Return ``budget`` settings drawn log-uniformly from ranges; a smaller budget takes the first of the same draws.

    Ranges of keys in ``NEAR_ONE`` are drawn on another scale.  All values of a list of choices are equally likely.

    Source: Bergstra and Bengio 2012: with several keys, as many different values of each are tried as there are trials.

    Raises:
        ValueError: The logarithm is not defined on a range.
    """
    columns: dict[str, list[Any]] = {}
    for key, (start, end, stream) in ranges.items():
        if not (0 <= start if _is_near_one(key) else 0 < start):
            sign = "≤" if _is_near_one(key) else "<"
            raise ValueError(f"tune.ranges must give {key} as [low, high] with 0 {sign} low < high, not {[start, end]}")
        if _is_near_one(key) and end >= 1:
            raise ValueError(f"tune.ranges: {key} must end below 1, not at {end}")
        low, high = _scale(key, start), _scale(key, end)
        columns[key] = [_unscale(key, low + share * (high - low)) for share in _shares(budget, seed, stream)]
    for key, values in choices.items():
        columns[key] = [values[int(share * len(values))] for share in _shares(budget, seed, key)]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def spread(key: str, ends: Range, count: int) -> list[float]:
    """Return values spaced evenly over a range, including both ends, on the scale on which it is drawn."""
    low, high = _scale(key, ends.low), _scale(key, ends.high)
    return [float(f"{_unscale(key, low + index / (count - 1) * (high - low)):.4g}") for index in range(count)]


def _shares(budget: int, seed: int, stream: str | int) -> list[float]:
    drawn = torch.rand(budget, generator=generator(seed, "tune", stream), dtype=torch.float64, device="cpu")
    shares: list[float] = drawn.tolist()
    return shares


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_near_one(key: str) -> bool:
    return key.endswith(NEAR_ONE)


def _has_place(key: str, value: float) -> bool:
    return 0 <= value < 1 if _is_near_one(key) else value > 0


def _has_room(key: str, value: float) -> bool:
    """Return whether other values may lie on both sides of a value."""
    return _has_place(key, value) and value > 0


def _scale(key: str, value: float) -> float:
    return -math.log(1.0 - value) if _is_near_one(key) else math.log(value)


def _unscale(key: str, position: float) -> float:
    return 1.0 - math.exp(-position) if _is_near_one(key) else math.exp(position)
