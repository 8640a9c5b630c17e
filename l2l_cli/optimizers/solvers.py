"""Approximate solution of the linear systems of E episodes, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.vectors import dot

FLOOR = 1e-6
"""Smallest denominator of a step, and residual norm below which an episode counts as solved (Chen and Lu's code)."""


class Solution(NamedTuple):
    """The result of an iterative solver.

    Attributes:
        x: Approximate solution, (E, D).
        residual: Residual b − A·x, (E, D).
        norms: Norms of the residuals before each iteration and after the last, (I + 1, E), without gradient.
        products: Number of products with A in each episode, (E,), not counting the one for the first residual.
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

    Gradients flow through all arguments, and through ``product`` as far as it allows.

    Source: Chen and Lu 2018, algorithm 1.

    Args:
        product: Map from v, (E, D), to A·v, (E, D), with A symmetric and positive semidefinite.
        x: Initial solution, (E, D).
        residual: Residual b − A·x of the initial solution, (E, D); at x = 0 it is b.
        precondition: Diagonal of an approximation of A⁻¹, positive, (E, D); None is the identity.
        iterations: Largest number of iterations.
        tolerance: Norm of the residual below which an episode takes no further iterations.
        floor: Smallest denominator of both quotients; below it steps are shorter than the exact ones.
    """
    norms, products = [residual.detach().norm(dim=1)], residual.new_zeros(len(residual))
    conditioned = residual if precondition is None else precondition * residual
    direction, strength = conditioned, dot(residual, conditioned)
    for _ in range(iterations):
        active = norms[-1] >= tolerance
        if not active.any():
            break
        products = products + active
        image = product(direction)
        length = torch.where(active, strength / dot(direction, image).clamp(min=floor), 0.0)[:, None]
        # One pass and no temporary tensor: for a million coordinates, memory traffic takes most of the time.
        x, residual = torch.addcmul(x, length, direction), torch.addcmul(residual, length, image, value=-1.0)
        norms.append(residual.detach().norm(dim=1))
        conditioned = residual if precondition is None else precondition * residual
        before, strength = strength, dot(residual, conditioned)
        direction = torch.addcmul(conditioned, (strength / before.clamp(min=floor))[:, None], direction)
    return Solution(x, residual, torch.stack(norms), products)
