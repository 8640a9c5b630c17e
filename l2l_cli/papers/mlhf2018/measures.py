"""What is measured of a row: every contender that it stands for, on every problem, tuned on each where it is tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from l2l_cli.config.build import changed
from l2l_cli.evaluation.tune import Tuning
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.papers import losses
from l2l_cli.papers.losses import Losses
from l2l_cli.papers.mlhf2018.names import AT_ONE, AT_RATIO, TUNED, variant
from l2l_cli.papers.mlhf2018.track import follow, track_rows
from l2l_cli.papers.shared import problems_of, tuning_rows
from l2l_cli.results.frame import Metric
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.loading import Trained
from l2l_cli.runs.tuning import tunable, tuned
from l2l_cli.tasks.base import Task

ABLATION = "ablation"
"""The problem on which every system is also solved for long."""

COST = "run"
"""Contender of what a run cost."""


class Entry(NamedTuple):
    """A contender on a problem, ready to be followed for so many steps; what tuned it, if anything did."""

    contender: str
    problem: str
    learner: Learner[Any]
    steps: int
    tuning: Tuning | None


def measure_rows(row: str, trained: Trained) -> Iterator[Metric]:
    """Yield everything that is measured of a row.

    Every contender and every seed of it meets the same test episodes, so comparisons are paired over them.
    """
    settings = trained.settings
    plan = settings.evaluation
    for entry in entries(row, trained):
        yield from tuning_rows(entry.contender, settings.seed, entry.problem, entry.tuning)
        track = follow(entry.learner, plan.episodes, entry.steps, plan.seeds[0], entry.problem == ABLATION)
        yield from track_rows(entry.contender, settings.seed, entry.problem, track)


def entries(row: str, trained: Trained) -> Iterator[Entry]:
    """Yield a row's contenders on every problem.

    A hand-made rule is tuned on each; a meta-trained MLHF goes at several learning rates, one of them tuned likewise.
    """
    settings = trained.settings
    for problem, task in problems_of(settings).items():
        steps = min(settings.evaluation.steps or task.horizon, task.horizon)
        if isinstance(trained.learner, Descent) and isinstance(trained.learner.rule, MLHF):
            yield from _at_rates(row, trained, problem, task, steps)
        elif trained.learner.is_meta_trained:
            yield Entry(row, problem, trained.learner.on(task), steps, None)
        else:
            found = tuned(settings, task, steps, trained.tell)
            yield Entry(row, problem, found.learner, steps, found.tuning)


def _at_rates(row: str, trained: Trained, problem: str, task: Task, steps: int) -> Iterator[Entry]:
    """Yield one meta-trained MLHF at the learning rate of its training, and if it is tuned so and at the ratio."""
    settings, ratio = trained.settings, task.spec.examples / trained.task.spec.examples
    yield Entry(variant(row, AT_ONE), problem, trained.learner.on(task), steps, None)
    points = tunable(settings)
    if points == [{}]:
        return
    if len(points) == 1:  # asked for in place of the others, not tuned
        rate = float(points[0]["learner.rule.lr"])
        yield Entry(variant(row, f"lr {rate:g}"), problem, _at_rate(trained, task, rate), steps, None)
        return
    if ratio != 1:
        yield Entry(variant(row, AT_RATIO), problem, _at_rate(trained, task, ratio), steps, None)
    found = tuned(settings, task, steps, trained.tell, trained.learner)
    yield Entry(variant(row, TUNED), problem, found.learner, steps, found.tuning)


def _at_rate(trained: Trained, task: Task, rate: float) -> Learner[Any]:
    node = changed(trained.settings.learner, {"rule.lr": rate}, "learner")
    learner = build_learner(trained.settings, task, node=node)
    learner.load_state_dict(trained.learner.state_dict())
    return learner


def contenders_of(rows: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the measurements by contender, each with its run's costs; a row that was not run stands for itself."""
    found: dict[str, pd.DataFrame] = {}
    for row, frame in rows.items():
        if not len(frame):
            found[row] = frame
            continue
        costs = frame[frame.contender == COST]
        for name in dict.fromkeys(frame.contender[frame.contender != COST]):
            found[name] = pd.concat([frame[frame.contender == name], costs])
    return found


def losses_of(contenders: Mapping[str, pd.DataFrame]) -> Losses:
    """Read each contender's mean losses over a tenth of the steps, by the step at which it ends."""
    return losses.losses_of(contenders, int)


def table_of(contenders: Mapping[str, pd.DataFrame], metric: str, problem: str) -> pd.DataFrame:
    """Return one metric's means over episodes on a problem: columns contender, seed, updates and value."""
    parts = [
        frame[(frame.metric == metric) & (frame.split == problem) & (frame.episode == "mean")]
        for frame in contenders.values()
        if len(frame)
    ]
    columns = ["contender", "seed", "updates", "value"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts).rename(columns={"step": "updates"})[columns]


def last_of(contenders: Mapping[str, pd.DataFrame], metric: str, problem: str) -> dict[str, float]:
    """Return one metric's last value on a problem by contender, the mean over seeds."""
    table = table_of(contenders, metric, problem)
    last = table[table.updates == table.groupby("contender").updates.transform("max")] if len(table) else table
    return {str(name): float(part.value.mean()) for name, part in last.groupby("contender", sort=False)}
