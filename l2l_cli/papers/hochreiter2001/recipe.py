"""The measurements of a learner: errors on fresh and on changing functions, and the volume of its state space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score, score_together
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.hochreiter2001.contents import CONTENTS, HEADLINE
from l2l_cli.results.metrics import Metric
from l2l_cli.runs.building import build_learner
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.functions import FunctionTask
from l2l_cli.tasks.switching import Switching

BAYES = "bayes"
"""Name of the learner that knows the prior and applies Bayes' rule: the limit."""

SPLITS = ("train", "test")
"""Sequences on which MSEt is measured."""

FUNCTIONS, EXAMPLES, SEQUENCES = 5, 256, 200
"""Numbers of consecutive functions, as in Figure 2, of examples of each, and of sequences."""

RESET, NO_RESET = "reset", "no reset"
"""Variants: the state is reset at each new function, which is the paper's protocol, or carried over."""

SWITCHING, EVERY, STEPS, OLDEST = "switching", 64, 1024, 64
"""Problem in which functions change; mean number of examples between changes; their number; largest age shown."""

VOLUME_SEQUENCES, SMALLEST = 16, -30.0
"""Number of sequences over which log|det| is averaged; log|det| per unit at which a map counts as singular."""

BEFORE, AFTER = "before", "after"
"""Variants: the network as it was initialised, and after meta-training."""


class Hochreiter2001(Paper):
    """Tables 1 and 2, Figure 2, and what goes beyond them.

    Rows that are ours are trained by the modern recipe, the others to the letter.  Both are scored on the same test
    sequences, so the limit is measured only for the modern ones.
    """

    title = "Learning to Learn Using Gradient Descent: a reproduction"
    citation = (
        "Sepp Hochreiter, A. Steven Younger and Peter R. Conwell: Learning to Learn Using Gradient Descent.  ICANN "
        "2001, LNCS 2130, pages 87–94."
    )
    contents = CONTENTS
    headline = HEADLINE

    def measure(self, subject: Subject) -> Iterator[Metric]:
        """Yield MSEt and errors by step, and what else the row asks for."""
        task, also = subject.task, subject.row.also
        learners = {subject.name: subject.learner}
        if subject.row.ours and isinstance(task, FunctionTask):
            learners[BAYES] = Bayes(task)
        for name, learner in learners.items():
            yield from error_rows(name, learner, subject)
            if "sequences" in also:
                sequences = sequence_rows(name, learner, task, subject.test_seed)
                yield from (row._replace(seed=subject.seed) for row in sequences)
        if "volume" in also:
            yield from volume_rows(subject)
        family = task.family if isinstance(task, Switching) else task
        if "drift" in also and isinstance(family, FunctionTask):
            yield from drift_rows(subject, family)


def error_rows(name: str, learner: Learner[Any], subject: Subject) -> Iterator[Metric]:
    """Yield MSEt on training and test sequences, and the mean error at each step of the latter."""
    steps, episodes, seed = subject.task.horizon, subject.settings.evaluation.episodes, subject.test_seed

    def scored(phase: Phase) -> Tensor:
        def tell(share: float, note: str) -> None:
            subject.scoring(share / 4, f"{name}, {note}")  # learner and limit on two sets of sequences

        (scores,) = score_together([learner], episodes, steps, seed, phase, tell=tell)
        return scores.losses

    test = scored(Phase.TEST)
    train = _on_the_training_set(learner, steps)
    if train is None:
        train = scored(Phase.META_TRAIN)
    for split, losses in zip(SPLITS, (train, test), strict=True):
        yield Metric(name, subject.seed, "mse", losses.mean().item(), statistic="mean", split=split)
    for step, value in enumerate(test.mean(1).tolist(), start=1):
        yield Metric(name, subject.seed, "error", value, step, statistic="mean")


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
    """Yield |y − o| over consecutive functions, for one sequence and on average, with and without resets."""
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
    """Yield the error where functions change unannounced, overall and by the age of the present function."""
    task, seed, episodes = Switching(family, EVERY, STEPS), derive(subject.test_seed, "drift"), 500
    age = task.sample(episodes, derive(seed, "chunk", 0), Phase.TEST).age(0, STEPS)
    learner = build_learner(subject.settings, task)
    learner.load_state_dict(subject.learner.state_dict())
    for name, one in ((subject.name, learner), (BAYES, Bayes(task))):
        losses = score(one, episodes, STEPS, seed, Phase.TEST, chunk=episodes).losses
        row = Metric(name, subject.seed, "error", 0.0, statistic="mean", problem=SWITCHING)
        yield row._replace(metric="mse", value=losses.mean().item())
        for step in range(1, OLDEST + 1):
            yield row._replace(value=losses[age == step].mean().item(), step=step)


def volume_rows(subject: Subject) -> Iterator[Metric]:
    """Yield log|det ∂s_{l+1}/∂s_l| per unit of state along sequences, before and after meta-training."""
    before, after = (build_learner(subject.settings, subject.task) for _ in range(2))
    after.load_state_dict(subject.learner.state_dict())
    for variant, learner in ((BEFORE, before), (AFTER, after)):
        if isinstance(learner, LSTM1997):  # truncation belongs to the learning rule, not to the map
            learner = learner.untruncated()
        for part, cells in (("", False), ("cells", True)):
            values = log_volume(learner, derive(subject.test_seed, "volume"), cells)
            row = Metric(subject.name, subject.seed, "log_volume", 0.0, statistic="mean", variant=variant, part=part)
            for step, value in enumerate([] if values is None else values.mean(1).tolist(), start=2):
                yield row._replace(value=value, step=step)


def log_volume(learner: Learner[Any], seed: int, cells: bool = False, steps: int = 64) -> Tensor | None:
    """Return log|det ∂s_{l+1}/∂s_l| per unit for l = 1 … T − 1, (T − 1, E), of a state of activations (..., E, units).

    The previous target is not part of the state.  With ``cells``, the map is that between the states of memory cells
    alone, with all else fixed; the result is None for a network without any.
    """
    batches = learner.task.sample(VOLUME_SEQUENCES, seed, Phase.TEST).batches(0, steps)
    state = learner.init(VOLUME_SEQUENCES, generator(seed))
    names = [name for name in state._fields if name != "previous" and getattr(state, name).numel()]
    if cells:
        names = [name for name in names if name == "cell"]
    if not names:
        return None
    result = []
    for step in range(steps):
        parts = [getattr(state, name).detach().requires_grad_() for name in names]
        after, _ = learner.step(state._replace(**dict(zip(names, parts, strict=True))), batches.at(step))
        if step > 0:
            result.append(_log_det([getattr(after, name) for name in names], parts))
        state = type(after)(*(value.detach() for value in after))
    return torch.stack(result)


def _log_det(outputs: list[Tensor], inputs: list[Tensor]) -> Tensor:
    """Return log|det| per unit of the Jacobian of each sequence, (E,); sequences do not mix."""
    episodes = inputs[0].shape[-2]
    flat = torch.cat([value.movedim(-2, 0).reshape(episodes, -1) for value in outputs], 1)
    rows = []
    for unit in range(flat.shape[1]):
        grads = torch.autograd.grad(flat[:, unit].sum(), inputs, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([grad.movedim(-2, 0).reshape(episodes, -1) for grad in grads], 1))
    jacobian = torch.stack(rows, 1).double()
    size: Tensor = torch.linalg.slogdet(jacobian).logabsdet / flat.shape[1]
    return size.clamp(min=SMALLEST)
