"""The common part of all training of a learner's φ: records, validation, and a state that can be saved."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.global_draws import seed_global_generators
from l2l_cli.core.random import derive
from l2l_cli.core.stop import STOP
from l2l_cli.core.tree import flatten, leaves, unflatten
from l2l_cli.core.types import Params, Phase
from l2l_cli.evaluation.score import criterion_for, score
from l2l_cli.kernels.paths import Path
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.meta.gradient import set_phi
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.parallel.ranks import Ranks


class Update(NamedTuple):
    """One update of φ: its number from 1, mean loss, unclipped norm of the meta-gradient, whether it was skipped."""

    number: int
    loss: float
    norm: float = math.nan
    skipped: bool = False


class Validation(NamedTuple):
    """One validation: the number of updates before it, losses, and whether it is the best so far.

    ``train`` is the mean loss of the updates since the last validation; ``mean`` and ``final`` are the loss over all
    steps and at the last step of the meta-valid episodes, ``held_out`` that over their hidden steps, None if none are.
    ``norm`` is the mean norm of the meta-gradients since the last validation, NaN if there are none, and ``distance``
    is ‖φ − φ_0‖.
    """

    number: int
    train: float
    mean: float
    final: float
    best: bool
    held_out: float | None = None
    norm: float = math.nan
    distance: float = math.nan


class Training(ABC):
    """Training of a learner's φ, which can be interrupted and resumed at every record.

    Args:
        learner: Learner whose ``parameters()`` are trained, in place.
        plan: Plan of updates and validations.
        seed: Seed of every draw.

    Attributes:
        ranks: Ranks that carry out the training in step; None is this process alone.
        number: Number of updates made.
        skipped: Number of updates that were skipped because they were not finite.
        best: Lowest validation loss.
        stale: Number of validations since the lowest one.
        norm: Mean norm of the meta-gradients between the last two validations; NaN if there are none.

    Raises:
        ValueError: The learner has no φ.
    """

    def __init__(self, learner: Learner[Any], plan: MetaPlan, seed: int) -> None:
        if not learner.is_meta_trained:
            raise ValueError(f"{type(learner).__name__} is hand-made: it has no weights to meta-train")
        self.learner, self.plan, self.seed = learner, plan, seed
        self.ranks: Ranks | None = None
        self.number = 0
        self.skipped = 0
        self.best = math.inf
        self.stale = 0
        self._validated = 0
        self._window = (0.0, 0)  # sum and number of the finite losses since the last validation
        self.norm = math.nan
        self._norms = (0.0, 0)  # of the norms of meta-gradients, likewise
        self._first = self.phi()  # a learner is built from its seed, so this is φ_0 also in a run that is resumed

    @property
    def path(self) -> Path:
        """The path that updates take."""
        return self.learner.path

    @property
    def kept(self) -> int | None:
        """Number of updates after which φ is kept; None keeps the φ of the lowest validation loss."""
        return None

    @abstractmethod
    def update(self) -> Update:
        """Make one update."""

    @abstractmethod
    def finish(self) -> None:
        """Set the learner's φ to the weights that are kept."""

    @abstractmethod
    def tree(self) -> dict[str, Any]:
        """Return all tensors that a resumed run needs, except the counters; "phi" is a copy of φ."""

    @abstractmethod
    def take(self, tree: dict[str, Any]) -> None:
        """Continue from the tensors of ``tree``; φ itself is set already."""

    @property
    def done(self) -> bool:
        """Whether all updates are made, or patience has run out."""
        impatient = self.plan.patience is not None and self.stale >= self.plan.patience
        return self.number >= self.plan.updates or impatient

    @property
    def owes_validation(self) -> bool:
        """Whether the current φ is still to be validated."""
        due = self.number % self.plan.validate_every == 0 or self.number == self.plan.updates
        return due and self.number > self._validated

    def records(self) -> Iterator[Update | Validation]:
        """Yield a record after each update and each validation until training is done."""
        while True:
            # Checked before the next update, not after the last: a run may have been stopped between the two.
            if self.owes_validation:
                record = self._measured(self.validate())
                self._validated = self.number
                yield record
            if self.done:
                return
            yield self._updated()

    def _updated(self) -> Update:
        # Seeded by the number of the update, so that a resumed run draws what it would have drawn.
        rank = 0 if self.ranks is None else self.ranks.rank
        seed_global_generators(self.seed, "update", self.number, *([rank] if rank else []))
        record = self.update()
        if not record.skipped and math.isfinite(record.norm):
            self._norms = (self._norms[0] + record.norm, self._norms[1] + 1)
        return record

    def _measured(self, record: Validation) -> Validation:
        total, count = self._norms
        self.norm, self._norms = total / count if count else math.nan, (0.0, 0)
        return record._replace(norm=self.norm, distance=self.distance())

    def distance(self) -> float:
        """Return how far φ has moved, ‖φ − φ_0‖."""
        moves = (value - self._first[name] for name, value in self.phi().items())
        return math.sqrt(sum(float(move.double().square().sum()) for move in moves))

    def validate(self) -> Validation:
        """Score the learner on the meta-valid episodes."""
        steps = self.plan.validation_steps or self.learner.task.horizon
        seed = derive(self.seed, "validation")
        with STOP.at_once():  # it may take minutes, and nothing changes before its end
            scores = score(self.learner, self.plan.validation_episodes, steps, seed, Phase.META_VALID, ranks=self.ranks)
        mean, final = scores.by("mean"), scores.by("final")
        value = scores.by(criterion_for(self.learner.task, self.plan.criterion))
        held_out = scores.by("held_out") if scores.hides else None
        better = value < self.best  # never true of a NaN
        if better:
            self.best, self.stale = value, 0
        else:
            self.stale += 1
        train, self._window = self._window[0] / max(1, self._window[1]), (0.0, 0)
        return Validation(self.number, train, mean, final, better, held_out)

    def checkpoint(self) -> dict[str, Tensor]:
        """Return everything that a resumed run needs, by name."""
        values = [
            self.number,
            self.skipped,
            self.best,
            self.stale,
            self._validated,
            *self._window,
            *self._norms,
            self.norm,
        ]
        return flatten(self.tree()) | {"counters": torch.tensor(values, dtype=torch.float64, device="cpu")}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint.

        Raises:
            KeyError: The checkpoint belongs to another learner or estimator: a tensor is missing.
            ValueError: It belongs to another: a tensor has another shape or type.
        """
        present = self.tree()
        for name, old in leaves(present):
            if (saved[name].shape, saved[name].dtype) != (old.shape, old.dtype):
                raise ValueError(f"{name} has shape {[*saved[name].shape]}, not {[*old.shape]}, or another type")
        tree = unflatten(present, saved)
        set_phi(self.learner, tree["phi"])
        self.take(tree)
        number, skipped, self.best, stale, validated, total, count, *norms = saved["counters"].tolist()
        self.number, self.skipped, self.stale, self._validated = map(int, (number, skipped, stale, validated))
        self._window = (total, int(count))
        if norms:  # earlier versions kept none
            self._norms, self.norm = (norms[0], int(norms[1])), norms[2]

    def note(self, loss: float) -> None:
        """Add a finite loss to the mean that the next validation reports."""
        self._window = (self._window[0] + loss, self._window[1] + 1)

    def phi(self) -> Params:
        """Return a copy of φ."""
        return {name: value.detach().clone() for name, value in phi_of(self.learner).items()}
