"""Hessian-free optimization: a few conjugate-gradient iterations on the damped Gauss-Newton system."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Params
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer, positive
from l2l_cli.optimizers.line_search import dot, quotient
from l2l_cli.optimizers.solvers import Solution, conjugate_gradient

POOR, GOOD = 0.25, 0.75
"""Shares of the promised decrease below which the damping rises, and above which it falls (Martens 2010, §4.1)."""


class HessianFreeMemory(NamedTuple):
    """The last system's solution, (E, D), zero before the first step; the damping and looks so far, (E,) each."""

    solution: Tensor
    damping: Tensor
    evaluations: Tensor


class HessianFree(Optimizer[HessianFreeMemory]):
    """θ ← θ − lr · x with (G + λ·I) · x ≈ g, G the generalised Gauss-Newton matrix of the batch.

    Each system is solved from the last solution on, which so works as a momentum.  A step looks at its batch once more
    than there are iterations: for each product with G, one of which is for the first residual.  No meta-gradient flows
    through a step.

    Source: Martens 2010, §4; fixed damping and few iterations as in Chen and Lu 2018, whose code has lr 0.01, damping
    0.005 and 20 iterations at 512 pictures a batch.

    Deviation: no line search and no preconditioner, as there; and a fixed number of iterations.

    Args:
        lr: Share of the solution that a step goes.
        damping: λ.
        iterations: Of conjugate gradients, a step.
        decay: Share of the last solution that the next system starts from; 0 starts from nothing, Martens has 0.95.

    Raises:
        ValueError: A number is not above zero, or the decay not in [0, 1].
    """

    def __init__(self, lr: float = 0.3, damping: float = 0.1, iterations: int = 4, decay: float = 1.0) -> None:
        super().__init__()
        positive(lr=lr, damping=damping, iterations=iterations)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {decay}")
        self.lr = lr
        self.damping = damping
        self.iterations = iterations
        self.decay = decay

    def init(self, params: Params) -> HessianFreeMemory:
        """Remember nothing."""
        none = torch.zeros_like(stacked(params))
        return HessianFreeMemory(none, none.new_full((len(none),), self.damping), none.new_zeros(len(none)))

    @torch.no_grad()
    def step(self, point: Point, memory: HessianFreeMemory) -> tuple[Params, HessianFreeMemory]:
        """Solve the system of this batch, and go along its solution."""

        def product(vectors: Tensor) -> Tensor:
            bent = stacked(point.ggn(unstacked(vectors, point.params)))
            return torch.addcmul(bent, memory.damping[:, None], vectors)

        start = self.decay * memory.solution
        bent = product(start)
        grad = stacked(point.grad)
        found = conjugate_gradient(product, start, grad - bent, iterations=self.iterations)
        step = unstacked(-self.lr * found.x, point.params)
        params = {name: value.detach() + step[name] for name, value in point.params.items()}
        damping, evaluations = self._damped(point, params, grad, found, memory.damping)
        return params, HessianFreeMemory(found.x, damping, memory.evaluations + evaluations + 1 + found.products)

    def extra_evaluations(self, memory: HessianFreeMemory) -> Tensor:
        """Return the products with G, and the losses at the new parameters if they are asked for, (E,)."""
        return memory.evaluations

    def _damped(
        self, point: Point, params: Params, grad: Tensor, found: Solution, damping: Tensor
    ) -> tuple[Tensor, float]:
        """Return the next damping, (E,), and the looks that it took."""
        del point, params, grad, found
        return damping, 0.0


class LevenbergMarquardt(HessianFree):
    """Hessian-free optimization whose damping follows how well the second-order model foretells the loss.

    With ρ the decrease of the loss on the batch as a share of what the model without damping promises: λ ← λ / factor
    below ρ = 0.25, and λ ← λ · factor above ρ = 0.75.  That takes one look more a step.

    Source: Martens 2010, §4.1; numbers as in the code of Chen and Lu 2018, which takes 20 iterations.

    Args:
        lr: Share of the solution that a step goes.
        damping: λ at first.
        iterations: Of conjugate gradients, a step.
        decay: Share of the last solution that the next system starts from.
        factor: By which λ changes, in (0, 1).
        lowest: Limit of λ.
        highest: Limit of λ.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        lr: float = 0.001,
        damping: float = 1.0,
        iterations: int = 20,
        decay: float = 1.0,
        factor: float = 0.99,
        lowest: float = 1e-3,
        highest: float = 1.0,
    ) -> None:
        super().__init__(lr, damping, iterations, decay)
        if not 0 < factor < 1:
            raise ValueError(f"factor must lie in (0, 1), not {factor}")
        if not 0 < lowest <= damping <= highest:
            raise ValueError(f"0 < lowest ≤ damping ≤ highest must hold, not {lowest}, {damping}, {highest}")
        self.factor = factor
        self.lowest = lowest
        self.highest = highest

    def _damped(
        self, point: Point, params: Params, grad: Tensor, found: Solution, damping: Tensor
    ) -> tuple[Tensor, float]:
        # (G + λ·I)·x is the gradient less the residual, so the curvature along x costs no product.
        slope = dot(grad, found.x)
        curvature = slope - dot(found.residual, found.x) - damping * dot(found.x, found.x)
        promised = self.lr * slope - 0.5 * self.lr**2 * curvature
        # The last solution may lead uphill on this batch: nothing is promised then.
        share = quotient(point.loss.detach() - point.loss_at(params), promised.clamp(min=0.0))
        moved = torch.where(share < POOR, damping / self.factor, damping)
        moved = torch.where(share > GOOD, damping * self.factor, moved)
        return torch.where(promised == 0, damping, moved.clamp(self.lowest, self.highest)), 1.0
