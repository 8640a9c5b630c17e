"""What is measured of a contender: each data set's losses, on every problem of an artefact; and how they compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2l_cli.config.schema import Evaluation
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import Scores, score, side_by_side
from l2l_cli.learners.base import Learner
from l2l_cli.papers.shared import BASE, problems_of, tuning_rows
from l2l_cli.results.frame import Interval, Metric, paired_bootstrap
from l2l_cli.runs.loading import Trained
from l2l_cli.runs.tuning import tuned

HELD_OUT, ACCURACY, LATE = "held_out", "held_out_accuracy", "late"
"""Means over a data set's hidden steps; and over its second half, where the training part ends before."""

DRAWS = 4999
"""Of a bootstrap; the smallest p is one over one more."""


def loss_rows(row: str, trained: Trained) -> Iterator[Metric]:
    """Yield each data set's losses on every problem; a hand-made contender is tuned on each.

    Every contender and every seed of it meets the same test data sets, so comparisons are paired.
    """
    settings, seed = trained.settings, trained.settings.seed
    for problem, task in problems_of(settings).items():
        if trained.learner.is_meta_trained:
            learner = trained.learner.on(task)
        else:
            found = tuned(settings, task, task.horizon, trained.tell)
            learner = found.learner
            yield from tuning_rows(row, seed, problem, found.tuning)
        yield from score_rows(row, seed, problem, scores_of(learner, settings.evaluation))


def scores_of(learner: Learner[Any], plan: Evaluation) -> Scores:
    """Score on the data sets of all evaluation seeds."""
    steps = learner.task.horizon
    return side_by_side([score(learner, plan.episodes, steps, seed, Phase.TEST, plan.chunk) for seed in plan.seeds])


def score_rows(row: str, seed: int, problem: str, scores: Scores) -> Iterator[Metric]:
    """Yield a data set's loss and accuracy over hidden steps, and the loss over its second half if that is hidden."""
    steps = len(scores.losses)
    found = {HELD_OUT: scores.held_out, ACCURACY: scores.over_hidden(scores.metrics["accuracy"])}
    if scores.shown is not None and not scores.shown[steps // 2 :].any():
        found[LATE] = scores.losses[steps // 2 :].mean(0)
    for metric, values in found.items():
        for episode, value in enumerate(values.tolist()):
            yield Metric(row, seed, str(episode), steps, problem, metric, value)


@dataclass(frozen=True)
class Losses:
    """Every contender's losses, read back.

    Attributes:
        at: Arrays (seeds, data sets) by contender and problem.
        contenders: Those that were run, in the order of the experiment.
        problems: In the order of the experiment.
    """

    at: Mapping[tuple[str, str], np.ndarray[Any, Any]]
    contenders: list[str]
    problems: list[str]

    def has(self, contender: str, problem: str = BASE) -> bool:
        """Say whether a contender was scored there."""
        return (contender, problem) in self.at

    def seeds(self, contender: str, problem: str = BASE) -> list[float]:
        """Return the mean over data sets of each seed; nothing if it was not run."""
        return self.at[contender, problem].mean(1).tolist() if self.has(contender, problem) else []

    def spreads(self, contender: str, problem: str = BASE) -> list[float]:
        """Return the standard deviation over data sets of each seed; nothing if it was not run."""
        return self.at[contender, problem].std(1).tolist() if self.has(contender, problem) else []

    def mean(self, contender: str, problem: str = BASE) -> float:
        """Return the mean over seeds and data sets."""
        return float(self.at[contender, problem].mean())

    def sets(self, contender: str, problem: str = BASE) -> np.ndarray[Any, Any]:
        """Return each data set's loss, the mean over seeds: (data sets,)."""
        values: np.ndarray[Any, Any] = self.at[contender, problem].mean(0)
        return values

    def duel(self, first: str, second: str, problem: str = BASE) -> Duel:
        """Return by how much the first's mean differs from the second's, paired over data sets."""
        own, other = self.sets(first, problem), self.sets(second, problem)
        interval = paired_bootstrap(own.tolist(), other.tolist())
        # The seeds' mean varies less than one of them: the p of the least favourable seed is what counts.
        p = max(paired_p(one - other) for one in self.at[first, problem])
        return Duel(interval, p, float((own < other).mean()))


@dataclass(frozen=True)
class Duel:
    """A difference of means, paired over data sets: its 95 % interval, p (two-sided), and the share of sets won."""

    interval: Interval
    p: float
    won: float

    def __str__(self) -> str:
        """Return the difference, its interval and p for a report."""
        found = self.interval
        return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}], {p_text(self.p)}"


def p_text(p: float) -> str:
    """Return p for a report, as a bound where the bootstrap can say no more."""
    return f"p < {1.5 / (DRAWS + 1):.1g}" if p <= 1.0 / (DRAWS + 1) else f"p = {p:.2g}"


def paired_p(differences: np.ndarray[Any, Any], seed: int = 0) -> float:
    """Return the two-sided bootstrap p of a mean difference being 0, (n,) differences.

    The differences are centred and resampled; p is the share of resampled means as far from 0 as the mean itself.
    Source: Efron and Tibshirani 1993, §16.4.
    """
    count, mean = len(differences), differences.mean()
    index = np.random.default_rng(seed).integers(count, size=(DRAWS, count), dtype=np.int32)
    resampled = (differences - mean)[index].mean(1)
    return float((1 + (np.abs(resampled) >= abs(mean)).sum()) / (DRAWS + 1))


def losses_of(rows: Mapping[str, pd.DataFrame], metric: str = HELD_OUT) -> Losses:
    """Read one metric of all rows that were run."""
    at: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
    problems: dict[str, None] = {}
    for row, frame in rows.items():
        part = frame[frame.metric == metric] if len(frame) else frame
        for problem, group in part.groupby("split", sort=False) if len(part) else ():
            problems.setdefault(str(problem))
            table = group.assign(episode=group.episode.astype(int)).pivot_table(
                index="seed", columns="episode", values="value", dropna=False
            )
            at[row, str(problem)] = table.to_numpy(float)
    return Losses(at, [row for row in rows if any(name == row for name, _ in at)], list(problems))
