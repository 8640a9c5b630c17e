"""Intervals and tests that say what they are about: one rule over episodes, or a recipe over seeds and episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, permutation_test, quantile_test, t

from l2l_cli.core.printable import counted
from l2l_cli.results.spread import Array, Spread, ends_of_mean

LEVEL = 0.95
"""Confidence of every interval that is printed."""

RULE, RECIPE = "this rule", "this recipe"
"""What an interval is about: one φ, over episodes; or a way of meta-training, over seeds and episodes."""

EPISODES, SEEDS, ORDERED = 8, 3, 6
"""Smallest numbers of episodes and of seeds for an interval of a mean, and of values for one of a median."""

MOST = 10_000
"""Largest number of seeds or episodes that is recommended."""

DRAWS = 9999
"""Number of random sign flips behind a p-value where they are too many to try all."""


class Interval(NamedTuple):
    """A statistic with its 95 % interval, whose ends are NaN if there is none.

    Attributes:
        value: The statistic.
        low: Lower end.
        high: Upper end.
        about: What the interval is about: ``RULE`` or ``RECIPE``.
        why_none: Why there is no interval.
    """

    value: float
    low: float
    high: float
    about: str = ""
    why_none: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def side(self) -> int:
        """−1 if the interval lies wholly below 0, 1 if wholly above, and 0 if it contains 0 or is not known."""
        return int(self.low > 0) - int(self.high < 0)

    def ends(self, form: str, between: str = " … ") -> str:
        """Return both ends as text, each by a format such as ".3g", or why there are none."""
        return f"{self.low:{form}}{between}{self.high:{form}}" if self.is_known else self.why_none

    def within(self, form: str = ".3g") -> str:
        """Return the statistic with its interval in brackets, each number by a format."""
        return f"{self.value:{form}} [{self.ends(form, ', ')}]"


def _none(value: float, why: str) -> Interval:
    return Interval(value, math.nan, math.nan, why_none=why)


def too_few(values: Array) -> str:
    """Return why values (S, E), or (S,) of seeds that share no episodes, give no interval of a mean; empty if they do.

    One rule needs ``EPISODES`` episodes; a recipe also needs ``SEEDS`` seeds.
    """
    if not np.isfinite(values).all():
        return "a loss is not finite"
    seeds, episodes = values.shape if values.ndim > 1 else (len(values), EPISODES)
    if episodes < EPISODES:
        return f"none of {counted(episodes, 'episode')}"
    return f"none of {counted(seeds, 'seed')}" if seeds < SEEDS and (seeds > 1 or values.ndim == 1) else ""


def mean_of(values: Array, level: float = LEVEL) -> Interval:
    """Return the mean with its interval.

    Args:
        values: One row per seed over the same episodes, (S, E), or one number per seed that shares no episodes, (S,).
        level: Confidence.

    Raises:
        ValueError: There are no values.
    """
    if not values.size:
        raise ValueError("there are no values, so there is no mean")
    mean = float(values.mean())
    if why := too_few(values):
        return _none(mean, why)
    about = RULE if values.ndim > 1 and len(values) == 1 else RECIPE
    return Interval(mean, *ends_of_mean(np.atleast_2d(values), level), about)


def over_episodes(values: Sequence[float] | Array) -> Interval:
    """Return the mean over the episodes of one rule with its interval."""
    return mean_of(np.atleast_2d(np.asarray(values, dtype=float)))


def median_of(values: Sequence[float] | Array, about: str = RULE) -> Interval:
    """Return the median of independent values, with an interval between two order statistics."""
    data = np.asarray(values, dtype=float)
    data = np.where(np.isnan(data), np.inf, data)
    middle = float(np.median(data))
    if len(data) < ORDERED:
        return _none(middle, f"none of {counted(len(data), 'value')}")
    found = quantile_test(data, q=middle, p=0.5).confidence_interval(LEVEL)
    return Interval(middle, float(found.low), float(found.high), about)


def share_of(successes: int, count: int) -> Interval:
    """Return the share of seeds that succeed with its exact interval (Clopper and Pearson 1934)."""
    low, high = binomtest(successes, count).proportion_ci(LEVEL, "exact")
    return Interval(successes / count, float(low), float(high), RECIPE)


def sd_of(values: Array) -> Interval:
    """Return the standard deviation of values (S, E) over episodes, averaged over seeds, with its interval.

    The interval is that of the mean of the jackknife's pseudo-values (Tukey 1958), moved to the standard deviation.
    """
    each = values.std(1, ddof=1) if values.shape[1] > 1 else np.zeros(len(values))
    value = float(each.mean())
    if why := too_few(values):
        return _none(value, why)
    count, centred = values.shape[1], values - values.mean(1, keepdims=True)
    squares = (centred**2).sum(1, keepdims=True) - centred**2 * count / (count - 1)
    left_out = (squares.clip(min=0.0) / (count - 2)) ** 0.5
    found = mean_of(count * each[:, None] - (count - 1) * left_out)
    shift = value - found.value
    return found._replace(value=value, low=found.low + shift, high=found.high + shift)


def needed(values: Array, half: float) -> str:
    """Return how many seeds, or else episodes, would bring the half-width of the mean's interval to ``half``.

    Args:
        values: Values (S, E) or (S,); see ``mean_of``.
        half: Half-width, above 0.
    """
    grid = np.atleast_2d(values)
    if not np.isfinite(grid).all() or grid.shape[1] < 2:
        return ""
    seeds, episodes, rest = Spread.of(grid).components
    if len(grid) == 1:
        noun = "seed" if values.ndim == 1 else "episode"
        return _smallest(lambda count: (Spread.of(grid).episodes / count, count - 1.0), half, noun)
    fixed = episodes / grid.shape[1]

    def with_seeds(count: int) -> tuple[float, float]:
        variance = (seeds + rest / grid.shape[1]) / count + fixed
        part = (seeds + rest / grid.shape[1]) / count / variance if variance else 0.0
        return variance, 1.0 / max(part**2 / (count - 1) + (1.0 - part) ** 2 / (grid.shape[1] - 1), 1e-12)

    enough = t.ppf((1.0 + LEVEL) / 2.0, grid.shape[1] - 1) * fixed**0.5 < half
    return _smallest(with_seeds, half, "seed") if enough else f"more than {counted(grid.shape[1], 'episode')}"


def _smallest(law: Callable[[int], tuple[float, float]], half: float, noun: str) -> str:
    """Return the smallest count whose variance and degrees of freedom, by ``law``, give at most that half-width."""
    least = EPISODES if noun == "episode" else SEEDS
    counts = np.unique(np.geomspace(least, MOST, 400).astype(int)).tolist()
    for count in counts:
        variance, freedom = law(count)
        if t.ppf((1.0 + LEVEL) / 2.0, freedom) * variance**0.5 <= half:
            return counted(count, noun)
    return f"more than {MOST} {noun}s"


class Difference(NamedTuple):
    """A difference of means of two contenders that met the same episodes.

    Attributes:
        interval: Difference with its 95 % interval, of paired values.
        p: Two-sided p-value of the hypothesis that the difference is 0.
        won: Share of seeds and episodes at which the first contender has the lower loss, in [0, 1].
    """

    interval: Interval
    p: float
    won: float

    def __str__(self) -> str:
        """Return the difference, its interval and p for a report."""
        return f"{self.within()}, {p_text(self.p)}"

    def within(self, form: str = ".4f") -> str:
        """Return the difference and its interval for a report, each number with its sign and by a format."""
        return self.interval.within(f"+{form}")


def paired(first: Array, second: Array) -> tuple[Array, Array]:
    """Return two contenders' values, both (S, E) over the same episodes, paired for comparison.

    A single seed is paired with every seed of the other contender.  If both have several, as many are paired as the
    one with fewer has: seeds of different recipes have nothing in common, so any pairing will do.

    Raises:
        ValueError: The numbers of episodes differ.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"values of {first.shape[1]} and of {second.shape[1]} episodes cannot be paired")
    both = min(len(first), len(second))
    return (first[:both], second[:both]) if both > 1 else (first, second)


