"""Intervals of a mean over seeds and episodes, from a model with two crossed random effects.

All seeds of a recipe are scored on the same episodes, so y_se = μ + a_s + b_e + c_se with random a, b and c.  Neither
the seeds alone nor the episodes alone determine how uncertain the mean is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, t

Array = npt.NDArray[np.float64]

WIDEST = 1.25
"""Standard deviation of logarithms above which a sample is not treated as log-normal."""

CAUTION = 0.8
"""Confidence of the upper bound on the seeds' part of the variance from which degrees of freedom are computed."""


@dataclass(frozen=True)
class Spread:
    """Mean squares of values (S, E) over S seeds and E episodes; one seed, or seeds that share nothing, give (1, n).

    Attributes:
        mean: Mean over all values.
        seeds: Mean square of the seeds; 0 for one seed.
        episodes: Mean square of the episodes.
        rest: Mean square of the residuals; 0 for one seed.
        third: Third central moment of the mean.
        shape: S and E.

    Source: Searle, Casella and McCulloch 1992, §4.3, for the components.
    """

    mean: float
    seeds: float
    episodes: float
    rest: float
    third: float
    shape: tuple[int, int]

    @classmethod
    def of(cls, values: Array) -> Spread:
        """Return the mean squares of values (S, E)."""
        count, episodes = values.shape
        mean, by_seed, by_episode = values.mean(), values.mean(1), values.mean(0)
        over_episodes = count * float(((by_episode - mean) ** 2).sum()) / (episodes - 1)
        third = sum(float(((each - mean) ** 3).mean()) / len(each) ** 2 for each in (by_episode, by_seed))
        if count == 1:
            return cls(float(mean), 0.0, over_episodes, 0.0, third, (1, episodes))
        over_seeds = episodes * float(((by_seed - mean) ** 2).sum()) / (count - 1)
        left = values - by_seed[:, None] - by_episode + mean
        rest = float((left**2).sum()) / ((count - 1) * (episodes - 1))
        return cls(float(mean), over_seeds, over_episodes, rest, third, (count, episodes))

    @property
    def variance(self) -> float:
        """Variance of the mean, max(MS_seed + MS_episode − MS_rest, MS_seed, MS_episode) / (S·E)."""
        whole = self.seeds + self.episodes - self.rest
        return float(max(whole, self.seeds, self.episodes) / (self.shape[0] * self.shape[1]))

    @property
    def components(self) -> tuple[float, float, float]:
        """Variances of a_s, b_e and c_se, none below 0."""
        count, episodes = self.shape
        return (
            max(self.seeds - self.rest, 0.0) / episodes,
            max(self.episodes - self.rest, 0.0) / count,
            self.rest,
        )

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance.

        Source: Satterthwaite 1946, for a sum of two mean squares.  A few seeds often underestimate their part, just
        where the interval is already too short, so that part counts at its upper bound of confidence ``CAUTION``.
        """
        count, episodes = self.shape
        if count == 1 or not self.variance:
            return float(episodes - 1)
        bound = self.seeds * (count - 1) / chi2.ppf(1.0 - CAUTION, count - 1)
        part = min(bound / (count * episodes), self.variance) / self.variance
        return float(1.0 / (part**2 / (count - 1) + (1.0 - part) ** 2 / (episodes - 1)))

    def ends(self, level: float) -> tuple[float, float]:
        """Return the ends of the mean's interval, which is Student's, widened on the side of a long tail.

        Source: Hall 1992, whose cubic transformation takes the skewness of the mean out of Student's statistic.
        """
        quantile, error = float(t.ppf((1.0 + level) / 2.0, self.freedom)), math.sqrt(self.variance)
        lean = self.third / error**3 if error else 0.0
        if abs(lean) < 1e-9:
            return self.mean - error * quantile, self.mean + error * quantile
        low, high = (3.0 / lean * (np.cbrt(1.0 + lean * (side - lean / 6.0)) - 1.0) for side in (quantile, -quantile))
        return self.mean - error * max(quantile, float(low)), self.mean + error * max(quantile, -float(high))


def ends_of_mean(values: Array, level: float) -> tuple[float, float]:
    """Return the ends of the interval of the mean of values (S, E).

    If all values are positive and their logarithms are less skewed than the values, the result also covers the
    interval of the mean of a log-normal distribution, exp(μ + σ² / 2), unless σ exceeds ``WIDEST``: the mean then
    depends on a tail that the sample does not determine.

    Source: Cox's interval, in Zhou and Gao 1997; with Student's t and the components of variance here.
    """
    low, high = Spread.of(values).ends(level)
    if not (values > 0).all() or abs(_skewness(np.log(values))) >= abs(_skewness(values)):
        return low, high
    logs, (count, episodes) = Spread.of(np.log(values)), values.shape
    seeds, over_episodes, rest = logs.components
    whole = seeds + over_episodes + rest if count > 1 else logs.episodes
    if whole > WIDEST**2:
        return low, high
    uncertain = 2.0 * (logs.episodes / count) ** 2 / (episodes - 1) if over_episodes else 0.0
    uncertain += 2.0 * (logs.seeds / episodes) ** 2 / (count - 1) if seeds else 0.0
    reach = float(t.ppf((1.0 + level) / 2.0, logs.freedom)) * (logs.variance + uncertain / 4.0) ** 0.5
    from_logs = np.exp(logs.mean + whole / 2.0 + np.array([-reach, reach]))
    return min(low, float(from_logs[0])), max(high, float(from_logs[1]))


def _skewness(values: Array) -> float:
    """Return the skewness of all values, 0 where they are all the same."""
    centred = values - values.mean()
    scale = float((centred**2).mean()) ** 0.5
    return float(((centred / scale) ** 3).mean()) if scale else 0.0


def ends_of_gap(first: Array, second: Array, level: float) -> tuple[float, float]:
    """Return the ends of the interval of mean(first) − mean(second), of two independent samples, (n,) and (m,).

    Source: Welch 1947.
    """
    parts = [values.var(ddof=1) / len(values) for values in (first, second)]
    middle, variance = float(first.mean() - second.mean()), float(sum(parts))
    if not variance:
        return middle, middle
    freedom = variance**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (first, second), strict=True))
    reach = float(t.ppf((1.0 + level) / 2.0, freedom)) * variance**0.5
    return middle - reach, middle + reach
