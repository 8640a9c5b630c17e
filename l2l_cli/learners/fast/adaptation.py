"""Gradient descent on a task's model, differentiable in its start and its rates, by recorded programs.

With θ_{t+1} = θ_t − α ⊙ s_t·g_t, g_t the gradient at step t and s_t whether its target is shown, the adjoint of θ obeys
a_t = a_{t+1} − s_t·H_t(α ⊙ a_{t+1}) + w_t·g_t, w_t = ∂objective/∂loss_t: a Hessian product a step, and no graph.
Reference: ``LearnedInit.step`` under automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from l2l_cli.autodiff.recorder import NotPure, record
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.models.model import Model
from l2l_cli.models.point import Point
from l2l_cli.tasks.base import Task

Program = Callable[..., Any]


def named(model: Model, vectors: Tensor) -> Params:
    """Return vectors (E, P) as a model's parameters."""
    pieces = torch.split(vectors, [torch.Size(shape).numel() for shape in model.shapes.values()], 1)
    return {
        name: piece.view(len(vectors), *shape)
        for (name, shape), piece in zip(model.shapes.items(), pieces, strict=True)
    }


class Adaptation:
    """Runs T steps, and differentiates them.

    Args:
        task: Whose model is fitted.
        second_order: Let gradients flow through the gradients.
    """

    def __init__(self, task: Task, second_order: bool) -> None:
        self.task = task
        self.second_order = second_order
        self._programs: dict[Any, tuple[Program, Program]] = {}

    def __call__(self, start: Tensor, rates: Tensor, moved: Tensor, batches: Batches) -> tuple[Tensor, Tensor]:
        """Return the displacements (E, P) after T steps, as constants, and the losses (T, E).

        Args:
            start: θ_0, (P,).
            rates: α, (P,) or (1,).
            moved: Displacements before the first step, (E, P), which count as data.
            batches: The examples.
        """
        after, losses = _Descent.apply(self, start, rates, moved, batches)  # type: ignore[no-untyped-call]
        return after, losses

    def programs(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Program, Program]:
        """Return what computes losses (E,) and gradients (E, P), and what computes Hessian products (E, P)."""
        key = tuple((value.shape, value.dtype, value.device) for value in (theta, inputs, targets))
        if key not in self._programs:
            example = theta, inputs, targets
            slope, curve = _recorded(self._slope, *example), _recorded(self._curve, *example, theta.clone())
            self._programs[key] = slope, curve
        return self._programs[key]

    def _slope(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        point = Point(self.task.model, self.task.loss, named(self.task.model, theta), Batch(inputs, targets))
        grad = torch.cat([value.flatten(1) for value in point.grad.values()], 1)
        return point.loss.detach(), grad

    def _curve(self, theta: Tensor, inputs: Tensor, targets: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        point = Point(self.task.model, self.task.loss, named(self.task.model, theta), Batch(inputs, targets))
        product = point.hessian(named(self.task.model, v))
        return (torch.cat([value.flatten(1) for value in product.values()], 1),)


def _recorded(function: Callable[..., tuple[Tensor, ...]], *example: Tensor) -> Program:
    try:
        return record(function, *example)
    except NotPure:  # it looks at numbers to decide what to do, so it has to be asked every time
        return function


class _Descent(torch.autograd.Function):
    """Losses as a function of θ_0 and α."""

    @staticmethod
    def forward(
        ctx: Any, path: Adaptation, start: Tensor, rates: Tensor, moved: Tensor, batches: Batches
    ) -> tuple[Tensor, Tensor]:
        theta = start + moved
        slope, ctx.curve = path.programs(theta, batches.inputs[0], batches.targets[0])
        shown = batches.shown
        thetas, grads, losses = [], [], []
        for t, (inputs, targets) in enumerate(zip(batches.inputs, batches.targets, strict=True)):
            loss, grad = slope(theta, inputs, targets)
            thetas.append(theta)
            grads.append(grad)
            losses.append(loss)
            move = rates * grad
            theta = theta - (move if shown is None else torch.where(shown[t, :, None] > 0, move, 0.0))
        ctx.path, ctx.batches, ctx.rates, ctx.along = path, batches, rates, (thetas, grads)
        after = theta - start
        ctx.mark_non_differentiable(after)
        return after, torch.stack(losses)

    @staticmethod
    def backward(ctx: Any, _: Tensor, of_losses: Tensor) -> Any:
        (thetas, grads), (inputs, targets, shown) = ctx.along, ctx.batches
        adjoint = torch.zeros_like(thetas[0])
        of_rates = torch.zeros_like(adjoint)
        for t in reversed(range(len(thetas))):
            heard = adjoint if shown is None else torch.where(shown[t, :, None] > 0, adjoint, 0.0)
            of_rates = of_rates - heard * grads[t]
            adjoint = adjoint + of_losses[t, :, None] * grads[t]
            if ctx.path.second_order:
                adjoint = adjoint - ctx.curve(thetas[t], inputs[t], targets[t], ctx.rates * heard)[0]
        return None, adjoint.sum(0), of_rates.sum(0).sum_to_size(ctx.rates.shape), None, None
