"""Parameters of E episodes as E vectors, and how far to go along a direction, for each episode by itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Params
from l2l_cli.models.point import Point

SUFFICIENT = 1e-4
"""Share of the decrease that the slope promises which a step must reach (Nocedal and Wright 2006, §3.1)."""

SHRINK = 0.5
TRIES = 20


def stacked(params: Params) -> Tensor:
    """Return each episode's parameters as one vector, (E, D)."""
    return torch.cat([value.reshape(len(value), -1) for value in params.values()], 1)


def unstacked(vectors: Tensor, like: Params) -> Params:
    """Return vectors (E, D) as parameters named and shaped as ``like``."""
    pieces = torch.split(vectors, [value[0].numel() for value in like.values()], 1)
    return {name: piece.reshape(value.shape) for (name, value), piece in zip(like.items(), pieces, strict=True)}


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of each episode's vectors, (E,)."""
    product: Tensor = torch.linalg.vecdot(one, other)
    return product


def quotient(above: Tensor, below: Tensor) -> Tensor:
    """Return above / below, and 0 where below is 0."""
    return torch.where(below == 0, 0.0, above / torch.where(below == 0, 1.0, below))


class Move(NamedTuple):
    """The parameters after a step, the length (E,) of it along its direction, and the looks (E,) that it took."""

    params: Params
    length: Tensor
    evaluations: Tensor


def backtrack(point: Point, direction: Tensor, length: Tensor) -> Move:
    """Go along a direction, for each episode half as far until its loss on this batch falls enough (Armijo's rule).

    An episode whose loss does not fall enough in ``TRIES`` tries, or before its step is lost in the parameters' own
    rounding, stays where it is.

    Args:
        point: Where to start.
        direction: (E, D).
        length: To be tried first, in multiples of the direction, (E,).
    """
    before, slope = point.loss.detach(), dot(stacked(point.grad), direction)
    # At a minimum the promised decrease is smaller than the loss's own rounding.
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
    moves = unstacked(length[:, None] * direction, point.params)
    return {name: value.detach() + moves[name] for name, value in point.params.items()}


def downhill(direction: Tensor, grad: Tensor) -> Tensor:
    """Return the direction where the loss falls along it, and elsewhere the negative gradient at length 1, (E, D)."""
    steepest = -quotient(grad, grad.norm(dim=1, keepdim=True))
    return torch.where((dot(grad, direction) < 0)[:, None], direction, steepest)
