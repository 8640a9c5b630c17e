"""Line search along a direction, for each of E episodes separately."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.tree import detach
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import dot, stacked, unstacked
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import added

SUFFICIENT = 1e-4
"""Fraction of the decrease predicted by the slope that a step must reach (Nocedal and Wright 2006, §3.1)."""

SHRINK = 0.5
TRIES = 20


def quotient(above: Tensor, below: Tensor) -> Tensor:
    """Return above / below, and 0 where below is 0."""
    return torch.where(below == 0, 0.0, above / torch.where(below == 0, 1.0, below))


class Move(NamedTuple):
    """The parameters after a step, its length along the direction, (E,), and its extra evaluations, (E,)."""

    params: Params
    length: Tensor
    evaluations: Tensor


def backtrack(point: Point, direction: Tensor, length: Tensor) -> Move:
    """Go along a direction, and halve each episode's length until its loss on this batch falls enough (Armijo's rule).

    An episode whose loss does not fall enough in ``TRIES`` tries, or before its step is shorter than the parameters'
    own rounding, stays where it is.

    Args:
        point: Point from which to start.
        direction: Direction of each episode, (E, D).
        length: Length that is tried first, in multiples of the direction, (E,).
    """
    before, slope = point.loss.detach(), dot(stacked(point.grad), direction)
    # At a minimum the predicted decrease is smaller than the loss's own rounding.
    epsilon = torch.finfo(before.dtype).eps
    rounding = 4 * epsilon * before.abs()
    shortest = quotient(epsilon * stacked(point.params).detach().norm(dim=1), direction.norm(dim=1))
    accepted, evaluations = torch.zeros_like(before, dtype=torch.bool), torch.zeros_like(before)
    lost = torch.zeros_like(accepted)
    for _ in range(TRIES):
        loss = point.loss_at(_moved(point, direction, length))
        evaluations = evaluations + ~(accepted | lost)
        accepted = accepted | (~lost & (loss <= before + SUFFICIENT * length * slope + rounding))
        lost = ~accepted & (SHRINK * length < shortest)
        if (accepted | lost).all():
            break
        length = torch.where(accepted, length, SHRINK * length)
    length = torch.where(accepted, length, 0.0)
    return Move(_moved(point, direction, length), length, evaluations)


def _moved(point: Point, direction: Tensor, length: Tensor) -> Params:
    return added(detach(point.params), unstacked(length[:, None] * direction, point.params))


def downhill(direction: Tensor, grad: Tensor) -> Tensor:
    """Return directions (E, D), or the normalised negative gradient where the loss does not fall along them."""
    steepest = -quotient(grad, grad.norm(dim=1, keepdim=True))
    return torch.where((dot(grad, direction) < 0)[:, None], direction, steepest)
