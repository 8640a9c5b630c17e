"""The cost of a training step with each of several learners, measured side by side."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Phase
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.torch_optim import TorchOptim
from l2l_cli.optimizers.torch_classes import Fit
from l2l_cli.optimizers.torch_curved import CurvatureOptimizer
from l2l_cli.optimizers.torch_rule import RuleOptimizer
from l2l_cli.tasks.base import Task

ROUNDS = 7
"""Rounds of steps of each learner; learners take turns, so that other load on the machine affects all of them."""

SECONDS = 0.04
"""About how long a round of one learner takes."""

WARM = 3
"""Steps before the first that counts, in which kernels are compiled and buffers allocated."""

BATCHES = 16
"""Number of batches that are drawn; they are reused in turn."""

PLAIN = "a plain PyTorch training loop of one network, with each rule as a torch optimizer"
OURS = "a single episode, since not every contender is a torch optimizer"

Step = Callable[[], None]
"""Function that performs one training step."""


class StepSeconds(NamedTuple):
    """Seconds per step by learner.

    Attributes:
        seconds: Median over rounds, by the learner's name.
        loop: Description of what was measured.
        clock: Description of the kind of seconds.
    """

    seconds: dict[str, float]
    loop: str
    clock: str

    @property
    def is_cpu(self) -> bool:
        """Whether they are CPU-seconds."""
        return self.clock == "CPU-seconds"


def step_seconds(learners: Mapping[str, Learner[Any]], steps: int) -> StepSeconds:
    """Measure the seconds that a step of each learner takes on one network of their task.

    The loop is ``PLAIN`` if every learner is a torch optimizer, and otherwise ``OURS``.  On a CPU, CPU-seconds are
    measured, which exclude what other programs take; elsewhere, wall-clock seconds.

    Args:
        learners: Learners of one task, by name.
        steps: Number of steps of a training, for rules that plan for its end.
    """
    task, on_cpu = next(iter(learners.values())).task, torch.get_default_device().type == "cpu"
    episode = task.sample(1, 0, Phase.TUNE)
    batches = [episode.batch(step) for step in range(min(BATCHES, steps))]

    def now() -> float:
        if not on_cpu:
            torch.accelerator.synchronize()
        return time.process_time() if on_cpu else time.perf_counter()

    def begun(make: Callable[[Learner[Any], Sequence[Batch], int], Step]) -> tuple[dict[str, Step], dict[str, int]]:
        loops = {name: make(one, batches, steps) for name, one in learners.items()}
        return loops, {name: _many(step, now) for name, step in loops.items()}

    is_plain = all(isinstance(one, Descent | TorchOptim) for one in learners.values())
    try:
        loops, counts = begun(_plain if is_plain else _ours)
    except UsageError:  # a torch optimizer rejects this network
        is_plain = False
        loops, counts = begun(_ours)
    rounds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, step in loops.items():
            began = now()
            for _ in range(counts[name]):
                step()
            rounds[name].append((now() - began) / counts[name])
    found = {name: statistics.median(values) for name, values in rounds.items()}
    return StepSeconds(found, PLAIN if is_plain else OURS, "CPU-seconds" if on_cpu else "wall-clock seconds")


def _many(step: Step, now: Callable[[], float]) -> int:
    """Return the number of steps in a round, after some warm-up steps."""
    for _ in range(WARM):
        step()
    began = now()
    step()
    return max(1, min(1000, round(SECONDS / max(now() - began, 1e-6))))


def _plain(learner: Learner[Any], batches: Sequence[Batch], steps: int) -> Step:
    """Return the step of a plain loop: forward, backward, and the optimizer's own work."""
    task, turn = learner.task, cycle(batches)
    network = _network(task)

    def outputs_and_loss(batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = network(batch.inputs[0])
        return outputs, task.loss(outputs.unsqueeze(0), batch.targets)[0]

    if isinstance(learner, Descent):
        rule = copy.deepcopy(learner.rule).requires_grad_(False)
        if not rule.takes_gradients:
            curved = CurvatureOptimizer(network, rule, None, steps)
            return lambda: _of_curvature(curved, partial(outputs_and_loss, next(turn)))
        own = RuleOptimizer(network.parameters(), rule, None, steps, compiled=learner.paths.compiled)
        return lambda: _of_gradients(network, outputs_and_loss(next(turn))[1], lambda loss: own.step(loss=loss))
    assert isinstance(learner, TorchOptim)
    optimizers = learner.optimizers([one for one in network.parameters() if one.requires_grad])
    fit = Fit(dict(network.named_parameters()), optimizers)
    fit.switch("train")
    return lambda: _of_gradients(network, outputs_and_loss(next(turn))[1], lambda loss: fit.step(lambda: loss))


def _of_gradients(network: nn.Module, loss: Tensor, move: Callable[[Tensor], object]) -> None:
    network.zero_grad()
    torch.autograd.backward(loss)
    move(loss)


def _of_curvature(optimizer: CurvatureOptimizer, closure: Callable[[], tuple[Tensor, Tensor]]) -> None:
    optimizer.step(closure)


def _network(task: Task) -> nn.Module:
    """Return a network of the task's model, with initial values as an episode would draw them."""
    network = copy.deepcopy(task.model.module)
    values = task.model.init(1, generator(0))
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name in values:
                value.copy_(values[name][0])
    return network


def _ours(learner: Learner[Any], batches: Sequence[Batch], steps: int) -> Step:
    """Return the step of a single episode."""
    told, turn = learner.told(steps), cycle(batches)
    state = told.init(1, generator(0))

    @torch.no_grad()
    def step() -> None:
        nonlocal state
        state, _ = told.step(state, next(turn))

    return step
