"""Back-propagation through time, truncated or full."""

from __future__ import annotations

from typing import Any

from l2l_cli.core.tree import detach
from l2l_cli.learners.base import Learner
from l2l_cli.meta.gradient import Estimate, Estimator, Progress, meta_gradient
from l2l_cli.meta.horizon import Horizon
from l2l_cli.meta.loss import MetaLoss, Trajectory


class Backprop(Estimator):
    """The derivative of a window's meta-loss, with the state before the window as a constant; see ``Estimator``.

    Source: Andrychowicz et al. 2016, §2 (windows of 20 steps); a window of the whole episode is exact.

    Args:
        loss: Meta-loss; None is the mean along the trajectory.
    """

    def __init__(
        self,
        episodes: int = 32,
        window: int | None = None,
        horizon: Horizon | None = None,
        loss: MetaLoss | None = None,
    ) -> None:
        super().__init__(episodes, window, horizon)
        self.loss = loss if loss is not None else Trajectory()

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Unroll one window and differentiate it."""
        progress = self.resume(learner, progress, done)
        learner = self.on_present(learner, progress)
        batches = self.window_of(learner, progress)
        state, losses = learner.losses(detach(progress.state), batches)
        objective = self.loss(losses, self.reached(progress, batches), batches.shown)
        grad = meta_gradient(learner, objective, batches.steps)
        progress = progress._replace(step=progress.step + batches.steps, state=detach(state))
        return progress, Estimate(grad, objective.detach(), losses.detach().mean(), self.loss.count(batches))
