"""From scores to tidy rows: per-step statistics over episodes, and one summary per episode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from l2l_cli.evaluation.score import Scores
from l2l_cli.results.metrics import Metric

POINTS = 400
"""Largest number of steps of a curve that are written; a longer curve is thinned evenly in log(step)."""


def rows_of(
    scores: Scores, contender: str, seed: int, problem: str = "", split: str = "test", marks: Sequence[int] = ()
) -> Iterator[Metric]:
    """Yield mean, median and quartiles at each step, and each episode's mean and final loss.

    If a learner evaluates a batch more than once per step, each episode's extra evaluations follow.  If targets are
    hidden, so do each episode's means over the hidden steps: "held_out" for the loss, "held_out_<metric>" for a metric.

    Args:
        scores: Scores of one seed, or of several side by side.
        contender: Name of the contender.
        seed: Seed that identifies the rows.
        problem: Name of the problem.
        split: Phase of the episodes.
        marks: Steps at which every episode's loss is kept, counted from 1: step t is the answer given before the t-th
            batch is learned from.
    """
    row = partial(Metric, contender, seed, problem=problem, split=split)
    for metric, values in {"loss": scores.losses, **scores.metrics}.items():
        for step, statistic, value in _statistics(values):
            yield row(metric, value, step, statistic=statistic)
    steps = len(scores.losses)
    for metric, values in _summaries(scores):
        for episode, value in enumerate(values.tolist()):
            yield row(metric, value, steps, episode)
    for step in marks:
        for episode, value in enumerate(scores.losses[step - 1].tolist()):
            yield row("loss", value, step, episode)


def _summaries(scores: Scores) -> Iterator[tuple[str, Tensor]]:
    """Yield one number for each episode by metric, (E,)."""
    if scores.hides:
        yield "held_out", scores.held_out
        for name, values in scores.metrics.items():
            yield f"held_out_{name}", scores.over_hidden(values)
    # One episode at a time: a mean along an axis sums in an order that depends on the number of episodes.
    yield "mean_loss", torch.stack([column.mean() for column in scores.losses.unbind(1)])
    yield "final_loss", scores.losses[-1]
    if scores.extra_evaluations is not None:
        yield "extra_evaluations", scores.extra_evaluations


def _statistics(values: Tensor) -> Iterator[tuple[int, str, float]]:
    """Yield step, name and value of each statistic over episodes of (T, E)."""
    data = values.double().cpu().numpy()
    statistics = {"mean": data.mean(1), "median": np.median(data, 1)}
    statistics |= {name: np.quantile(data, share, 1) for name, share in (("q25", 0.25), ("q75", 0.75))}
    for step in steps_kept(len(data)):
        for name, curve in statistics.items():
            yield step, name, float(curve[step - 1])


def steps_kept(steps: int) -> list[int]:
    """Return at most ``POINTS`` steps from 1 to the last, all of them if they are few."""
    if steps <= POINTS:
        return list(range(1, steps + 1))
    return sorted(set(np.geomspace(1, steps, POINTS).round().astype(int).tolist()))
