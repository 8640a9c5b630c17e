"""Training of φ by estimated meta-gradients: clipping, schedule, running mean, non-finite updates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.episodes import Axes, part
from l2l_cli.core.errors import RunFailed
from l2l_cli.core.random import derive
from l2l_cli.core.tree import all_finite
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import flattened, unflattened
from l2l_cli.kernels.paths import Path
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.meta.gradient import Estimate, Estimator, set_phi
from l2l_cli.meta.non_finite import first_non_finite
from l2l_cli.meta.plan import DROPS, MetaPlan
from l2l_cli.meta.training import Training, Update, Validation
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.schedule import half_cosine
from l2l_cli.parallel.ranks import Ranks

SKIPPED_SHARE = 0.01
"""Fraction of skipped, non-finite updates above which a run is abandoned."""


class MetaTraining(Training):
    """Training by estimated meta-gradients and an optimizer, for which φ is one vector; see ``Training``.

    The optimizer's displacement of φ is multiplied by the plan's schedule.  Ranks divide the episodes: each moves its
    copy of φ by the same meta-gradient, so that all copies agree, and holds the progress of its own episodes.

    Raises:
        ValueError: The learner has no φ.
    """

    def __init__(
        self,
        learner: Learner[Any],
        estimator: Estimator,
        optimizer: FirstOrder[Any],
        plan: MetaPlan,
        seed: int,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(learner, plan, seed)
        self.ranks = ranks
        self._estimator = estimator if ranks is None else estimator.divided(ranks)
        self._optimizer = optimizer
        self._progress = self._estimator.init(learner, derive(seed, "meta_train"))
        self._vector = flattened(self.phi())
        self._memory = optimizer.init({"phi": self._vector})
        self._average = self._vector.clone()
        self._best = self._vector.clone()

    @property
    def path(self) -> Path:
        """The path that the learner takes in estimates."""
        return self._estimator.path_of(self.learner)

    def finish(self) -> None:
        """Set the learner's φ to the best one in validation."""
        self._load_vector(self._best)

    def tree(self) -> dict[str, Any]:
        """Return φ, its running mean, the best running mean, the optimizer's memory and the estimator's progress."""
        return {
            "phi": self.phi(),
            "average": self._average,
            "best": self._best,
            "memory": self._memory,
            "progress": self._progress,
        }

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint, within episodes whose model may differ from that of the first ones."""
        seed, draw = (int(saved[f"progress.{name}"]) for name in ("seed", "draw"))
        self._progress = self._estimator.begin(self.learner, seed, draw, 0.0)
        if self.ranks is not None:
            saved = part(saved, self._axes(), self.ranks.span(self._estimator.episodes))
        super().restore(saved)

    def checkpoint(self) -> dict[str, Tensor]:
        """Return everything that a resumed run needs, by name; with several ranks, the first returns that of all."""
        saved = super().checkpoint()
        return saved if self.ranks is None else self.ranks.joined(saved, self._axes(), self._estimator.episodes)

    def _axes(self) -> Axes:
        """Return the axis of each tensor of a checkpoint that runs over the current episodes."""
        seed, draw = int(self._progress.seed), int(self._progress.draw)
        axes = self._estimator.axes(self.learner, seed, draw)
        return {f"progress.{name}": axis for name, axis in axes.items()}

    def take(self, tree: dict[str, Any]) -> None:
        """Continue from the tensors of ``tree``."""
        self._vector, self._average, self._best = flattened(tree["phi"]), tree["average"], tree["best"]
        self._memory, self._progress = tree["memory"], tree["progress"]

    def validate(self) -> Validation:
        """Score the running mean of φ."""
        try:
            self._load_vector(self._average)
            record = super().validate()
        finally:
            self._load_vector(self._vector)
        if record.best:
            self._best = self._average.clone()
        return record

    def update(self) -> Update:
        """Estimate the meta-gradient of one window and move φ."""
        done = self.number / self.plan.updates
        progress, estimate = self._estimator.estimate(self.learner, self._progress, done)
        grad, loss, finite = flattened(estimate.grad), float(estimate.loss), all_finite(progress.state)
        if self.ranks is not None:
            grad, loss, finite = self._averaged(self.ranks, grad, estimate, finite)
        self.number += 1
        norm = float(grad.norm())
        if not (math.isfinite(loss) and math.isfinite(norm) and finite):
            return self._skip(estimate, loss, norm, done)
        self._progress = progress
        self.note(loss)
        if estimate.phi is not None:
            self._set(estimate.phi)
            return Update(self.number, loss)
        self._move(grad, norm)
        return Update(self.number, loss, norm, skipped=False)

    def _averaged(self, ranks: Ranks, grad: Tensor, estimate: Estimate, finite: bool) -> tuple[Tensor, float, bool]:
        """Average meta-gradient and loss over the episodes of all ranks; return also whether all progress is finite."""
        mine = ranks.span(self._estimator.episodes)
        own = mine.stop - mine.start
        count = own if estimate.over is None else estimate.over
        sums, finite = ranks.exchange(
            torch.cat([grad * count, estimate.loss.view(1) * own, grad.new_tensor([count])]), finite
        )
        return sums[:-2] / max(1.0, float(sums[-1])), float(sums[-2]) / self._estimator.episodes, finite

    def _skip(self, estimate: Estimate, loss: float, norm: float, done: float) -> Update:
        """Leave φ as it is and begin new episodes, since a number of the current ones is not finite."""
        self.skipped += 1
        if self.skipped > SKIPPED_SHARE * max(self.number, 100):
            raise RunFailed(
                f"{self.skipped} of {self.number} updates had a non-finite loss or meta-gradient; in the last of them "
                f"{self._where_first(estimate, done)}"
            )
        seed, draw = int(self._progress.seed), int(self._progress.draw) + 1
        self._progress = self._estimator.begin(self.learner, seed, draw, done)
        return Update(self.number, loss, norm, skipped=True)

    def _where_first(self, estimate: Estimate, done: float) -> str:
        """Return where the numbers of the current window, repeated from its beginning, stop being finite."""
        progress = self._estimator.resume(self.learner, self._progress, done)
        learner = self._estimator.on_present(self.learner, progress)
        batches = self._estimator.window_of(learner, progress)
        return first_non_finite(
            learner, self._estimator.learner_state(learner, progress), batches, int(progress.step), estimate.grad
        )

    def _set(self, phi: Params) -> None:
        """Set φ and its running mean to the φ that the estimator has computed."""
        self._vector = flattened({name: value.detach() for name, value in phi.items()})
        self._average = self._vector.clone()
        self._load_vector(self._vector)

    @torch.no_grad()
    def _move(self, grad: Tensor, norm: float) -> None:
        clip = self.plan.clip
        if clip is not None and self.plan.clip_relative:
            clip *= float(self._vector.norm())
        shrink = 1.0 if clip is None else min(1.0, clip / (norm + 1e-12))
        displacement, self._memory = self._optimizer.update({"phi": shrink * grad}, self._memory)
        self._vector.add_(displacement["phi"], alpha=self._rate())
        self._load_vector(self._vector)
        # Without this ramp, the mean would contain the initial weights for 1 / (1 − decay) updates.
        decay = min(self.plan.average, self.number / (self.number + 10.0))
        self._average = decay * self._average + (1.0 - decay) * self._vector

    def _load_vector(self, vector: Tensor) -> None:
        set_phi(self.learner, unflattened(vector, phi_of(self.learner)))

    def _rate(self) -> float:
        """Return the schedule's factor on the learning rate at this update."""
        plan = self.plan
        if self.number <= plan.warmup:
            return self.number / plan.warmup
        if plan.schedule == "constant":
            return 1.0
        if plan.schedule == "steps":
            return 0.1 ** sum(self.number > drop * plan.updates for drop in DROPS)
        share = (self.number - plan.warmup) / max(1, plan.updates - plan.warmup)
        return plan.floor + (1.0 - plan.floor) * half_cosine(share)
