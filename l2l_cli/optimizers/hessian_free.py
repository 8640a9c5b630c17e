"""Hessian-free optimization: a few conjugate-gradient iterations on the damped Gauss-Newton system."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.tree import detach
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import dot, stacked, unstacked
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer, added, positive
from l2l_cli.optimizers.line_search import quotient
from l2l_cli.optimizers.solvers import Solution, conjugate_gradient

POOR, GOOD = 0.25, 0.75
"""Fractions of the predicted decrease below which the damping rises, and above which it falls (Martens 2010, §4.1)."""


class HessianFreeMemory(NamedTuple):
    """The last solution, (E, D), zero before the first step; damping and extra evaluations so far, (E,) each."""

    solution: Tensor
    damping: Tensor
    evaluations: Tensor


class _DampedGaussNewton(Optimizer[HessianFreeMemory], ABC):
    """θ ← θ − lr · x with (G + λ·I) · x ≈ g, G the generalised Gauss-Newton matrix of the batch.

    Deviation: no line search and no preconditioner, as in Chen and Lu 2018; and a fixed number of iterations.
    """

    def __init__(self, lr: float = 0.3, damping: float = 0.1, iterations: int = 4, decay: float = 1.0) -> None:
        super().__init__()
        positive(lr=lr, damping=damping, iterations=iterations)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {decay}")
        self.lr, self.damping, self.iterations, self.decay = lr, damping, iterations, decay
        self.work = 2.0 + iterations

    def init(self, params: Params) -> HessianFreeMemory:
        """Return a zero solution and the initial damping."""
        zero = torch.zeros_like(stacked(params))
        return HessianFreeMemory(zero, zero.new_full((len(zero),), self.damping), zero.new_zeros(len(zero)))

    @torch.no_grad()
    def step(self, point: Point, memory: HessianFreeMemory) -> tuple[Params, HessianFreeMemory]:
        """Solve the system of this batch, and move along its solution."""

        def product(vectors: Tensor) -> Tensor:
            return torch.addcmul(stacked(point.ggn(unstacked(vectors, point.params))), memory.damping[:, None], vectors)

        start = self.decay * memory.solution
        image = product(start)  # before the gradient, so that one forward pass serves for all
        grad = stacked(point.grad)
        solution = conjugate_gradient(product, start, grad - image, iterations=self.iterations)
        params = added(detach(point.params), unstacked(-self.lr * solution.x, point.params))
        damping, evaluations = self._damped(point, params, grad, solution, memory.damping)
        return params, HessianFreeMemory(solution.x, damping, memory.evaluations + evaluations + 1 + solution.products)

    def extra_evaluations(self, memory: HessianFreeMemory) -> Tensor:
        """Return the number of products with G, and of losses at new parameters if the damping needs them, (E,)."""
        return memory.evaluations

    @abstractmethod
    def _damped(
        self, point: Point, params: Params, grad: Tensor, solution: Solution, damping: Tensor
    ) -> tuple[Tensor, float]:
        """Return the next damping, (E,), and the evaluations that it took."""


class HessianFree(_DampedGaussNewton):
    """θ ← θ − lr · x with (G + λ·I) · x ≈ g, G the generalised Gauss-Newton matrix of the batch, and λ fixed.

    Each solve starts from the last solution, which therefore acts as a momentum.  A step takes one evaluation more than
    it has iterations: one product with G for each, and one for the first residual.  No meta-gradient flows through a
    step.

    Source: Martens 2010, §4; fixed damping and few iterations as in Chen and Lu 2018, whose code has lr 0.01, damping
    0.005 and 20 iterations with batches of 512 images.

    Args:
        lr: Fraction of the solution that a step takes.
        damping: Damping λ.
        iterations: Number of conjugate-gradient iterations of a step.
        decay: Fraction of the last solution that the next system starts from; 0 starts from zero, Martens has 0.95.
    """

    def _damped(
        self, point: Point, params: Params, grad: Tensor, solution: Solution, damping: Tensor
    ) -> tuple[Tensor, float]:
        del point, params, grad, solution
        return damping, 0.0


class LevenbergMarquardt(_DampedGaussNewton):
    """Hessian-free optimization whose damping follows how well the second-order model predicts the loss.

    With ρ the decrease of the loss on the batch, as a fraction of the one that the model without damping predicts:
    λ ← λ / factor if ρ < 0.25, and λ ← λ · factor if ρ > 0.75.  That takes one more evaluation per step than
    ``HessianFree``.

    Source: Martens 2010, §4.1; numbers as in the code of Chen and Lu 2018, which takes 20 iterations.

    Args:
        lr: Fraction of the solution that a step takes.
        damping: Initial damping λ.
        iterations: Number of conjugate-gradient iterations of a step.
        decay: Fraction of the last solution that the next system starts from.
        factor: Factor by which λ changes, in (0, 1).
        lowest: Lower limit of λ.
        highest: Upper limit of λ.
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
        self.factor, self.lowest, self.highest = factor, lowest, highest

    def _damped(
        self, point: Point, params: Params, grad: Tensor, solution: Solution, damping: Tensor
    ) -> tuple[Tensor, float]:
        # (G + λ·I)·x is the gradient minus the residual, so the curvature along x costs no product.
        x, slope = solution.x, dot(grad, solution.x)
        curvature = slope - dot(solution.residual, x) - damping * dot(x, x)
        predicted = self.lr * slope - 0.5 * self.lr**2 * curvature
        # The last solution may lead uphill on this batch: no decrease is predicted then.
        ratio = quotient(point.loss.detach() - point.loss_at(params), predicted.clamp(min=0.0))
        changed = torch.where(ratio < POOR, damping / self.factor, damping)
        changed = torch.where(ratio > GOOD, damping * self.factor, changed)
        return torch.where(predicted == 0, damping, changed.clamp(self.lowest, self.highest)), 1.0
