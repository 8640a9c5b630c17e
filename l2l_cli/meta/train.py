"""Meta-training by an estimated gradient: clipping, schedule, running mean, non-finite updates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.errors import RunFailed
from l2l_cli.core.plan import MetaPlan
from l2l_cli.core.random import derive
from l2l_cli.core.tree import all_finite, global_norm
from l2l_cli.core.types import Params
from l2l_cli.learners.base import Learner
from l2l_cli.meta.gradient import Estimator
from l2l_cli.meta.training import Training, Update, Validation
from l2l_cli.optimizers.base import FirstOrder

SKIPPED_SHARE = 0.01
"""A run in which more of the updates than this are skipped for being non-finite is given up."""


class MetaTraining(Training):
    """Training by an estimated meta-gradient and an optimizer that follows it.

    Args:
        learner: Whose ``parameters()`` are trained, in place.
        estimator: Of meta-gradients.
        optimizer: A rule that moves φ; its displacement is multiplied by the plan's schedule.
        plan: Schedule, clipping, validation.
        seed: Of every draw.

    Raises:
        ValueError: The learner has no φ.
    """

    def __init__(
        self, learner: Learner[Any], estimator: Estimator, optimizer: FirstOrder[Any], plan: MetaPlan, seed: int
    ) -> None:
        super().__init__(learner, plan, seed)
        self._estimator = estimator
        self._optimizer = optimizer
        self._progress = estimator.init(learner, derive(seed, "meta_train"))
        self._memory = optimizer.init(self.phi())
        self._average = self.phi()
        self._best = self.phi()

    def finish(self) -> None:
        """Give the learner the best weights that validation has seen."""
        self.load(self._best)

    def tree(self) -> dict[str, Any]:
        """Return φ, its running mean, the best of those, the optimizer's memory and the estimator's progress."""
        return {
            "phi": self.phi(),
            "average": self._average,
            "best": self._best,
            "memory": self._memory,
            "progress": self._progress,
        }

    def take(self, tree: dict[str, Any]) -> None:
        """Take up all of ``tree``."""
        _, self._average, self._best, self._memory, self._progress = tree.values()

    def validate(self) -> Validation:
        """Score the running mean of φ."""
        phi = self.phi()
        self.load(self._average)
        record = super().validate()
        if record.best:
            self._best = self.phi()
        self.load(phi)
        return record

    def update(self) -> Update:
        """Estimate the meta-gradient of one window and move φ."""
        done = self.number / self.plan.updates
        progress, estimate = self._estimator.estimate(self.learner, self._progress, done)
        norm = global_norm(estimate.grad)
        self.number += 1
        loss = float(estimate.loss)
        if not (math.isfinite(loss) and math.isfinite(float(norm)) and all_finite(progress.state)):
            return self._skip(loss, float(norm), done)
        self._progress = progress
        self.note(loss)
        self._move(estimate.grad, norm)
        return Update(self.number, loss, float(norm), skipped=False)

    def _skip(self, loss: float, norm: float, done: float) -> Update:
        """Leave φ as it is and begin new episodes: the present ones hold a state that is not finite."""
        self.skipped += 1
        if self.skipped > SKIPPED_SHARE * max(self.number, 100):
            raise RunFailed(
                f"{self.skipped} of {self.number} updates had a non-finite loss or meta-gradient, the last one "
                f"update {self.number}; lower optimizer.lr, gradient.window or meta.clip"
            )
        seed, draw = int(self._progress.seed), int(self._progress.draw) + 1
        self._progress = self._estimator.begin(self.learner, seed, draw, done)
        return Update(self.number, loss, norm, skipped=True)

    @torch.no_grad()
    def _move(self, grad: Params, norm: Tensor) -> None:
        clip = self.plan.clip
        shrink = 1.0 if clip is None else min(1.0, clip / (float(norm) + 1e-12))
        scaled = {name: shrink * value for name, value in grad.items()}
        displacement, self._memory = self._optimizer.update(scaled, self._memory)
        rate = self._rate()
        # The mean forgets its start: without the ramp it would hold the initial weights for 1 / (1 − decay) updates.
        decay = min(self.plan.average, self.number / (self.number + 10.0))
        for name, value in self.learner.named_parameters():
            value.add_(displacement[name], alpha=rate)
            self._average[name] = decay * self._average[name] + (1.0 - decay) * value

    def _rate(self) -> float:
        """Return the schedule's factor on the learning rate at this update."""
        plan = self.plan
        if self.number <= plan.warmup:
            return self.number / plan.warmup
        if plan.schedule == "constant":
            return 1.0
        share = (self.number - plan.warmup) / max(1, plan.updates - plan.warmup)
        return plan.floor + (1.0 - plan.floor) * 0.5 * (1.0 + math.cos(math.pi * share))
