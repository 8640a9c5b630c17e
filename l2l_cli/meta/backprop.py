"""Back-propagation through time, truncated or full, exact or damped."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from l2l_cli.autodiff.damping import damped
from l2l_cli.core.random import generator
from l2l_cli.core.tree import detach
from l2l_cli.core.types import Batches
from l2l_cli.kernels.paths import Path
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.meta.gradient import Estimate, Estimator, Progress, meta_gradient
from l2l_cli.meta.horizon import Horizon
from l2l_cli.meta.loss import MetaLoss, Trajectory
from l2l_cli.optimizers.base import positive

AT_END = 0.5
"""Share of the episodes with a single window for which that window is the last one."""

SECOND_ORDER = 2.0
"""Cost of an estimate that differentiates the inner gradient too, relative to one that stops it."""


class Backprop(Estimator):
    """The gradient of a window's meta-loss, with the state before the window held constant; see ``Estimator``.

    An optimization is a dynamical system, and over many steps its exact derivative may grow without bound.  A damped
    derivative lies between the exact one and that of stopped gradients: ``rho`` weights the path through the inner
    Hessian, and ``gamma`` discounts the effects of a step on later ones.

    Source: Andrychowicz et al. 2016, §2 (windows of 20 steps); a window of the whole episode is exact.
    Damping is ours.

    Args:
        loss: Meta-loss; None is the mean along the trajectory.
        rho: Weight of the derivative of the inner gradient, in [0, 1]: 0 stops it, and 1 is exact.  None leaves it to
            the learner's ``second_order``.
        gamma: Share of the state's derivative that is passed on from each step to the next, in (0, 1]; below 1 the
            learner takes its reference path.
        limit: Largest norm of the derivative of an episode's meta-loss with respect to its parameters θ at any step,
            so that one chaotic episode does not drown out all others.  None is no limit.

    Raises:
        ValueError: ``rho``, ``gamma`` or ``limit`` is out of range.
    """

    takes_one_window: ClassVar[bool] = True

    def __init__(
        self,
        episodes: int = 32,
        window: int | None = None,
        horizon: Horizon | None = None,
        loss: MetaLoss | None = None,
        rho: float | None = None,
        gamma: float = 1.0,
        limit: float | None = None,
    ) -> None:
        super().__init__(episodes, window, horizon)
        if rho is not None and not 0 <= rho <= 1:
            raise ValueError(f"rho must lie in [0, 1], or be null, not {rho}")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], not {gamma}")
        self.loss = loss if loss is not None else Trajectory()
        if limit is not None:
            positive(limit=limit)
        self.rho, self.gamma, self.limit = rho, gamma, limit
        self.work = SECOND_ORDER if rho else self.work
        self._weighed: dict[Learner[Any], Learner[Any]] = {}

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin the ``draw``-th set of E episodes, at the start of their window if they have only one."""
        progress = super().begin(learner, seed, draw, done)
        last = int(progress.horizon) - (self.window or int(progress.horizon))
        if not self.horizon.one_window or last < 1:
            return progress
        at_end, place = torch.rand(2, generator=generator(seed, "window", draw), device="cpu").tolist()
        start = last if at_end < AT_END else int(place * last)
        episode, learner = self.episode(learner, progress), self.on_draw(learner, seed, draw)
        with torch.no_grad():
            state = learner.follow(progress.state, episode.batch, start)[0] if start else progress.state
        return progress._replace(step=progress.step + start, state=state)

    def on_draw(self, learner: Learner[Any], seed: int, draw: int) -> Learner[Any]:
        """Return the learner on the task of the ``draw``-th set of E episodes, damped; the same object each time."""
        drawn = super().on_draw(learner, seed, draw)
        # Kept, because a learner has recorded programs for its path.
        if drawn not in self._weighed:
            self._weighed[drawn] = self._weigh(drawn)
        return self._weighed[drawn]

    def _weigh(self, learner: Learner[Any]) -> Learner[Any]:
        weighed = learner if self.rho is None else learner.with_second_order(self.rho)
        return weighed if self.limit is None else weighed.with_limit(self.limit)

    def path_of(self, learner: Learner[Any]) -> Path:
        """Return the path of the learner with ``rho`` and ``limit``, or the reference path where ``gamma`` needs it."""
        path = self._weigh(learner).path
        if self.gamma == 1.0 or not path.is_compiled:
            return path
        return Path(
            why_not=f"gradient.gamma={self.gamma:g} damps the state at each step, and kernels take whole windows"
        )

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Unroll one window and differentiate it."""
        progress = self.resume(learner, progress, done)
        learner = self.on_present(learner, progress)
        batches = self.window_of(learner, progress)
        state, losses = self._losses(learner, detach(progress.state), batches)
        objective = self.loss(losses, self.reached(progress, batches), batches.shown)
        grad = meta_gradient(learner, objective, batches.steps)
        step = progress.horizon if self.horizon.one_window else progress.step + batches.steps
        progress = progress._replace(step=step, state=detach(state))
        return progress, Estimate(grad, objective.detach(), losses.detach().mean(), self.loss.count(batches))

    def _losses(self, learner: Learner[Any], state: object, batches: Batches) -> tuple[object, Tensor]:
        """Return the state after a window and its losses, (T, E)."""
        if self.gamma == 1.0:
            return learner.losses(state, batches)
        answers = []
        for step in range(batches.steps):
            state, answer = learner.step(damped(state, self.gamma), batches.at(step))
            answers.append(answer)
        return state, step_losses(learner.task, torch.stack(answers), batches.targets)
