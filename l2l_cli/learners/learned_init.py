"""Gradient descent on the task's own network, from a meta-learned initialisation at meta-learned rates.

Names: θ₀ → ``start``; α → exp(``log_rates``).
"""

from __future__ import annotations

import copy
import math
from typing import Literal, NamedTuple, Self

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.core.vectors import flattened, stacked
from l2l_cli.kernels.paths import EVERY_PATH, RECORDED, REFERENCE, Path, Paths
from l2l_cli.learners.adaptation import Adaptation
from l2l_cli.learners.base import Learner
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import positive
from l2l_cli.tasks.base import Task


class Adapted(NamedTuple):
    """The displacement of each episode's parameters from θ₀, (E, P)."""

    displacement: Tensor


class LearnedInit(Learner[Adapted]):
    """A learner that answers with the task's model, then descends, θ ← θ − α ⊙ ∇loss, from a learned θ₀.

    At hidden targets the parameters do not move.

    Source: Finn, Abbeel and Levine 2017 (MAML: θ₀); Li, Zhou, Chen and Li 2017 (Meta-SGD: α of each parameter).
    Deviation: one pass over the examples, one at a time, as for all learners here, in place of steps on whole data
    sets; and α stays positive, since its logarithm is learned.

    Args:
        task: Task whose model is fitted.
        lr: α at the start of meta-training.
        rates: Rates that are learned: "fixed" learns only θ₀, "shared" also one α for all parameters, "separate" one
            for each.
        second_order: Whether meta-gradients flow through the gradients; if not, this is first-order MAML.
        initial_seed: Seed of θ₀ at the start of meta-training, which the task's model draws.
        paths: Paths that the learner may take.
    """

    log_rates: Tensor

    def __init__(
        self,
        task: Task,
        lr: float = 0.1,
        rates: Literal["fixed", "shared", "separate"] = "separate",
        second_order: bool = True,
        initial_seed: int = 0,
        *,
        paths: Paths = EVERY_PATH,
    ) -> None:
        super().__init__(task, paths=paths)
        positive(lr=lr)
        drawn = task.model.init(1, generator(initial_seed, "learned_init"))
        self.start = nn.Parameter(flattened(drawn))
        sizes = {"fixed": 1, "shared": 1, "separate": self.start.numel()}
        log_rates = torch.full((sizes[rates],), math.log(lr))
        if rates == "fixed":  # not part of φ
            self.register_buffer("log_rates", log_rates, persistent=False)
        else:
            self.log_rates = nn.Parameter(log_rates)
        self.second_order, self.rho = second_order, 1.0
        self._adaptation = Adaptation(task, second_order)

    def init(self, episodes: int, rng: Generator) -> Adapted:
        """Start from θ₀, which is the same for all episodes."""
        del rng
        return Adapted(self.start.new_zeros(episodes, self.start.numel()))

    def with_second_order(self, rho: float) -> Self:
        """Return this learner with a factor ``rho`` on its gradients' derivative; only the reference path damps it."""
        if rho == (self.rho if self.second_order else 0.0):
            return self
        twin = copy.copy(self)
        twin.second_order, twin.rho = rho > 0, rho
        twin._adaptation = Adaptation(self.task, twin.second_order)
        return twin

    def on(self, task: Task) -> Self:
        """Return this learner on another task with a model of the same shapes.

        Raises:
            UsageError: The model has other shapes, for which there is no θ₀.
        """
        if task.model.shapes != self.task.model.shapes:
            raise UsageError(
                f"learner learned_init knows the start of one model, {self.task.model.shapes}, but "
                f"{type(task).__name__} has another, {task.model.shapes}; meta-train on it"
            )
        twin = super().on(task)
        twin._adaptation = Adaptation(task, self.second_order)
        return twin

    def step(self, state: Adapted, batch: Batch) -> tuple[Adapted, Tensor]:
        """Answer with θ_t, then descend."""
        model = self.task.model
        point = Point(model, self.task.loss, self._params(state), batch, self.second_order, rho=self.rho)
        after = state.displacement - self.log_rates.exp() * stacked(point.grad)
        return Adapted(after), point.outputs if torch.is_grad_enabled() else point.outputs.detach()

    def losses(self, state: Adapted, batches: Batches) -> tuple[Adapted, Tensor]:
        """Return the losses of T steps, by the recorded path where it may be taken."""
        # The network's random draws would have to be the same in a step and in its derivative.
        if not self.path.is_compiled or self._adaptation.draws(self.start + state.displacement, batches):
            return super().losses(state, batches)
        after, losses = self._adaptation(self.start, self.log_rates.exp(), state.displacement, batches)
        return Adapted(after), losses

    @property
    def path(self) -> Path:
        """The recorded path, which computes the Hessian products that back-propagation needs."""
        if self.paths.compiled and self.rho not in (0.0, 1.0):
            return Path(why_not=f"gradient.rho={self.rho:g} damps the Hessian products, but the recorded path does not")
        return RECORDED if self.paths.compiled else REFERENCE

    def predict(self, state: Adapted, inputs: Tensor) -> Tensor:
        """Answer with θ_t."""
        return self.task.model(self._params(state), inputs)

    def _params(self, state: Adapted) -> Params:
        return self._adaptation.layout.unpack(self.start + state.displacement)
