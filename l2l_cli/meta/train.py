"""The meta-training loop: a generator of records, whose whole state is a flat dictionary of tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.errors import RunFailed
from l2l_cli.core.plan import MetaPlan
from l2l_cli.core.random import derive
from l2l_cli.core.tree import all_finite, flatten, global_norm, unflatten
from l2l_cli.core.types import Params, Phase
from l2l_cli.learners.base import Learner
from l2l_cli.learners.rollout import score
from l2l_cli.meta.gradient import Estimator
from l2l_cli.optimizers.base import FirstOrder

SKIPPED_SHARE = 0.01
"""A run in which more of the updates than this are skipped for being non-finite is given up."""


class Update(NamedTuple):
    """One update of φ: its number from 1, the window's mean loss, and the meta-gradient's norm before clipping."""

    number: int
    loss: float
    norm: float
    skipped: bool


class Validation(NamedTuple):
    """One validation: after which update, and whether it is the best yet.

    ``train`` is the mean loss of the updates since the last validation; ``mean`` and ``final`` are the loss over all
    steps and at the last step of the meta-valid episodes.
    """

    number: int
    train: float
    mean: float
    final: float
    best: bool


class MetaTraining:
    """Training of a learner's φ, which may be left and taken up again at every record.

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
        if not learner.is_meta_trained:
            raise ValueError(f"{type(learner).__name__} is hand-made: it has no weights to meta-train")
        self.learner = learner
        self.plan = plan
        self._estimator = estimator
        self._optimizer = optimizer
        self._seed = seed
        self._progress = estimator.init(learner, derive(seed, "meta_train"))
        self._memory = optimizer.init(self._phi())
        self._average = self._copy()
        self._best = self._copy()
        self.number = 0
        self.skipped = 0
        self.best = math.inf
        self.stale = 0
        self._validated = 0
        self._window = (0.0, 0)  # sum and number of the finite losses since the last validation

    @property
    def done(self) -> bool:
        """Whether the updates are spent or patience is at its end."""
        impatient = self.plan.patience is not None and self.stale >= self.plan.patience
        return self.number >= self.plan.updates or impatient

    def records(self) -> Iterator[Update | Validation]:
        """Yield a record after each update and each validation until training is done."""
        while True:
            # Asked before the next update, not after the last: a run may have been stopped between the two.
            if self._owes_validation:
                self._validated = self.number
                yield self._validate()
            if self.done:
                return
            yield self._update()

    @property
    def _owes_validation(self) -> bool:
        due = self.number % self.plan.validate_every == 0 or self.number == self.plan.updates
        return due and self.number > self._validated

    def finish(self) -> None:
        """Give the learner the best weights that validation has seen."""
        self._load(self._best)

    def checkpoint(self) -> dict[str, Tensor]:
        """Return everything that a resumed run needs, by name."""
        counters = torch.tensor(
            [self.number, self.skipped, self.best, self.stale, self._validated, *self._window],
            dtype=torch.float64,
            device="cpu",
        )
        return flatten(self._tree()) | {"counters": counters}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Take up where a checkpoint left off.

        Raises:
            KeyError: The checkpoint belongs to another learner or estimator.
        """
        phi, self._average, self._best, self._memory, self._progress = unflatten(self._tree(), saved).values()
        self._load(phi)
        number, skipped, self.best, stale, validated, total, count = saved["counters"].tolist()
        self.number, self.skipped, self.stale, self._validated = map(int, (number, skipped, stale, validated))
        self._window = (total, int(count))

    def _tree(self) -> dict[str, Any]:
        return {
            "phi": self._copy(),
            "average": self._average,
            "best": self._best,
            "memory": self._memory,
            "progress": self._progress,
        }

    def _update(self) -> Update:
        done = self.number / self.plan.updates
        progress, estimate = self._estimator.estimate(self.learner, self._progress, done)
        norm = global_norm(estimate.grad)
        self.number += 1
        loss = float(estimate.loss)
        if not (math.isfinite(loss) and math.isfinite(float(norm)) and all_finite(progress.state)):
            return self._skip(loss, float(norm), done)
        self._progress = progress
        self._window = (self._window[0] + loss, self._window[1] + 1)
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

    def _validate(self) -> Validation:
        plan = self.plan
        phi = self._copy()
        self._load(self._average)
        steps = plan.validation_steps or self.learner.task.horizon
        losses = score(
            self.learner, plan.validation_episodes, steps, derive(self._seed, "validation"), Phase.META_VALID
        ).losses
        mean, final = losses.mean().item(), losses[-1].mean().item()
        value = mean if plan.criterion == "mean" else final
        better = value < self.best  # never true of a NaN
        if better:
            self.best, self.stale, self._best = value, 0, self._copy()
        else:
            self.stale += 1
        self._load(phi)
        train, self._window = self._window[0] / max(1, self._window[1]), (0.0, 0)
        return Validation(self.number, train, mean, final, better)

    def _phi(self) -> Params:
        return {name: value.detach() for name, value in self.learner.named_parameters()}

    def _copy(self) -> Params:
        return {name: value.clone() for name, value in self._phi().items()}

    @torch.no_grad()
    def _load(self, phi: Params) -> None:
        for name, value in self.learner.named_parameters():
            value.copy_(phi[name])
