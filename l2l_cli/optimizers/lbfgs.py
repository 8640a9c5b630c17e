"""Limited-memory BFGS."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Params
from l2l_cli.core.vectors import dot, stacked
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer, positive
from l2l_cli.optimizers.line_search import backtrack, downhill, quotient

CURVED = 1e-8
"""Smallest cosine between a step and the gradient's change at which the two are remembered."""


class LbfgsMemory(NamedTuple):
    """The last steps and gradient changes, (E, history, D), newest last; extra evaluations so far, (E,)."""

    steps: Tensor
    changes: Tensor
    evaluations: Tensor


class Lbfgs(Optimizer[LbfgsMemory]):
    """θ ← θ + α · d with d = −H · g, H an estimate of the inverse Hessian from the last steps, α by backtracking.

    A step takes extra evaluations on its batch: at least one loss for the line search, and one gradient where it ends,
    so that a step and its change of gradient belong to the same batch.  Each episode has its own step lengths and
    history.  No meta-gradient flows through a step.

    Source: Nocedal 1980; Nocedal and Wright 2006, algorithms 7.4 and 7.5; with minibatches, Schraudolph, Yu and Günter
    2007, whose gradient differences are taken on one batch.

    Deviation: Armijo's rule alone, without Wolfe's second condition; so pairs without positive curvature are left out.

    Args:
        lr: Length α that each line search tries first; 1 suits surfaces without noise.
        history: Number of pairs that are remembered.
    """

    def __init__(self, lr: float = 1.0, history: int = 10) -> None:
        super().__init__()
        positive(lr=lr, history=history)
        self.lr, self.history = lr, history

    def init(self, params: Params) -> LbfgsMemory:
        """Return an empty history."""
        vectors = stacked(params)
        empty = vectors.new_zeros(len(vectors), self.history, vectors.shape[1])
        return LbfgsMemory(empty, empty.clone(), vectors.new_zeros(len(vectors)))

    @torch.no_grad()
    def step(self, point: Point, memory: LbfgsMemory) -> tuple[Params, LbfgsMemory]:
        """Move to where the line search ends."""
        grad = stacked(point.grad)
        # Without a history the direction has length 1, since nothing is known of the right length.
        direction = downhill(-_times_inverse_hessian(grad, memory), grad)
        moved = backtrack(point, direction, torch.full_like(memory.evaluations, self.lr))
        step = moved.length[:, None] * direction
        change = stacked(point.at(moved.params).grad) - grad
        kept = dot(step, change) > CURVED * step.norm(dim=1) * change.norm(dim=1)
        steps, changes = _appended(memory.steps, step, kept), _appended(memory.changes, change, kept)
        return moved.params, LbfgsMemory(steps, changes, memory.evaluations + moved.evaluations + 1)

    def extra_evaluations(self, memory: LbfgsMemory) -> Tensor:
        """Return the number of losses in line searches, and of gradients where they ended, (E,)."""
        return memory.evaluations


def _times_inverse_hessian(grad: Tensor, memory: LbfgsMemory) -> Tensor:
    """Return H · g (E, D) by the two-loop recursion; pairs that are still empty change nothing."""
    steps, changes = memory.steps.unbind(1), memory.changes.unbind(1)
    curvatures = [dot(step, change) for step, change in zip(steps, changes, strict=True)]
    shares, result = [], grad
    for step, change, curvature in reversed(list(zip(steps, changes, curvatures, strict=True))):
        shares.append(quotient(dot(step, result), curvature))
        result = result - shares[-1][:, None] * change
    result = result * quotient(curvatures[-1], dot(changes[-1], changes[-1]))[:, None]
    for step, change, curvature, share in zip(steps, changes, curvatures, reversed(shares), strict=True):
        result = result + (share - quotient(dot(change, result), curvature))[:, None] * step
    return result


def _appended(old: Tensor, new: Tensor, kept: Tensor) -> Tensor:
    """Append to the histories (E, history, D) of the episodes whose pair is kept, and drop the oldest entry."""
    return torch.where(kept[:, None, None], torch.cat([old[:, 1:], new[:, None]], 1), old)
