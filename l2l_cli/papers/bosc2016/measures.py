"""What is measured of a contender: each data set's losses on every problem, and the way of its weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.contest import Entry, scored
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.base import Subject
from l2l_cli.results.metrics import Metric
from l2l_cli.tasks.base import Task

HELD_OUT, ACCURACY = "held_out", "held_out_accuracy"
"""Means over a data set's hidden steps."""

LATE = "late"
"""Mean loss over a data set's second half, where the training part ends before."""


def loss_rows(subject: Subject, entry: Entry) -> Iterator[Metric]:
    """Yield a data set's loss and accuracy over hidden steps, and the loss over its second half if that is hidden."""
    yield from subject.scores(entry)
    scores, steps = scored(entry, subject.store).joined, entry.problem.steps
    if scores.visible is not None and not scores.visible[steps // 2 :].any():
        for episode, value in enumerate(scores.losses[steps // 2 :].mean(0).tolist()):
            yield Metric(subject.name, subject.seed, LATE, value, steps, episode, problem=entry.problem.name)


def matrices(task: Task) -> dict[str, slice]:
    """Return where each layer's weight matrix lies among the model's flattened parameters."""
    spans: dict[str, slice] = {}
    start = 0
    for name, shape in task.model.shapes.items():
        stop = start + int(np.prod(shape))
        if name.endswith("weight"):  # the parameter's name in torch, a matrix
            spans[f"layer {len(spans) + 1}"] = slice(start, stop)
        start = stop
    return spans


def trajectory(learner: WeightsInCell, sets: int, seed: int) -> Tensor:
    """Return θ_t of test data sets, from θ_0 on, (T + 1, E, P)."""
    episode = learner.task.sample(sets, seed, Phase.TEST)
    state = learner.init(sets, generator(seed, "moves"))
    thetas = [learner.start.expand(sets, -1)]
    for step in range(learner.task.horizon):
        state, _ = learner.step(state, episode.batch(step))
        thetas.append(state.params)
    return torch.stack(thetas)
