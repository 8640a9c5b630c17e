"""Conjugate gradients with exact steps: the limit of first-order methods on a quadratic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Params
from l2l_cli.core.vectors import dot, stacked, unstacked
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.line_search import backtrack, downhill, quotient


class ConjugateGradientMemory(NamedTuple):
    """The last gradient and direction, (E, D) each, zero before the first step; extra evaluations so far, (E,)."""

    grad: Tensor
    direction: Tensor
    evaluations: Tensor


class ConjugateGradient(Optimizer[ConjugateGradientMemory]):
    """θ ← θ + α · p with p ← −g + β · p, where α minimises the second-order model of the loss along p.

    On a quadratic, every first-order method that starts from θ₀ and adds multiples of past gradients is, after t
    steps, somewhere in θ₀ plus the t-th Krylov space of the Hessian and the first gradient.  This one is at the point
    of least loss in that space, so none of them can be lower at any step: it is their limit, and after as many steps as
    there are dimensions it is the exact solution, up to rounding.  A rule that gives each coordinate its own rate, as
    Adam and learned rules do, may leave that space; for such rules it is only a yardstick.

    On other surfaces it is a nonlinear conjugate-gradient method, with safeguards that a quadratic never needs: a β
    below 0 counts as 0, and a direction along which the loss does not fall is replaced by the steepest one; where
    curvature is not positive, the line search starts from a step of length 1; and a step that increases the loss on its
    batch is shortened.  There are no other restarts.

    A step takes extra evaluations on its batch: one Hessian product, and one loss or more.  No meta-gradient flows
    through a step.

    Source: Hestenes and Stiefel 1952; β of Polak and Ribière 1969, cut at 0 as in Nocedal and Wright 2006, eq. 5.45.
    """

    def __init__(self) -> None:
        super().__init__()

    def init(self, params: Params) -> ConjugateGradientMemory:
        """Return a zero gradient and direction."""
        zero = torch.zeros_like(stacked(params))
        return ConjugateGradientMemory(zero, zero.clone(), zero.new_zeros(len(zero)))

    @torch.no_grad()
    def step(self, point: Point, memory: ConjugateGradientMemory) -> tuple[Params, ConjugateGradientMemory]:
        """Move to the minimum along the next direction."""
        grad = stacked(point.grad)
        beta = quotient(dot(grad, grad - memory.grad), dot(memory.grad, memory.grad)).clamp(min=0.0)
        direction = downhill(beta[:, None] * memory.direction - grad, grad)
        curvature = dot(direction, stacked(point.hessian(unstacked(direction, point.params))))
        unknown = quotient(torch.ones_like(curvature), direction.norm(dim=1))
        length = torch.where(curvature > 0, quotient(-dot(grad, direction), curvature), unknown)
        moved = backtrack(point, direction, length)
        return moved.params, ConjugateGradientMemory(grad, direction, memory.evaluations + moved.evaluations + 1)

    def extra_evaluations(self, memory: ConjugateGradientMemory) -> Tensor:
        """Return the number of Hessian products, and of losses in line searches, (E,)."""
        return memory.evaluations
