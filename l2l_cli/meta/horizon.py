"""Horizons: the number of steps of meta-training episodes over the course of training."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator


class Horizon(ABC):
    """A distribution of the number of steps of each new episode.

    Attributes:
        one_window: Whether only one window of a longer episode is used: half of the time the last, otherwise one that
            begins at a random step, up to which the episode is unrolled without derivatives.  Long episodes then get no
            more updates than short ones, and successive updates are less correlated.  But a rule that diverges on the
            way seldom sees the steps where this began, and may never recover.
    """

    one_window: bool = False

    @abstractmethod
    def draw(self, done: float, longest: int, rng: Generator) -> int:
        """Return the number of steps of an episode.

        Args:
            done: Fraction of the updates made so far, in [0, 1].
            longest: Task's own horizon.
            rng: Generator of random lengths.
        """


class Full(Horizon):
    """Always the task's own horizon."""

    def draw(self, done: float, longest: int, rng: Generator) -> int:
        """Return ``longest``."""
        del done, rng
        return longest


class LogUniform(Horizon):
    """Log-uniformly random lengths, and the task's own for a share of the episodes.

    Args:
        short: Number of steps of the shortest episodes.
        long: Number of steps of the longest.
        own: Share of the episodes that have the task's own horizon, in [0, 1].
        one_window: Whether only one window of a long episode is used; see ``Horizon``.
    """

    def __init__(self, short: int = 50, long: int = 2000, own: float = 0.0, one_window: bool = False) -> None:
        if not 1 <= short <= long or not 0 <= own <= 1:
            raise ValueError(f"random lengths need 1 ≤ short ≤ long and own in [0, 1], not {short}, {long}, {own}")
        self.short, self.long, self.own, self.one_window = short, long, own, one_window

    def draw(self, done: float, longest: int, rng: Generator) -> int:
        """Return the number of steps of an episode."""
        del done
        own, share = torch.rand(2, generator=rng, device="cpu").tolist()
        return longest if own < self.own else round(self.short * (self.long / self.short) ** share)


class Curriculum(Horizon):
    """Short episodes first, then log-uniformly random lengths, then the task's own.

    Source: Hochreiter et al. 2001, §3.3, meta-train the quadratics on 100 examples per function before 1000.
    Deviation: the paper does not say when it switches; that is ours, and so is the stretch of random lengths.

    Args:
        short: Number of steps of the first episodes; the paper's 100.
        until: Fraction of the updates after which lengths become random.
        settled: Fraction of the updates after which every episode has the task's horizon.
    """

    def __init__(self, short: int = 100, until: float = 0.5, settled: float = 0.8) -> None:
        if short < 1 or not 0 <= until <= settled <= 1:
            raise ValueError(
                f"a curriculum needs short ≥ 1 and 0 ≤ until ≤ settled ≤ 1, not {short}, {until}, {settled}"
            )
        self.short, self.until, self.settled = short, until, settled

    def draw(self, done: float, longest: int, rng: Generator) -> int:
        """Return the number of steps of an episode at this point of training."""
        if self.short >= longest or done >= self.settled:
            return longest
        if done < self.until:
            return self.short
        share = torch.rand((), generator=rng, device="cpu").item()
        return round(self.short * (longest / self.short) ** share)
