"""The measurements of a contender: each data set's losses on every problem, and the trajectory of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from l2l_cli.config.build import build, changed
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import named
from l2l_cli.evaluation.contest import Entry, scored
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.bosc2016.contents import CONTENTS, HEADLINE
from l2l_cli.results.metrics import Metric
from l2l_cli.runs.building import build_learner
from l2l_cli.tasks.base import Task

HELD_OUT, ACCURACY, LATE = "held_out", "held_out_accuracy", "late"
"""Metrics: means over a data set's hidden steps, and mean loss over its second half if no target is shown there."""

SHOWN_FROM, SETS = 50, 200
"""Number of data sets of which the figure shows the median one; largest number over which moves are averaged."""

FROZEN = "frozen after the separator"
"""Variant with the same φ in which the weights do not move at hidden targets."""


class Bosc2016(Paper):
    """Tom Bosc's network in another network's memory cells.

    Rows may also be measured for "moves" and for the "figure".

    Deviation: numbers that the paper typesets as mathematics are lost in its readable copies: the dimension, the sizes
    of the learner's layers, the noise, K and T of meta-training, the learning rate, the grid of C and the number of
    folds.  All are ours, so a published loss says how hard the author's data sets were for a method, not what it comes
    to on ours.
    """

    title = "Learning to Learn Neural Networks: a reproduction"
    citation = "Tom Bosc: Learning to Learn Neural Networks.  2016, arXiv 1610.06072."
    contents = CONTENTS
    headline = HEADLINE

    def measure(self, subject: Subject) -> Iterator[Metric]:
        """Yield the losses on every problem, and what else the row asks for."""
        for entry in subject.entries():
            yield from loss_rows(subject, entry)
        for name, extra in (("moves", move_rows), ("figure", figure_rows)):
            if name in subject.row.also:
                yield from extra(subject)


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
    """Return θ_t of test data sets, from θ₀ on, (T + 1, E, P)."""
    episode = learner.task.sample(sets, seed, Phase.TEST)
    state = learner.init(sets, generator(seed, "moves"))
    thetas = [learner.start.expand(sets, -1)]
    for step in range(learner.task.horizon):
        state, _ = learner.step(state, episode.batch(step))
        thetas.append(state.params)
    return torch.stack(thetas)


@torch.no_grad()
def figure_rows(subject: Subject) -> Iterator[Metric]:
    """Yield θ_t of one data set, and the loss of θ_t on the whole test part, for that data set and on average."""
    learner, task, seed = subject.learner, subject.task, subject.settings.evaluation.seeds[0]
    if not isinstance(learner, WeightsInCell):
        return
    row = partial(Metric, subject.name, subject.seed)
    thetas = trajectory(learner, SHOWN_FROM, seed)
    losses = test_losses(task, thetas, seed)
    median = int(losses[-1].argsort()[SHOWN_FROM // 2])
    for step in range(len(thetas)):
        for layer, span in matrices(task).items():
            for index, value in enumerate(thetas[step, median, span].tolist()):
                yield row("theta", value, step, index, part=layer)
        yield row("test_loss", losses[step].mean().item(), step, statistic="mean")
        yield row("test_loss", losses[step, median].item(), step, statistic="of the data set shown")


def test_losses(task: Task, thetas: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the mean loss of θ_t over the second half of each data set, (T + 1, E)."""
    episode, half = task.sample(SHOWN_FROM, seed, Phase.TEST), task.horizon // 2
    batches = episode.batches(half, task.horizon)
    inputs, targets = (values.squeeze(2).transpose(0, 1) for values in batches[:2])
    models = [named(theta, task.model.shapes) for theta in thetas]
    return torch.stack([task.loss(task.model(params, inputs), targets) for params in models])


@torch.no_grad()
def move_rows(subject: Subject) -> Iterator[Metric]:
    """Yield the updates' size at each step, how far each weight moved, and the scores with frozen weights."""
    learner, settings = subject.learner, subject.settings
    if not isinstance(learner, WeightsInCell):
        return
    row = partial(Metric, subject.name, subject.seed)
    sets = min(SETS, settings.evaluation.episodes)
    task: Task = build(changed(settings.task, {"share": [0.5, 0.5]}, "task"), "task")
    thetas = trajectory(learner.on(task), sets, settings.evaluation.seeds[0])
    half = task.horizon // 2
    for layer, span in matrices(task).items():
        theta = thetas[:, :, span]
        for step, value in enumerate(theta.diff(dim=0).abs().mean((1, 2)).tolist(), start=1):
            yield row("update", value, step, statistic="mean", part=layer)
        for index, value in enumerate((theta[half] - theta[0]).square().mean(0).sqrt().tolist()):
            yield row("moved", value, index, statistic="root mean square", part=layer)
        sizes = {"start": theta[0, 0], "learned": theta[half] - theta[0], "drifted": theta[-1] - theta[half]}
        for name, values in sizes.items():
            yield row(name, values.square().mean().sqrt().item(), statistic="root mean square", part=layer)
    node = changed(settings.learner, {"after_separator": "frozen"}, "learner")
    frozen = build_learner(settings, subject.task, node=node)
    frozen.load_state_dict(learner.state_dict())
    for entry in subject.entries():
        yield from subject.scores(
            entry._replace(learner=frozen, identity={**entry.identity, "learner": node}), variant=FROZEN
        )
