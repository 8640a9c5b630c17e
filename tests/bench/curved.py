"""MLHF's step over SGD's step on the same batch, and over the arithmetic that n + 1 Gauss-Newton products take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from l2l_cli.core.model import Initializer, Model, gaussian
from l2l_cli.core.point import Point
from l2l_cli.core.random import generator, integers, normal
from l2l_cli.core.types import Batch, Params, Phase, Spec, Split
from l2l_cli.learners.descent import Descent, DescentState
from l2l_cli.models.convnet import convnet, cuda_convnet_weights
from l2l_cli.models.mlp import mlp
from l2l_cli.optimizers.hessian_free import HessianFree
from l2l_cli.optimizers.mlhf import MLHF, KindRNNs
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.runs import prepare
from l2l_cli.schema import Hardware
from l2l_cli.tasks.base import Classification, Episode
from tests.bench.samples import Case, Measure, Sample, by_round, ratios, spread

BENCH = "curved"
ITERATIONS = 4
EXAMPLES = 128
SGD, PUSH, PULL, FREE, LEARNED, NETWORKS, META = (
    "SGD",
    "J·v",
    "Jᵀ·u",
    "Hessian-free",
    "MLHF",
    "its networks",
    "meta-step",
)
SHORTEST = 0.02
"""Seconds that a turn of a contender lasts at least."""


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
    """What is timed, on one batch."""

    def __init__(self, task: Pictures) -> None:
        self.task, self.batch = task, task.sample(1, 0, Phase.TUNE).batch(0)
        rules = {SGD: Sgd(1e-6), FREE: HessianFree(1e-6, iterations=ITERATIONS), LEARNED: MLHF(1e-6, ITERATIONS)}
        self._learners = {name: Descent(task, rule) for name, rule in rules.items()}
        self._states = {name: learner.init(1, generator(0)) for name, learner in self._learners.items()}
        params: Params = self._states[SGD].params
        with torch.no_grad():
            linear = Point(task.model, task.loss, params, self.batch).linear
        u = torch.randn_like(linear.outputs)
        self.networks = 0.0
        self.of: dict[str, Callable[[], object]] = {name: self._stepping(name) for name in rules}
        self.of |= {PUSH: lambda: linear.push(params), PULL: lambda: linear.pull(u)}

    def _stepping(self, name: str) -> Callable[[], object]:
        def step() -> None:
            learner, state = self._learners[name], self._states[name]
            after, _ = learner.step(state, self.batch)
            self._states[name] = DescentState(state.params, after.memory)  # θ stays where nothing vanishes

        return step
