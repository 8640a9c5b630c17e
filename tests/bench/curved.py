"""MLHF's step over SGD's step on the same batch, and over the arithmetic that its n + 1 Gauss-Newton products take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from l2l_cli.config.hardware import Hardware
from l2l_cli.core.random import generator, integers, normal
from l2l_cli.core.types import Batch, Phase, Spec, Split
from l2l_cli.learners.descent import Descent, DescentState
from l2l_cli.models.convnet import convnet, cuda_convnet_weights
from l2l_cli.models.mlp import mlp
from l2l_cli.models.model import Initializer, Model, gaussian
from l2l_cli.models.point import Point
from l2l_cli.optimizers.hessian_free import HessianFree
from l2l_cli.optimizers.mlhf import MLHF, spans_by_type
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.runs.building import prepare
from l2l_cli.tasks.base import Classification, Episode
from tests.bench.samples import Case, Measure, Sample, by_round

BENCH = "curved"
ITERATIONS = 4
EXAMPLES = 128
SGD, PUSH, PULL, FREE, LEARNED, NETWORKS = "SGD", "J·v", "Jᵀ·u", "Hessian-free", "MLHF", "MLHF's networks"
FLOOR = f"floor: SGD + {ITERATIONS + 1} · (J·v + Jᵀ·u)"
FEW = 3
"""Rounds of the network whose step takes more than a second."""


class Noise(Episode):
    """Noise in the place of pictures: what a step costs does not depend on what it shows."""

    def __init__(self, episodes: int, spec: Spec) -> None:
        rng = generator(0, "noise")
        shape = (episodes, spec.examples)
        labels = F.one_hot(integers(shape, spec.targets[0], rng), spec.targets[0])
        self._batch = Batch(normal((*shape, *spec.inputs), rng), labels.to(torch.get_default_dtype()))

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return the same noise at every step."""
        del step, split
        return self._batch


class Pictures(Classification):
    """A network on noise of the shape of pictures."""

    def __init__(self, network: nn.Module, initializer: Initializer, shape: Sequence[int], in_turn: bool) -> None:
        self.horizon = 1000
        self.model = Model(network, initializer, in_turn)
        self.spec = Spec(inputs=tuple(shape), targets=(10,), examples=EXAMPLES)

    def sample(self, episodes: int, seed: int, phase: Phase) -> Noise:
        """Draw the one episode that there is."""
        del seed, phase
        return Noise(episodes, self.spec)


def cuda_convnet(side: int, channels: Sequence[int], dense: Sequence[int]) -> Pictures:
    """Return the paper's convolutional network, or a smaller one of its kind."""
    network = convnet((3, side, side), channels, 5, dense, 10, normalised=False)
    return Pictures(network, cuda_convnet_weights(network), (3, side, side), in_turn=True)


TASKS: dict[str, Callable[[], Pictures]] = {
    "mlp": lambda: Pictures(mlp(784, [20], 10, "sigmoid"), gaussian(0.01), (784,), in_turn=False),
    "c16": lambda: cuda_convnet(16, [8, 16], [32]),
    "conv32": lambda: cuda_convnet(32, [8, 16], [32]),
    "cuda-convnet": lambda: cuda_convnet(32, [64, 64], [384, 192]),
}


class Steps:
    """What is timed, on one batch.

    Attributes:
        of: By contender, what to do once.
    """

    def __init__(self, task: Pictures) -> None:
        self._batch = task.sample(1, 0, Phase.TUNE).batch(0)
        self._rule = MLHF(1e-6, ITERATIONS)
        rules = {SGD: Sgd(1e-6), FREE: HessianFree(1e-6, iterations=ITERATIONS), LEARNED: self._rule}
        self._learners = {name: Descent(task, rule) for name, rule in rules.items()}
        self._states = {name: self._second(learner) for name, learner in self._learners.items()}
        params = self._states[SGD].params
        with torch.no_grad():
            point = Point(task.model, task.loss, params, self._batch)
            linear, spans = point.linear, spans_by_type(self._rule._sorted(point), point.parameter_types)
        u = torch.randn_like(linear.outputs)
        features = torch.randn(3, *self._states[LEARNED].memory.solution.shape)

        def networks() -> None:
            memory = self._states[LEARNED].memory
            for rnns, states in ((self._rule.damping, memory.damping), (self._rule.precondition, memory.precondition)):
                rnns(features, states, spans, self._rule.path.is_compiled)

        self.of: dict[str, Callable[[], object]] = {SGD: lambda: self._step(SGD)}
        self.of |= {PUSH: lambda: linear.push(params), PULL: lambda: linear.pull(u)}
        self.of |= {FREE: lambda: self._step(FREE), LEARNED: lambda: self._step(LEARNED), NETWORKS: networks}

    @torch.no_grad()
    def _second(self, learner: Descent) -> DescentState:
        """Return what is known after one step: a solution to start from, and networks that remember something."""
        return learner.step(learner.init(1, generator(0)), self._batch)[0]

    def _step(self, name: str) -> None:
        """Make the second step, again and again: a system that is solved already would need no product."""
        self._learners[name].step(self._states[name], self._batch)


def cases(budget: float) -> list[Case]:
    """Return a case for each network."""
    prepare(Hardware())
    return [_case(name, task(), budget) for name, task in TASKS.items()]


def _case(name: str, task: Pictures, budget: float) -> Case:
    steps = Steps(task)
    contenders = {name: _timed(step, budget) for name, step in steps.of.items()}
    rounds = FEW if task.model.size > 1_000_000 else 1_000
    return Case(BENCH, f"{name}, {task.model.size:,} parameters, batch {EXAMPLES}", contenders, rounds=rounds)


def _timed(step: Callable[[], object], budget: float) -> Measure:
    """Return the measure of what is done once, by as many as fill the budget."""

    @torch.no_grad()
    def measure() -> dict[str, float]:
        step()  # what others have left in the caches is nobody's
        count, began = 0, time.process_time()
        while count == 0 or time.process_time() - began < budget:
            step()
            count += 1
        return {"ms": 1e3 * (time.process_time() - began) / count}

    return measure


def floor(samples: list[Sample], case: Case) -> dict[int, float]:
    """Return the ms that a step could not do without, by round: SGD's, and n + 1 products with both Jacobians."""
    sgd, push, pull = (by_round(samples, case.bench, case.name, name, "ms") for name in (SGD, PUSH, PULL))
    return {number: sgd[number] + (ITERATIONS + 1) * (push[number] + pull[number]) for number in sgd}
