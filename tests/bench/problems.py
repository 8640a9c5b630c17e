"""The optimization problems of the benchmark: the project's quadratics, an image network, and a bowl of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from l2l_cli.core.random import generator, integers, normal, uniform
from l2l_cli.core.types import Batch, Batches, Phase, Spec, Split
from l2l_cli.learners.descent import Descent
from l2l_cli.models.mlp import mlp
from l2l_cli.models.model import Model, gaussian, glorot
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.preprocess import LogAndSign
from l2l_cli.tasks.base import Episode, Task, mean_squared_error
from l2l_cli.tasks.quadratic import Quadratic
from tests.bench.peers.problem import Problem

STEPS = 20
"""The paper's unroll."""


class Images(Episode):
    """Noise in the place of images: what a step costs does not depend on what it shows."""

    def __init__(self, episodes: int, examples: int, seed: int) -> None:
        self._size, self._seed = (episodes, examples), seed

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return images (E, N, 784) and classes (E, N)."""
        rng = generator(self._seed, "images", str(step), split)
        images = uniform((*self._size, 784), 0.0, 1.0, rng)
        return Batch(images, integers(self._size, 10, rng))


class ImageNetwork(Task):
    """Andrychowicz et al.'s network for MNIST (2016, §3.2): 784–20–10, sigmoids, cross-entropy, batches of 128."""

    def __init__(self) -> None:
        self.horizon = 100
        self.model = Model(mlp(784, [20], 10, "sigmoid"), glorot)
        self.spec = Spec(inputs=(784,), targets=(), examples=128)

    def sample(self, episodes: int, seed: int, phase: Phase) -> Images:
        """Draw E data sets."""
        del phase
        return Images(episodes, self.spec.examples, seed)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy, (E,) in nats."""
        return F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(1)


class Shift(nn.Module):
    """The model of a bowl ‖θ − y‖²: its input is −y."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(dimension))

    def forward(self, inputs: Tensor) -> Tensor:
        """Add θ to the inputs (1, dimension)."""
        return inputs + self.theta


class BowlEpisode(Episode):
    """One y for all steps; the steps share its memory."""

    def __init__(self, centre: Tensor) -> None:
        self._batch = Batch(centre[:, None], torch.zeros(()).expand(centre[:, None].shape))

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return −y as inputs (E, 1, d) and zeros as targets."""
        del step, split
        return self._batch

    def batches(self, start: int, stop: int, split: Split = Split.TRAIN) -> Batches:
        """Return the steps as views of one."""
        del split
        return Batches(*(value.expand(stop - start, *value.shape) for value in self._batch[:2]))


class Bowl(Task):
    """f(θ) = ‖θ − y‖² / d: next to a learned rule it costs nothing, at any d."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.horizon = 100
        self.model = Model(Shift(dimension), gaussian(0.01))
        self.spec = Spec(inputs=(dimension,), targets=(dimension,), examples=1)

    def sample(self, episodes: int, seed: int, phase: Phase) -> BowlEpisode:
        """Draw E centres."""
        return BowlEpisode(normal((episodes, self.dimension), generator(seed, "bowl", phase)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean square, (E,)."""
        return mean_squared_error(outputs, targets)


class Setting:
    """A learner at the start of its episodes, and their data."""

    def __init__(self, task: Task, rule: CoordinatewiseLSTM, episodes: int, steps: int = STEPS) -> None:
        self.learner = Descent(task, rule)
        self.rule = rule
        self.state = self.learner.init(episodes, generator(0, "bench"))
        self.batches = task.sample(episodes, 0, Phase.META_TRAIN).batches(0, steps)

    def problem(self) -> Problem:
        """Return the meta-step as arrays of its own, for contenders elsewhere."""
        return Problem(
            phi=[value.detach().clone().numpy(force=True) for value in self.rule.parameters()],
            theta=[value.numpy(force=True) for value in self.state.params.values()],
            inputs=self.batches.inputs.numpy(force=True),
            targets=self.batches.targets.numpy(force=True),
            log_scale=getattr(self.rule.preprocess, "p", 0.0),
            output_scale=self.rule.output_scale,
        )


def meta_step_setting(case: str) -> Setting:
    """Return one of the two problems that all contenders are timed on."""
    settings: dict[str, Any] = {
        "quadratic": lambda: Setting(Quadratic(), CoordinatewiseLSTM(), 128),
        "mlp": lambda: Setting(ImageNetwork(), CoordinatewiseLSTM(preprocess=LogAndSign(), output_scale=0.1), 1),
    }
    setting: Setting = settings[case]()
    return setting