def difference_of(first: Array, second: Array) -> Difference:
    """Return mean(first) − mean(second) of two contenders' values, both (S, E) over the same episodes; see ``paired``.

    Raises:
        ValueError: The numbers of episodes differ.
    """
    first, second = paired(first, second)
    with np.errstate(invalid="ignore"):
        gaps = first - second
    return Difference(mean_of(gaps), p_of(gaps), float((first < second).mean()))


def p_of(gaps: Array) -> float:
    """Return the two-sided p-value for a mean of 0 of paired differences (S, E); NaN if one is not finite.

    For one rule, it is that of the permutation test that flips the signs of the episodes' differences, in all 2^E ways
    if these are few.  For a recipe, it is the largest of three tests, none of which alone covers both samples: flips
    of the seeds' means, flips of the episodes' means, and Student's test with the variance over both.  It is therefore
    never below 2 / 2^S.

    Source: Fisher 1935, §21.
    """
    if not np.isfinite(gaps).all():
        return math.nan
    found = [_by_flips(gaps.mean(0))] + ([_by_flips(gaps.mean(1))] if len(gaps) > 1 else [])
    if min(gaps.shape) > 1:
        spread = Spread.of(gaps)
        size = abs(spread.mean) / spread.variance**0.5 if spread.variance else math.inf
        found.append(2.0 * float(t.sf(size, spread.freedom)))
    return max(found)


def _by_flips(gaps: Array) -> float:
    """Return the p-value of the permutation test that flips signs; the same gaps give the same p."""
    if len(gaps) < 2 or not gaps.any():
        return 1.0
    found = permutation_test(
        (gaps, np.zeros_like(gaps)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=DRAWS,
        batch=max(1, 2**22 // len(gaps)),
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def p_value(p: float) -> str:
    """Return p for a table, as an upper bound, "< 0.0003", where random flips do not resolve it."""
    return f"< {2.5 / (DRAWS + 1):.1g}" if p <= 2.0 / (DRAWS + 1) else f"{p:.2g}"


def p_text(p: float) -> str:
    """Return p for a sentence, as "p = 0.25" or "p < 0.0003"."""
    text = p_value(p)
    return f"p {'' if text.startswith('<') else '= '}{text}"


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in their order (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = largest
    return corrected
