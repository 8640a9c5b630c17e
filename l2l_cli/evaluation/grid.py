"""The generalisation grid: one learner on variations of its task and at several horizons, beside tuned references."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.evaluation.score import Scores, side_by_side
from l2l_cli.results.frame import Interval, Statistic, bootstrap_interval, paired_bootstrap

DIVERGED = 2.0
"""An episode whose last loss is this multiple of its first, or not finite, counts as diverged."""

PLAIN = "as it is"
"""The problem that changes nothing."""


def variations(grid: Mapping[str, Any], problems: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what changes in the task's node by the name of the problem: every named one with every point of the grid.

    Args:
        grid: Lists of values by key; a mapping is read as its dotted keys.
        problems: Changes by name.

    Raises:
        UsageError: A key of the grid has no list, or a problem is no mapping.
    """
    for name, changes in problems.items():
        if not isinstance(changes, Mapping):
            raise UsageError(
                f"evaluation.problems.{name} must say what changes in the task, as in {{hidden: [40]}}, not {changes!r}"
            )
    axes = dict(_axes(grid))
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    found = {}
    for (name, changes), point in itertools.product((problems or {"": {}}).items(), points):
        shown = [str(name), *(f"{key}={_short(value)}" for key, value in point.items())]
        found[", ".join(filter(None, shown)) or PLAIN] = {**changes, **point}
    return found


def _axes(grid: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, list[Any]]]:
    for key, values in grid.items():
        if isinstance(values, Mapping):
            yield from _axes(values, f"{path}{key}.")
        elif isinstance(values, list) and values:
            yield f"{path}{key}", values
        else:
            raise UsageError(f"evaluation.grid.{path}{key} must be a list of values, as in [20,40], not {values!r}")


def _short(value: Any) -> str:
    """Write a value for a row's name: the widths [20, 20] as 20–20."""
    if isinstance(value, list):
        return "–".join(map(_short, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Cell:
    """One contender on one problem at one horizon.

    Attributes:
        problem: Row of the grid.
        stretch: Column of the grid: the horizon as a multiple of the problem's own.
        steps: The horizon.
        contender: Who.
        chosen: How its setting was chosen; empty if there was nothing to choose.
        finals: The last step's loss of each episode, or its held-out loss, inf where it is not finite, (episodes,).
        diverged: Share of the episodes that diverged; see ``DIVERGED``.
        metrics: The task's further scores there, means over episodes.
        criterion: Which loss this is, "final" or "held_out".
    """

    problem: str
    stretch: float
    steps: int
    contender: str
    chosen: str
    finals: np.ndarray[Any, Any]
    diverged: float
    metrics: dict[str, float]
    criterion: str = "final"

    @property
    def where(self) -> str:
        """Which loss this is, in words."""
        return {"final": "at the last step", "held_out": "over hidden steps"}[self.criterion]

    @cached_property
    def mean(self) -> Interval:
        """Mean of the last losses over episodes."""
        return _interval(self.finals, np.mean)

    @cached_property
    def median(self) -> Interval:
        """Median of the last losses over episodes."""
        return _interval(self.finals, np.median)

    def row(self) -> dict[str, Any]:
        """Return the cell as a row of grid.csv."""
        return {
            "problem": self.problem,
            "stretch": float(self.stretch),
            "steps": self.steps,
            "contender": self.contender,
            "chosen": self.chosen,
            "episodes": len(self.finals),
            **{f"mean{end}": value for end, value in zip(("", "_low", "_high"), self.mean, strict=True)},
            **{f"median{end}": value for end, value in zip(("", "_low", "_high"), self.median, strict=True)},
            "diverged": self.diverged,
            **self.metrics,
        }


def cell_of(problem: str, stretch: float, contender: str, chosen: str, scores: Sequence[Scores]) -> Cell:
    """Return the cell of some scores, one an evaluation seed, each (T, E).

    Where a task hides targets, the loss over the hidden steps stands for that of the last step throughout, and the
    mean first loss for an episode's own, which is that of one sample.
    """
    joined = side_by_side(scores)
    losses = joined.losses.double()
    last = losses[-1] if joined.shown is None else joined.held_out.double()
    first = losses[0] if joined.shown is None else losses[0].mean()
    ends = {
        name: values[-1] if joined.shown is None else joined.over_hidden(values)
        for name, values in joined.metrics.items()
    }
    finals = torch.where(last.isfinite(), last, math.inf)
    metrics = {name: values.mean().item() for name, values in ends.items()}
    diverged = 1.0 - (finals <= DIVERGED * first).double().mean().item()
    criterion = "final" if joined.shown is None else "held_out"
    return Cell(problem, stretch, len(losses), contender, chosen, finals.cpu().numpy(), diverged, metrics, criterion)


def cut(scores: Scores, steps: int) -> Scores:
    """Return the first steps of longer scores: what a learner does at step t does not depend on what comes later."""
    shown = None if scores.shown is None else scores.shown[:steps]
    return Scores(scores.losses[:steps], {name: values[:steps] for name, values in scores.metrics.items()}, None, shown)


def _interval(values: np.ndarray[Any, Any], statistic: Statistic) -> Interval:
    if not np.isfinite(values).all():  # there is no mean to resample, and the median's interval might not end
        return Interval(float(statistic(values)), math.nan, math.nan)
    return bootstrap_interval(values.tolist(), statistic)


@dataclass(frozen=True)
class Contest:
    """A learner beside the references on one problem at one horizon.

    Attributes:
        own: The learner's cell.
        references: Theirs.
    """

    own: Cell
    references: Sequence[Cell]

    def best(self, statistic: str = "mean") -> Cell:
        """Return the best reference by "mean" or "median"."""
        return min(self.references, key=lambda cell: getattr(cell, statistic).value)

    def shown(self, statistic: str = "mean") -> float:
        """Return the learner's loss as a multiple of the best reference's, or alone where there is none.

        NaN where both are zero or both infinite.
        """
        own: float = getattr(self.own, statistic).value
        if not self.references:
            return own
        best: float = getattr(self.best(statistic), statistic).value
        if own == best:
            return 1.0 if 0.0 < own < math.inf else math.nan
        return own / best if best else math.inf

    def difference(self) -> Interval:
        """Return the learner's mean loss less the best reference's, on the same episodes; NaN if one is not finite."""
        own, best = self.own.finals, self.best().finals
        if not (np.isfinite(own).all() and np.isfinite(best).all()):
            return Interval(math.nan, math.nan, math.nan)
        return paired_bootstrap(own.tolist(), best.tolist())
