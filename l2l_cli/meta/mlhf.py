"""The meta-gradient of MLHF: one objective for each of its two networks, with everything else held constant.

Source: Chen and Lu 2018, §4.3 and algorithm 3; details that the text leaves out follow their code.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.tree import detach
from l2l_cli.core.types import Batches, Params
from l2l_cli.core.vectors import dot, stacked, unstacked
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.learners.descent import Descent, DescentState
from l2l_cli.meta.gradient import Estimate, Progress
from l2l_cli.meta.horizon import Horizon
from l2l_cli.meta.replay import Replay, Replayed, ReplayState
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import added
from l2l_cli.optimizers.mlhf import MLHF, SolvedSystem, in_order

CURVATURE_FLOOR = 1e-12
"""Lower bound of ⟨x, Ĥx⟩ under the root."""


class UnrolledStep(NamedTuple):
    """One step of a window; system and move carry the graph of φ, the rest is constant.

    Attributes:
        system: System and its solution.
        move: Displacement θ_{t+1} − θ_t, (E, D).
        loss: Loss before the step on its batch, (E,).
        loss_after: Loss after the step on the same batch, (E,).
        grad_after: Gradient after the step on the same batch, (E, D).
    """

    system: SolvedSystem
    move: Tensor
    loss: Tensor
    loss_after: Tensor
    grad_after: Tensor


class StoppedBackprop(Replayed):
    """The gradients of l_p for RNN_p and of l_s for RNN_s, back-propagated only through states and iterations.

    l_p is the mean over a window of −⟨g, x⟩ / √⟨x, Ĥx⟩, minimal where x is along Ĥ⁻¹g, whatever its length.  l_s is the
    sum of w_t·m_t with m_t = ½(ℓ_{t+1}(θ_{t+1}) + ℓ_t(θ_{t+1})) − ℓ_t(θ_t) and w = softmax(m); ℓ_t is batch t's loss.
    θ_t, g_t, the last solution and residual at every step, w, and G in all products are held constant.

    Args:
        episodes: Number of optimizations side by side; the paper's 1.
        window: Number T of steps in a window; the paper's 10.
        horizon: Age of parameters at which their episode ends; None is the task's own horizon.
        replay: Rule by which episodes end and follow each other; None is ``Replay`` with its defaults.
        scale: Factor on l_s; the paper's 10.
        decay: Factor on ½‖φ‖² in each objective; the paper's 2e-7.
        reach: Largest norm of a step in meta-training, in multiples of ‖θ‖; the paper's 0.25.
        jitter: Half width of the interval around 1 from which a factor on each coordinate's step in meta-training is
            drawn; the paper's is 0.02.
    """

    work = 2.0

    def __init__(
        self,
        episodes: int = 1,
        window: int = 10,
        horizon: Horizon | None = None,
        replay: Replay | None = None,
        scale: float = 10.0,
        decay: float = 2e-7,
        reach: float = 0.25,
        jitter: float = 0.02,
    ) -> None:
        super().__init__(episodes, window, horizon, replay)
        if window < 2:
            raise ValueError(f"window must be at least 2, since a step is judged by the batch after it, not {window}")
        if scale <= 0 or reach <= 0 or decay < 0 or not 0 <= jitter < 1:
            raise ValueError(
                f"scale and reach must be above 0, decay at least 0, jitter in [0, 1), not {scale}, {reach}, {decay}, "
                f"{jitter}"
            )
        self.scale, self.decay, self.reach, self.jitter = scale, decay, reach, jitter

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin episodes with empty slots.

        Raises:
            UsageError: The learner is not MLHF, or its task hides targets or varies.
        """
        if not (isinstance(learner, Descent) and isinstance(learner.rule, MLHF)):
            raise UsageError("gradient=mlhf is for learner=mlhf; other learners take gradient=backprop, es or pes")
        return super().begin(learner, seed, draw, done)

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Unroll one window, and differentiate each objective for its network."""
        assert isinstance(learner, Descent)
        rule = learner.rule
        assert isinstance(rule, MLHF)
        progress = self.replayed(learner, progress, done)
        replay: ReplayState = progress.state
        number, batches = int(replay.windows), self.window_of(learner, progress)
        rng = generator(int(progress.seed), "jitter", number)
        state, steps = self._unroll(learner, rule, detach(replay.state), batches, rng)
        solving, moving = solver_objective(steps), move_objective(steps)
        grad = self._gradient(learner, rule, solving, moving)
        loss = torch.stack([step.loss for step in steps]).mean()
        first, last = steps[0].loss.mean(), steps[-1].loss_after.mean()
        return self.after(progress, state, first, last), Estimate(grad, (solving + self.scale * moving).detach(), loss)

    def _unroll(
        self, learner: Descent, rule: MLHF, state: DescentState, batches: Batches, rng: Generator
    ) -> tuple[DescentState, list[UnrolledStep]]:
        params, memory = state
        steps = []
        for t in range(batches.steps):
            point = Point(
                learner.task.model, learner.task.loss, params, batches.at(t), curvature=learner.task.curvature
            )
            system = rule.solve(point, memory)
            move = self._move(system, rng)
            after = point.at(added(detach(system.like), unstacked(move.detach(), system.like)))
            grad_after = in_order(after.grad, system.like)
            steps.append(UnrolledStep(system, move, point.loss.detach(), after.loss.detach(), grad_after))
            params = {name: after.params[name].detach() for name in params}
            x, residual = system.memory.solution.detach(), system.memory.residual.detach()
            memory = system.memory._replace(solution=x, residual=residual)
        return DescentState(params, memory), steps

    def _move(self, system: SolvedSystem, rng: Generator) -> Tensor:
        """Return the displacement, bounded and with random factors."""
        move = system.move
        longest = self.reach * stacked(system.like).detach().norm(dim=1, keepdim=True)
        move = move * (longest / move.norm(dim=1, keepdim=True).clamp(min=1e-30)).clamp(max=1.0)
        drawn = torch.rand((self.episodes, move.shape[1]), generator=rng, device="cpu")
        drawn = (drawn if self.ranks is None else drawn[self.ranks.span(self.episodes)]).to(move)
        moved: Tensor = move * (1.0 + self.jitter * (2.0 * drawn - 1.0))
        return moved

    def _gradient(self, learner: Descent, rule: MLHF, solving: Tensor, moving: Tensor) -> Params:
        """Return ∂l_p for RNN_p, scale · ∂l_s for RNN_s, and φ's decay."""
        preconditioner = {id(value) for value in rule.precondition.parameters()}
        phi = phi_of(learner)
        grad: Params = {}
        for preconditions, objective in ((True, solving), (False, self.scale * moving)):
            names = [name for name, value in phi.items() if (id(value) in preconditioner) == preconditions]
            if names:
                values = torch.autograd.grad(
                    objective, [phi[name] for name in names], retain_graph=True, materialize_grads=True
                )
                grad |= dict(zip(names, values, strict=True))
        return {name: grad[name] + self.decay * value.detach() for name, value in phi.items()}


def solver_objective(steps: list[UnrolledStep]) -> Tensor:
    """Return l_p, (), whose gradient trains RNN_p."""
    each = []
    for system, *_ in steps:
        curvature = dot(system.x, system.grad - system.residual)  # Ĥx = g − residual takes no further product
        each.append(-dot(system.grad, system.x) / curvature.clamp(min=CURVATURE_FLOOR).sqrt())
    return torch.stack(each).mean()


def move_objective(steps: list[UnrolledStep]) -> Tensor:
    """Return Σ_t w_t·½⟨∇ℓ_{t+1} + ∇ℓ_t, move⟩ at θ_{t+1}, (), whose gradient is that of l_s with its constants."""
    with torch.no_grad():
        before = torch.stack([step.loss for step in steps])
        after = torch.stack([step.loss_after for step in steps])
        weights = (0.5 * (before[1:] + after[:-1]) - before[:-1]).softmax(0)
    slopes = [0.5 * dot(following.system.grad + step.grad_after, step.move) for step, following in pairwise(steps)]
    return (weights * torch.stack(slopes)).sum(0).mean()
