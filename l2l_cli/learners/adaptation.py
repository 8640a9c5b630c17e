"""Gradient descent on a task's model by recorded programs, differentiable with respect to its start and its rates.

Let θ_{t+1} = θ_t − α ⊙ s_t·g_t, where g_t is the gradient at step t and s_t is 1 if its target is shown, otherwise 0.
The gradient a_t of the objective with respect to θ_t then satisfies a_t = a_{t+1} − s_t·H_t(α ⊙ a_{t+1}) + w_t·g_t with
w_t = ∂objective/∂loss_t, so it takes one Hessian product per step, and no graph.
The reference is ``LearnedInit.step`` under automatic differentiation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.types import Batches
from l2l_cli.models.recorded_loss import RecordedLoss, by_episode
from l2l_cli.tasks.base import Task


class Adaptation:
    """T steps of gradient descent, and their derivative.

    Args:
        task: Task whose model is fitted.
        second_order: Whether derivatives flow through the gradients.
    """

    def __init__(self, task: Task, second_order: bool) -> None:
        self.second_order = second_order
        self.layout = by_episode(task.model)
        self.loss = RecordedLoss(task.model, task.loss)

    def __call__(self, start: Tensor, rates: Tensor, moved: Tensor, batches: Batches) -> tuple[Tensor, Tensor]:
        """Return the displacements (E, P) after T steps, as constants, and the losses (T, E).

        Args:
            start: θ₀, (P,).
            rates: α, (P,) or (1,).
            moved: Displacements before the first step, (E, P), treated as constants.
            batches: The examples of T steps.
        """
        after, losses = _Descent.apply(self, start, rates, moved, batches)  # type: ignore[no-untyped-call]
        return after, losses

    def draws(self, theta: Tensor, batches: Batches) -> bool:
        """Return whether the network draws random numbers, which would differ between a step and its derivative."""
        return self.loss.draws(self.layout, theta.detach(), batches.inputs[0])


class _Descent(torch.autograd.Function):
    """Losses as a function of θ₀ and α."""

    @staticmethod
    def forward(
        ctx: Any, path: Adaptation, start: Tensor, rates: Tensor, moved: Tensor, batches: Batches
    ) -> tuple[Tensor, Tensor]:
        theta = start + moved
        program = path.loss.gradient(path.layout, theta, batches.inputs[0], batches.targets[0])
        shown = batches.shown
        thetas, grads, losses = [], [], []
        for t, (inputs, targets) in enumerate(zip(batches.inputs, batches.targets, strict=True)):
            _, loss, grad = program(theta, inputs, targets)
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
    def backward(ctx: Any, _: Tensor, grad_losses: Tensor) -> tuple[Tensor | None, ...]:
        path: Adaptation = ctx.path
        (thetas, grads), (inputs, targets, shown) = ctx.along, ctx.batches
        hessian = path.loss.hessian(path.layout, thetas[0], inputs[0], targets[0]) if path.second_order else None
        grad_theta = torch.zeros_like(thetas[0])
        grad_rates = torch.zeros_like(grad_theta)
        for t in reversed(range(len(thetas))):
            passed = grad_theta if shown is None else torch.where(shown[t, :, None] > 0, grad_theta, 0.0)
            grad_rates = grad_rates - passed * grads[t]
            grad_theta = grad_theta + grad_losses[t, :, None] * grads[t]
            if hessian is not None:
                grad_theta = grad_theta - hessian(thetas[t], inputs[t], targets[t], ctx.rates * passed)[0]
        return None, grad_theta.sum(0), grad_rates.sum(0).sum_to_size(ctx.rates.shape), None, None
