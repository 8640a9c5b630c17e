"""The cells of the generalisation grid: a standing with its intervals, and a run compared with its rivals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from l2l_cli.evaluation.contest import Standing
from l2l_cli.results.spread import Array
from l2l_cli.results.statistics import Interval, difference_of, median_of, over_episodes

ENDS = ("", "_low", "_high")
"""Suffixes of the columns that hold a statistic and its interval."""


@dataclass(frozen=True)
class Cell:
    """One contender on one problem at one horizon, which is ``stretch`` times the problem's own horizon."""

    standing: Standing
    stretch: float

    @property
    def contender(self) -> str:
        """Name of the contender."""
        return self.standing.entry.contender

    @property
    def problem(self) -> str:
        """Name of the problem, the row of the grid."""
        return self.standing.entry.problem.name

    @property
    def steps(self) -> int:
        """Horizon in steps."""
        return self.standing.entry.problem.steps

    @property
    def chosen(self) -> str:
        """How the setting was chosen; empty for a meta-trained learner."""
        if self.standing.entry.learner.is_meta_trained:
            return ""
        chosen, per_step = self.standing.entry.chosen, self.standing.evaluations
        return chosen if per_step == 1.0 else f"{chosen}; {per_step:.3g} evaluations per step"

    @property
    def criterion(self) -> str:
        """Loss that the cell shows: "final" or "held_out"."""
        return "held_out" if self.standing.entry.learner.task.spec.hides else "final"

    @property
    def where(self) -> str:
        """Loss that the cell shows, in words."""
        return {"final": "at the last step", "held_out": "over hidden steps"}[self.criterion]

    @cached_property
    def ends(self) -> Array:
        """Loss of each episode, infinite if it is not finite, (episodes,)."""
        values: Array = self.standing.ends.cpu().numpy()
        return values

    @cached_property
    def mean(self) -> Interval:
        """Mean over episodes."""
        return over_episodes(self.ends)

    @cached_property
    def median(self) -> Interval:
        """Median over episodes."""
        return median_of(self.ends)

    def row(self) -> dict[str, Any]:
        """Return the cell as a row of grid.csv."""
        return {
            "problem": self.problem,
            "stretch": float(self.stretch),
            "steps": self.steps,
            "contender": self.contender,
            "chosen": self.chosen,
            "episodes": len(self.ends),
            **{f"mean{end}": value for end, value in zip(ENDS, self.mean[: len(ENDS)], strict=True)},
            **{f"median{end}": value for end, value in zip(ENDS, self.median[: len(ENDS)], strict=True)},
            "diverged": self.standing.diverged,
            **self.standing.metrics,
        }


@dataclass(frozen=True)
class Comparison:
    """A finished run and its rivals, the hand-made learners, on one problem at one horizon."""

    run: Cell
    rivals: Sequence[Cell]

    def best(self, statistic: str = "mean") -> Cell:
        """Return the best rival by "mean" or "median"."""
        return min(self.rivals, key=lambda cell: getattr(cell, statistic).value)

    def ratio(self, statistic: str = "mean") -> float:
        """Return the run's loss as a multiple of the best rival's, or the loss itself without rivals.

        The ratio is NaN if both are zero or both infinite.
        """
        ours: float = getattr(self.run, statistic).value
        if not self.rivals:
            return ours
        best: float = getattr(self.best(statistic), statistic).value
        if ours == best:
            return 1.0 if 0.0 < ours < math.inf else math.nan
        return ours / best if best else math.inf

    def difference(self) -> Interval:
        """Return the run's mean loss minus the best rival's, on the same episodes; no interval if one is not finite."""
        return difference_of(self.run.ends[None], self.best().ends[None]).interval
