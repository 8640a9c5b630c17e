"""What MLHF does inside a step: how well it solves its system, where its solution points, what damping it infers.

Source: Chen and Lu 2018, §4 (figure 3 and claims on positive definiteness); l_p is that of its §3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.vectors import dot, unstacked
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.mlhf import CURVATURE_FLOOR
from l2l_cli.models.point import Point
from l2l_cli.optimizers.mlhf import MLHF, MLHFMemory, SolvedSystem, in_order, spans_by_type
from l2l_cli.optimizers.solvers import conjugate_gradient

CONVERGED = 60
"""Iterations, preconditioned by 1 / ŝ, that stand for an exact solution."""

TINY = 1e-30
"""Smallest denominator where gradients may be small."""

QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
"""Quantiles of the damping over the coordinates of one parameter type, by the name of the statistic."""

DOWNHILL, RESIDUAL, RELATIVE = "downhill", "residual", "relative_residual"
SOLVER, EFFICIENCY, DAMPING = "l_p", "efficiency", "damping"


def mlhf_of(learner: Learner[Any]) -> MLHF | None:
    """Return the learner's update rule if that is MLHF."""
    return learner.rule if isinstance(learner, Descent) and isinstance(learner.rule, MLHF) else None


@torch.no_grad()
def diagnose(rule: MLHF, point: Point, memory: MLHFMemory, near_exact: bool) -> dict[tuple[str, str, str], float]:
    """Solve the system of the next step and return numbers about it by metric, statistic and parameter type.

    * ``downhill``: the share of episodes with ⟨g, x_n⟩ > 0; ``residual``: ‖r_n‖, and relative to ‖g‖;
    * ``l_p``: −⟨g, x_n⟩ / √⟨x_n, Ĥ·x_n⟩; ``efficiency``: it as a share of that of a near-exact solution;
    * ``damping``: quantiles over the coordinates of each parameter type; all others are means over episodes.

    Args:
        rule: Update rule.
        point: Parameters and batch of the step.
        memory: Memory of the rule before the step.
        near_exact: Whether the same system is also solved, from the same start, by ``CONVERGED`` iterations.
    """
    system = rule.solve(point, memory)
    size, loss = system.residual.norm(dim=1), solver_loss(system.grad, system.x, system.residual)
    means = {
        DOWNHILL: (dot(system.grad, system.x) > 0).double(),
        RESIDUAL: size,
        RELATIVE: size / system.grad.norm(dim=1).clamp(min=TINY),
        SOLVER: loss,
    }
    if near_exact:
        means[EFFICIENCY] = loss / _near_exact(point, system, memory.solution)
    numbers = {(metric, "mean", ""): values.mean().item() for metric, values in means.items()}
    for part, span in spans_by_type(system.like, point.parameter_types).items():
        damping = system.damping[:, span].flatten()
        for statistic, share in QUANTILES.items():
            # An order statistic: torch's quantile refuses the weights of large networks.
            numbers[DAMPING, statistic, part] = damping.kthvalue(1 + int(share * (len(damping) - 1))).values.item()
    return numbers


def solver_loss(grad: Tensor, x: Tensor, residual: Tensor) -> Tensor:
    """Return l_p of one step, (E,), for g, x_n and r_n = g − Ĥ·x_n, (E, D) each."""
    return -dot(grad, x) / dot(x, grad - residual).clamp(min=CURVATURE_FLOOR).sqrt()


def _near_exact(point: Point, system: SolvedSystem, start: Tensor) -> Tensor:
    """Return l_p of the same system after many more iterations, (E,)."""

    def product(vectors: Tensor) -> Tensor:
        return in_order(point.ggn(unstacked(vectors, system.like)), system.like) + system.damping * vectors

    residual = system.grad - product(start)
    # The floors of the paper's iterations would end these early where gradients are small.
    end = conjugate_gradient(product, start, residual, 1.0 / system.damping, CONVERGED, TINY, TINY)
    return solver_loss(system.grad, end.x, end.residual)
