"""What is measured of a contender: its losses on every problem of an artefact, tuned on each if it is hand-made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from l2l_cli.config.schema import Evaluation, Settings
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.evaluation.score import Scores, score, side_by_side
from l2l_cli.evaluation.tune import Tuning
from l2l_cli.learners.base import Learner
from l2l_cli.papers import losses
from l2l_cli.papers.andrychowicz2016.published import MARKS, our_step, updates_at
from l2l_cli.papers.losses import Losses
from l2l_cli.papers.shared import problems_of, tuning_rows
from l2l_cli.results.frame import Metric
from l2l_cli.runs.loading import Trained
from l2l_cli.runs.tuning import tuned


class Entry(NamedTuple):
    """A contender on a problem, ready to be scored for so many steps; what tuned it, if it is hand-made."""

    problem: str
    learner: Learner[Any]
    steps: int
    tuning: Tuning | None
    plan: Evaluation


def entries(trained: Trained) -> Iterator[Entry]:
    """Yield a contender on every problem; a hand-made one is tuned on each for the loss at its end.

    Deviation: a problem longer than the others is tuned and scored on as many fewer episodes, two at least.
    """
    for problem, task in problems_of(trained.settings).items():
        steps = min(trained.settings.evaluation.steps or task.horizon, task.horizon)
        settings = _shortened(trained.settings, trained.task.horizon / task.horizon)
        if trained.learner.is_meta_trained:
            yield Entry(problem, trained.learner.on(task), steps, None, settings.evaluation)
        else:
            found = tuned(settings, task, steps, trained.tell)
            yield Entry(problem, found.learner, steps, found.tuning, settings.evaluation)


def _shortened(settings: Settings, share: float) -> Settings:
    """Return settings with a share of the episodes, if it is less than all."""

    def some(episodes: int) -> int:
        return min(episodes, max(2, round(episodes * share)))

    evaluation = replace(settings.evaluation, episodes=some(settings.evaluation.episodes))
    return replace(settings, evaluation=evaluation, tune=replace(settings.tune, episodes=some(settings.tune.episodes)))


def entry_rows(row: str, entry: Entry, settings: Settings) -> list[Metric]:
    """Score an entry, and say how it was tuned.

    Every contender and every seed of it meets the same test episodes, so comparisons are paired over episodes.
    """
    scores = _scores(entry.learner, entry.plan, entry.steps)
    tuning = tuning_rows(row, settings.seed, entry.problem, entry.tuning)
    return [*tuning, *_score_rows(row, settings.seed, entry.problem, scores)]


def _scores(learner: Learner[Any], plan: Evaluation, steps: int) -> Scores:
    """Score on the episodes of all evaluation seeds, side by side on the episodes' axis."""
    parts = [score(learner, plan.episodes, steps, seed, Phase.TEST, plan.chunk) for seed in plan.seeds]
    return side_by_side(parts)


def _score_rows(row: str, seed: int, problem: str, scores: Scores) -> Iterator[Metric]:
    """Yield statistics at each step, and each episode's loss at the marks and at the end."""
    yield from rows_of(scores, row, seed, problem)
    last = len(scores.losses)
    for step in sorted({our_step(mark) for mark in MARKS if our_step(mark) < last} | {last}):
        for episode, value in enumerate(scores.losses[step - 1].tolist()):
            yield Metric(row, seed, str(episode), step, problem, "loss", value)


def losses_of(rows: Mapping[str, pd.DataFrame]) -> Losses:
    """Read the losses of all rows that were run."""
    return losses.losses_of(rows, updates_at)


def restricted(rows: Mapping[str, pd.DataFrame], problems: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return all rows with their measurements on some problems, and what they cost."""
    costs = "meta_train"
    return {row: frame[frame.split.isin([*problems, costs])] if len(frame) else frame for row, frame in rows.items()}


def curves_of(rows: Mapping[str, pd.DataFrame], problem: str, statistic: str = "mean") -> pd.DataFrame:
    """Return the loss on a problem of all rows that were run: columns updates, value, contender and seed."""
    return losses.curves_of(rows, problem, updates_at, statistic)
