"""Statistics with their uncertainty, by the bootstrap over episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Number of resamples behind an interval."""

DRAWS = 4999
"""Number of resamples behind a p-value; the smallest possible p is 1 / (DRAWS + 1)."""


class Interval(NamedTuple):
    """A statistic with a confidence interval."""

    value: float
    low: float
    high: float


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
        return "{:+.4f} [{:+.4f}, {:+.4f}]".format(*self.interval)


def p_text(p: float) -> str:
    """Return p for a report, as a bound where the bootstrap can say no more."""
    return f"p < {1.5 / (DRAWS + 1):.1g}" if p <= 1.0 / (DRAWS + 1) else f"p = {p:.2g}"


def paired_p(differences: Array, seed: int = 0) -> float:
    """Return the two-sided bootstrap p of a mean difference being 0, (n,) differences.

    The differences are centred and resampled; p is the share of resampled means as far from 0 as the mean itself.
    Source: Efron and Tibshirani 1993, §16.4.
    """
    count, mean = len(differences), differences.mean()
    index = np.random.default_rng(seed).integers(count, size=(DRAWS, count), dtype=np.int32)
    resampled = (differences - mean)[index].mean(1)
    return float((1 + (np.abs(resampled) >= abs(mean)).sum()) / (DRAWS + 1))
