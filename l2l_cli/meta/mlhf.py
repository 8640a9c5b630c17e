"""The meta-gradient of MLHF: one objective for each of its two networks, everything else held constant.

Source: Chen and Lu 2018, §4.3 and algorithm 3; what the text leaves out is their code's.
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
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent, DescentState
from l2l_cli.meta.gradient import Estimate, Progress
from l2l_cli.meta.horizon import Horizon
from l2l_cli.meta.replay import Replay, Replayed, ReplayState
from l2l_cli.models.point import Point
from l2l_cli.optimizers.mlhf import MLHF, SolvedSystem

CURVATURE_FLOOR = 1e-12
"""Of ⟨x, Ĥx⟩ before its root is taken."""


class UnrolledStep(NamedTuple):
    """One step of a window; moves carry the graph of φ, the rest is constant.

    Attributes:
        found: The system and its solution.
        move: θ_{t+1} − θ_t, (E, D).
        loss: Before it, on the step's batch, (E,).
        own_loss: After it, on the same batch, (E,).
        own_grad: There, (E, D).
    """

    found: SolvedSystem
    move: Tensor
    loss: Tensor
    own_loss: Tensor
    own_grad: Tensor


class StoppedBackprop(Replayed):
    """l_p trains RNN_p and l_s trains RNN_s, by back-propagation through a window's states and iterations alone.

    l_p is the mean over a window of −⟨g, x⟩ / √⟨x, Ĥx⟩, least where x is along Ĥ⁻¹g, whatever its length.  l_s is the
    sum of w_t·m_t with m_t = ½(ℓ_{t+1}(θ_{t+1}) + ℓ_t(θ_{t+1})) − ℓ_t(θ_t) and w = softmax(m); ℓ_t is batch t's loss.
    Constant are θ_t, g_t, the last solution and residual at every step, w, and G wherever it is multiplied by.

    Args:
        episodes: Optimizations side by side; 1.
        window: Steps T; 10.
        horizon: How old parameters may become before their episode ends; None is the task's own horizon.
        replay: What follows an episode; None is ``Replay``'s defaults.
        scale: Factor on l_s; 10.
        decay: Of φ: the factor on ½‖φ‖² in either objective; 2e-7.
        reach: Largest norm of a step while meta-training, in multiples of ‖θ‖; 0.25.
        jitter: While meta-training a coordinate's step is multiplied by what is drawn from 1 ± this; 0.02.

    Raises:
        ValueError: A number is out of range.
    """

    work = 12.0

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
            raise ValueError(f"window must be at least 2, since a move is judged by the batch after it, not {window}")
        if scale <= 0 or reach <= 0 or decay < 0 or not 0 <= jitter < 1:
            raise ValueError(
                f"scale and reach must be above 0, decay not below, jitter in [0, 1), not {scale}, {reach}, {decay}, "
                f"{jitter}"
            )
        self.scale = scale
        self.decay = decay
        self.reach = reach
        self.jitter = jitter

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin the first episodes, or begin anew with nothing stored.

        Raises:
            UsageError: The learner is not MLHF, or see ``Replayed``.
        """
        if not (isinstance(learner, Descent) and isinstance(learner.rule, MLHF)):
            raise UsageError("gradient=mlhf is for learner=mlhf; other learners take gradient=backprop, es or pes")
        return super().begin(learner, seed, draw, done)

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Unroll one window, and differentiate either objective for its network."""
        assert isinstance(learner, Descent)
        rule = learner.rule
        assert isinstance(rule, MLHF)
        progress = self.replayed(learner, progress, done)
        present: ReplayState = progress.state
        number, batches = int(present.windows), self.window_of(learner, progress)
        rng = generator(int(progress.seed), "jitter", number)
        state, steps = self._unroll(learner, rule, detach(present.state), batches, rng)
        solving, moving = solver_objective(steps), move_objective(steps)
        grad = self._gradient(learner, rule, solving, moving)
        loss = torch.stack([step.loss for step in steps]).mean()
        first, last = steps[0].loss.mean(), steps[-1].own_loss.mean()
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
            found = rule.solve(point, memory)
            move = self._move(found, rng)
            after = point.at(_moved(found.like, move.detach()))
            own_grad = stacked({name: after.grad[name] for name in found.like})
            steps.append(UnrolledStep(found, move, point.loss.detach(), after.loss.detach(), own_grad))
            params = {name: after.params[name].detach() for name in params}
            x, residual = found.memory.solution.detach(), found.memory.residual.detach()
            memory = found.memory._replace(solution=x, residual=residual)
        return DescentState(params, memory), steps

    def _move(self, found: SolvedSystem, rng: Generator) -> Tensor:
        """Return the step, not too long and a little at random."""
        move = found.move
        longest = self.reach * stacked(found.like).detach().norm(dim=1, keepdim=True)
        move = move * (longest / move.norm(dim=1, keepdim=True).clamp(min=1e-30)).clamp(max=1.0)
        drawn = torch.rand(move.shape, generator=rng, device="cpu").to(move)
        moved: Tensor = move * (1.0 + self.jitter * (2.0 * drawn - 1.0))
        return moved

    def _gradient(self, learner: Descent, rule: MLHF, solving: Tensor, moving: Tensor) -> Params:
        """Return ∂l_p for RNN_p, scale · ∂l_s for RNN_s, and φ's decay."""
        own = {id(value) for value in rule.precondition.parameters()}
        phi = dict(learner.named_parameters())
        parts = {True: solving, False: self.scale * moving}
        grad: Params = {}
        for conditions, objective in parts.items():
            names = [name for name, value in phi.items() if (id(value) in own) == conditions]
            if names:
                values = torch.autograd.grad(
                    objective, [phi[name] for name in names], retain_graph=True, materialize_grads=True
                )
                grad |= dict(zip(names, values, strict=True))
        return {name: grad[name] + self.decay * value.detach() for name, value in phi.items()}


def solver_objective(steps: list[UnrolledStep]) -> Tensor:
    """Return l_p, (), whose gradient is meant for RNN_p."""
    each = []
    for found, *_ in steps:
        curved = dot(found.x, found.grad - found.residual)  # Ĥx is g less the residual: no product more
        each.append(-dot(found.grad, found.x) / curved.clamp(min=CURVATURE_FLOOR).sqrt())
    return torch.stack(each).mean()


def move_objective(steps: list[UnrolledStep]) -> Tensor:
    """Return Σ_t w_t·½⟨∇ℓ_{t+1} + ∇ℓ_t, move⟩ at θ_{t+1}, (), whose gradient is that of l_s, constants held."""
    with torch.no_grad():
        before = torch.stack([step.loss for step in steps])
        own = torch.stack([step.own_loss for step in steps])
        weights = (0.5 * (before[1:] + own[:-1]) - before[:-1]).softmax(0)
    slopes = [0.5 * dot(after.found.grad + step.own_grad, step.move) for step, after in pairwise(steps)]
    return (weights * torch.stack(slopes)).sum(0).mean()


def _moved(like: Params, move: Tensor) -> Params:
    moves = unstacked(move, like)
    return {name: value.detach() + moves[name] for name, value in like.items()}
