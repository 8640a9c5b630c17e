"""What is measured of a learner: errors on fresh sequences, on functions in a row, and where functions change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.papers.base import Subject
from l2l_cli.results.metrics import Metric
from l2l_cli.runs.building import build_learner
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.functions import FunctionTask
from l2l_cli.tasks.switching import Switching

BAYES = "bayes"
"""Name of the learner that knows the prior and applies Bayes' rule: the limit."""

SPLITS = ("train", "test")
"""Sequences that MSEt is measured on."""

FUNCTIONS, EXAMPLES, SEQUENCES = 5, 256, 200
"""Functions in a row, as in Figure 2, examples of each, and number of sequences."""

RESET, NO_RESET = "reset", "no reset"
"""Variants: the state is reset at each new function, which is the paper's protocol, or carried over."""

SWITCHING, EVERY, STEPS, OLDEST = "switching", 64, 1024, 64
"""Problem in which functions change; mean number of examples between changes, examples, and largest age shown."""


def error_rows(name: str, learner: Learner[Any], subject: Subject) -> Iterator[Metric]:
    """Yield MSEt on training and test sequences, and the mean error at each step of the latter."""
    steps, episodes, seed = subject.task.horizon, subject.settings.evaluation.episodes, subject.seed
    test = score(learner, episodes, steps, seed, Phase.TEST).losses
    train = _on_the_training_set(learner, steps)
    if train is None:
        train = score(learner, episodes, steps, seed, Phase.META_TRAIN).losses
    for split, losses in zip(SPLITS, (train, test), strict=True):
        yield Metric(name, seed, "mse", losses.mean().item(), statistic="mean", split=split)
    for step, value in enumerate(test.mean(1).tolist(), start=1):
        yield Metric(name, seed, "error", value, step, statistic="mean")


@torch.no_grad()
def _on_the_training_set(learner: Learner[Any], steps: int) -> Tensor | None:
    """Return the losses (T, E) on the task's fixed sequences; None if it has none."""
    episode = learner.task.training_set()
    if episode is None:
        return None
    batches = episode.batches(0, steps)
    _, outputs = learner.unroll(learner.init(batches.inputs.shape[1], generator(0)), batches)
    return step_losses(learner.task, outputs, batches.targets)


def sequence_rows(name: str, learner: Learner[Any], task: Task, seed: int) -> Iterator[Metric]:
    """Yield |y − o| over functions in a row, of one sequence and on average, with resets and without."""
    # A Bayes learner without a reset would meet data that no function explains.
    for variant in (RESET,) if name == BAYES else (RESET, NO_RESET):
        errors = _in_a_row(learner, task, derive(seed, "figure2"), reset=variant == RESET)
        row = Metric(name, seed, "absolute_error", 0.0, variant=variant)
        for step, (first, mean) in enumerate(zip(errors[:, 0].tolist(), errors.mean(1).tolist(), strict=True), start=1):
            yield row._replace(value=first, step=step, episode=0)
            yield row._replace(value=mean, step=step, statistic="mean")


@torch.no_grad()
def _in_a_row(learner: Learner[Any], task: Task, seed: int, reset: bool) -> Tensor:
    """Return |y − o| of ``FUNCTIONS`` functions, one after the other, (FUNCTIONS · examples, SEQUENCES)."""
    state = learner.init(SEQUENCES, generator(seed))
    errors = []
    for index in range(FUNCTIONS):
        batches = task.sample(SEQUENCES, derive(seed, index), Phase.TEST).batches(0, min(EXAMPLES, task.horizon))
        if reset:
            state = learner.init(SEQUENCES, generator(seed))
        state, outputs = learner.unroll(state, batches)
        errors.append((outputs - batches.targets).abs().flatten(1))
    return torch.cat(errors)


def drift_rows(subject: Subject, family: FunctionTask) -> Iterator[Metric]:
    """Yield the error where functions change unannounced, in all and by the age of the present function."""
    task, seed, episodes = Switching(family, EVERY, STEPS), derive(subject.seed, "drift"), 500
    age = task.sample(episodes, derive(seed, "chunk", 0), Phase.TEST).age(0, STEPS)
    learner = build_learner(subject.settings, task)
    learner.load_state_dict(subject.learner.state_dict())
    for name, one in ((subject.name, learner), (BAYES, Bayes(task))):
        losses = score(one, episodes, STEPS, seed, Phase.TEST, chunk=episodes).losses
        row = Metric(name, subject.seed, "error", 0.0, statistic="mean", problem=SWITCHING)
        yield row._replace(metric="mse", value=losses.mean().item())
        for step in range(1, OLDEST + 1):
            yield row._replace(value=losses[age == step].mean().item(), step=step)
