"""Where an optimizer stands: a point on a loss surface, which answers what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from l2l_cli.core.model import Model
from l2l_cli.core.types import Batch, Params

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs (E, N, ...), targets (E, N, ...)) -> loss (E,)."""


class Point:
    """Parameters, a batch and a loss; every quantity is computed once and only when asked for.

    Args:
        model: The network that is fitted.
        loss: The task's loss.
        params: Where the optimizer stands; (E, ...) each.
        batch: The data that defines the surface at this step.
        second_order: Let meta-gradients flow through ``grad``.  This is the one place of the project where
            the gradient is stopped (Andrychowicz et al. 2016, §2: ∂∇_t/∂φ = 0 when false).
    """

    def __init__(self, model: Model, loss: Loss, params: Params, batch: Batch, second_order: bool = False) -> None:
        self._model = model
        self._loss = loss
        self._batch = batch
        self._second_order = second_order
        self._differentiable = torch.is_grad_enabled()
        # Constants (θ_0, or everything outside meta-training) become leaves, so that ``grad`` exists at them too.
        self.params = {
            name: value if value.requires_grad and self._differentiable else value.detach().requires_grad_()
            for name, value in params.items()
        }

    @cached_property
    def outputs(self) -> Tensor:
        """The model's answer to the batch, (E, N, ...)."""
        with torch.enable_grad():
            return self._model(self.params, self._batch.inputs)

    @cached_property
    def loss(self) -> Tensor:
        """The loss of each episode, (E,)."""
        with torch.enable_grad():
            return self._loss(self.outputs, self._batch.targets)

    @cached_property
    def grad(self) -> Params:
        """The gradient of each episode's loss, shaped as the parameters."""
        # Episodes do not share parameters, so the gradient of the sum holds every episode's own.
        with torch.enable_grad():
            total = self.loss.sum()
        values = torch.autograd.grad(
            total,
            list(self.params.values()),
            create_graph=self._second_order and self._differentiable,
            retain_graph=self._differentiable,
        )
        return dict(zip(self.params, values, strict=True))

    def loss_at(self, params: Params) -> Tensor:
        """Return the loss (E,) of other parameters on this point's batch."""
        return self._loss(self._model(params, self._batch.inputs), self._batch.targets)
