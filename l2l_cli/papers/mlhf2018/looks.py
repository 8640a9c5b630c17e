"""What MLHF does inside a step: how well it solves its system, where its solution points, what damping it infers.

Source: Chen and Lu 2018, §4 (figure 3 and claims on positive definiteness); l_p is that of its §3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l2l_cli.core.types import Batch
from l2l_cli.core.vectors import dot, unstacked
from l2l_cli.learners.descent import Descent, DescentState
from l2l_cli.meta.mlhf import CURVATURE_FLOOR
from l2l_cli.models.point import Point
from l2l_cli.optimizers.mlhf import MLHF, SolvedSystem, in_order, spans_by_type
from l2l_cli.optimizers.solvers import conjugate_gradient

CONVERGED = 60
"""Iterations, preconditioned by 1 / ŝ, that stand for an exact solution."""

TINY = 1e-30

SHARES = (0.1, 0.5, 0.9)
"""Quantiles of the damping inferred for coordinates of one kind."""

DOWNHILL, RELATIVE, RESIDUAL, SOLVER, EFFICIENCY, DAMPING = (
    "downhill",
    "relative_residual",
    "residual",
    "l_p",
    "efficiency",
    "damping",
)


@torch.no_grad()
def look(learner: Descent, rule: MLHF, state: DescentState, batch: Batch, converge: bool) -> dict[str, float]:
    """Solve the system of the next step and return numbers about it by name, means over episodes.

    * ``downhill``: the share of episodes with ⟨g, x_n⟩ > 0; ``residual``: ‖r_n‖, and relative to ‖g‖;
    * ``l_p``: −⟨g, x_n⟩ / √⟨x_n, Ĥ·x_n⟩; ``efficiency``: it as a share of that of a near-converged solution;
    * ``damping``: quantiles over coordinates of each kind.

    Args:
        learner: The rule as a learner.
        rule: Its own.
        state: Before the step.
        batch: The step's.
        converge: Also solve the same system, from the same start, by ``CONVERGED`` iterations.
    """
    point = Point(learner.task.model, learner.task.loss, state.params, batch, curvature=learner.task.curvature)
    found = rule.solve(point, state.memory)
    size = found.residual.norm(dim=1)
    own = solver_loss(found.grad, found.x, found.residual)
    numbers = {
        DOWNHILL: (dot(found.grad, found.x) > 0).double().mean(),
        RESIDUAL: size.mean(),
        RELATIVE: (size / found.grad.norm(dim=1).clamp(min=1e-30)).mean(),
        SOLVER: own.mean(),
    }
    if converge:
        numbers[EFFICIENCY] = (own / _converged(point, found, state.memory.solution)).mean()
    for kind, span in spans_by_type(found.like, point.parameter_types).items():
        part = found.damping[:, span].flatten()
        for share in SHARES:
            # An order statistic: torch's quantile refuses the weights of large networks.
            numbers[f"{DAMPING} {share:g} {kind}"] = part.kthvalue(1 + int(share * (len(part) - 1))).values
    return {name: value.item() for name, value in numbers.items()}


def solver_loss(grad: Tensor, x: Tensor, residual: Tensor) -> Tensor:
    """Return l_p of one step, (E,), for g, x_n and r_n = g − Ĥ·x_n, (E, D) each."""
    return -dot(grad, x) / dot(x, grad - residual).clamp(min=CURVATURE_FLOOR).sqrt()


def _converged(point: Point, found: SolvedSystem, start: Tensor) -> Tensor:
    """Return l_p of the same system solved for long, (E,)."""

    def product(vectors: Tensor) -> Tensor:
        return in_order(point.ggn(unstacked(vectors, found.like)), found.like) + found.damping * vectors

    residual = found.grad - product(start)
    # The floors of the paper's iterations would end these early where gradients are small.
    end = conjugate_gradient(product, start, residual, 1.0 / found.damping, CONVERGED, TINY, TINY)
    return solver_loss(found.grad, end.x, end.residual)
