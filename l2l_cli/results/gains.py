"""By what share one contender's mean loss lies below another's on the same episodes, with its interval."""

from __future__ import annotations

import math

import numpy as np

from l2l_cli.results.spread import Array
from l2l_cli.results.statistics import Interval, mean_of, paired

HALVINGS = 30
"""Steps of a bisection for one end of an interval."""


def gain_of(ours: Array, theirs: Array) -> Interval:
    """Return 1 − mean(ours) / mean(theirs) with its 95 % interval, about what ``mean_of`` says.

    A ratio r is in the interval if the mean of ours − r·theirs may be 0 by the interval of ``mean_of``.  So the
    interval of the gain excludes 0 exactly where that of the difference of the means does, with crossed samples, too.

    No loss below 0 is possible, so no gain above 1 is: the interval ends there.

    Source: Fieller 1954.

    Args:
        ours: Losses, (S, E) over the same episodes as theirs.
        theirs: Losses, (S, E).
    """
    first, second = paired(ours, theirs)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = float(first.mean() / second.mean())
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return Interval(1.0 - ratio, math.nan, math.nan, why_none="a loss is not finite")
    if min(first.min(), second.min()) < 0.0 or not second.mean() > 0.0:
        return Interval(math.nan, math.nan, math.nan, why_none="losses that are not above 0 have no shares")
    whole = mean_of(first - second)
    if not whole.is_known:
        return Interval(1.0 - ratio, math.nan, math.nan, why_none=whole.why_none)
    low, high = (1.0 - _end(first, second, ratio, side) for side in (1, -1))
    return Interval(1.0 - ratio, low, min(high, 1.0), whole.about)


def _end(first: Array, second: Array, ratio: float, side: int) -> float:
    """Return how far from ``ratio``, on one side, the mean of first − r·second may be 0; infinite if without end."""

    def may_be(r: float) -> bool:
        return mean_of(first - r * second).side == 0

    inner, width = ratio, max(abs(ratio), 1e-6) / 16
    for _ in range(64):
        if not may_be(ratio + side * width):
            break
        inner, width = ratio + side * width, 2.0 * width
    else:
        return side * math.inf
    outer = ratio + side * width
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2.0
        inner, outer = (middle, outer) if may_be(middle) else (inner, middle)
    return (inner + outer) / 2.0
