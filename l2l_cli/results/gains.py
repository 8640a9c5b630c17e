"""The share by which one contender's mean loss lies below another's on the same episodes, with its interval."""

from __future__ import annotations

import math

import numpy as np

from l2l_cli.results.spread import Array
from l2l_cli.results.statistics import Interval, mean_of, paired

HALVINGS = 30
"""Steps of a bisection for one end of an interval."""


def gain_of(ours: Array, theirs: Array) -> Interval:
    """Return 1 − mean(ours) / mean(theirs) with its 95 % interval; ``mean_of`` says what that is about.

    A ratio r belongs to the interval if the interval of ``mean_of`` for ours − r·theirs contains 0.  The interval of
    the gain therefore excludes 0 exactly if that of the difference of the means does, also for crossed samples.

    Losses are not negative, so a gain is at most 1, and the interval ends there.

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
    """Return the last r on one side of ``ratio`` at which the mean of first − r·second may be 0; ±∞ if none is."""

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
