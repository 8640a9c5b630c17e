"""Linear systems of E episodes side by side, solved approximately."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.optimizers.line_search import dot

FLOOR = 1e-6
"""Smallest denominator of a step, and the residual's norm below which an episode is solved (Chen and Lu's code)."""


class Solution(NamedTuple):
    """Where an iteration ended.

    Attributes:
        x: (E, D).
        residual: b − A·x, (E, D).
        norms: Of the residuals before each iteration and after the last, (I + 1, E), without gradient.
        products: With A that each episode took, (E,), the one for the first residual left out.
    """

    x: Tensor
    residual: Tensor
    norms: Tensor
    products: Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    x: Tensor,
    residual: Tensor,
    precondition: Tensor | None = None,
    iterations: int = 4,
    tolerance: float = FLOOR,
    floor: float = FLOOR,
) -> Solution:
    """Solve A·x = b for each episode by preconditioned conjugate gradients.

    Gradients flow through all that it is given, and through ``product`` as that allows.

    Source: Chen and Lu 2018, algorithm 1.

    Args:
        product: A·v (E, D) of v (E, D), A symmetric and positive semidefinite.
        x: Where to start, (E, D).
        residual: b − A·x there, (E, D); at x = 0 it is b.
        precondition: Diagonal of what is near A⁻¹, positive, (E, D); None is the identity.
        iterations: At most; an episode takes no more of them once its residual's norm is below the tolerance.
        tolerance: See ``iterations``.
        floor: Of both quotients' denominators: steps that fall below it are shorter than the exact ones.
    """
    norms, products = [residual.detach().norm(dim=1)], residual.new_zeros(len(residual))
    conditioned = residual if precondition is None else precondition * residual
    direction, strength = conditioned, dot(residual, conditioned)
    for _ in range(iterations):
        active = norms[-1] >= tolerance
        if not active.any():
            break
        products = products + active
        along = product(direction)
        length = torch.where(active, strength / dot(direction, along).clamp(min=floor), 0.0)[:, None]
        # One pass and no temporary tensor: a million coordinates are memory traffic, not arithmetic.
        x, residual = torch.addcmul(x, length, direction), torch.addcmul(residual, length, along, value=-1.0)
        norms.append(residual.detach().norm(dim=1))
        conditioned = residual if precondition is None else precondition * residual
        before, strength = strength, dot(residual, conditioned)
        direction = torch.addcmul(conditioned, (strength / before.clamp(min=floor))[:, None], direction)
    return Solution(x, residual, torch.stack(norms), products)
