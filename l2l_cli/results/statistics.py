"""Statistics with their uncertainty, by the bootstrap over episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Number of resamples behind an interval."""

DRAWS = 4999
"""Number of resamples behind a p-value; the smallest possible p is 1 / (DRAWS + 1)."""


NO_INTERVAL = "none of one episode"
"""Text in place of an interval where there is nothing to resample."""


class Interval(NamedTuple):
    """A statistic with a confidence interval; of a single value there is none, and its ends are NaN."""

    value: float
    low: float
    high: float

    def ends(self, form: str, between: str = " … ") -> str:
        """Return both ends as text, each by a format such as ".3g"."""
        return NO_INTERVAL if math.isnan(self.low) else f"{self.low:{form}}{between}{self.high:{form}}"


Statistic = Callable[[npt.NDArray[Any]], Any]
"""From values to one number, such as ``np.mean`` or ``np.median``."""


def bootstrap_interval(
    values: Sequence[float], statistic: Statistic = np.mean, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return a statistic with its percentile bootstrap interval; the same seed gives the same interval."""
    data = np.asarray(values, dtype=float)
    return _interval(lambda index: float(statistic(data[index])), len(data), level, seed)


def paired_bootstrap(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Return mean(a) − mean(b) with its 95 % interval, where a and b were measured on the same episodes.

    Each draw takes the same episodes of both, so what they share cancels; an interval without 0 is a difference that
    the choice of episodes does not explain.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values come in pairs, not {len(a)} and {len(b)}")
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return _interval(lambda index: float(first[index].mean()) - float(second[index].mean()), len(first))


def _interval(measure: Callable[[npt.NDArray[Any]], float], count: int, level: float = 0.95, seed: int = 0) -> Interval:
    if not count:
        raise ValueError("no values to resample")
    if count == 1:
        return Interval(measure(np.arange(1)), math.nan, math.nan)
    rng = np.random.default_rng(seed)
    resampled = [measure(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(measure(np.arange(count)), float(low), float(high))


class Difference(NamedTuple):
    """A difference of means of two contenders that met the same episodes.

    Attributes:
        interval: Difference with its 95 % interval, bootstrapped over pairs.
        p: Two-sided p-value of the hypothesis that the difference is 0; of the least favourable seed.
        won: Share of the episodes on which the first contender has the lower loss, in [0, 1].
    """

    interval: Interval
    p: float
    won: float

    def __str__(self) -> str:
        """Return the difference, its interval and p for a report."""
        return f"{self.within()}, {p_text(self.p)}"

    def within(self) -> str:
        """Return the difference and its interval for a report."""
        return f"{self.interval.value:+.4f} [{self.interval.ends('+.4f', ', ')}]"


def p_text(p: float) -> str:
    """Return p for a report, as a bound where the bootstrap can say no more."""
    return f"p < {1.5 / (DRAWS + 1):.1g}" if p <= 1.0 / (DRAWS + 1) else f"p = {p:.2g}"


def paired_p(differences: Array, seed: int = 0) -> float:
    """Return the two-sided bootstrap p of a mean difference being 0, (n,) differences.

    The differences are centred and resampled; p is the share of resampled means as far from 0 as the mean itself.  It
    is not below 2 / 2ⁿ, the least that an exact test can give, which flips the signs of n differences.
    Source: Efron and Tibshirani 1993, §16.4; Fisher 1935, §21, for the exact test.
    """
    count, mean = len(differences), differences.mean()
    index = np.random.default_rng(seed).integers(count, size=(DRAWS, count), dtype=np.int32)
    resampled = (differences - mean)[index].mean(1)
    resampled_p = float((1 + (np.abs(resampled) >= abs(mean)).sum()) / (DRAWS + 1))
    return max(resampled_p, min(1.0, 2.0 ** (1 - count)))
