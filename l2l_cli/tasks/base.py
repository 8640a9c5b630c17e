"""The interface of tasks: a distribution of episodes, the model that is fitted in them, and the loss of its outputs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Batch, Batches, Phase, Spec, Split
from l2l_cli.models.model import Model
from l2l_cli.models.point import mean_squared_error, output_hessian

FLOOR = 1e-6
"""Smallest probability within a cross-entropy, above 6e-8, the rounding error of float32 at 1."""


class Episode(ABC):
    """E parallel draws of a task, read by index: every reader of a step sees the same data."""

    @abstractmethod
    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return the data of one step, inputs (E, N, ...): a pure function of (seed, step, split)."""

    def batches(self, start: int, stop: int, split: Split = Split.TRAIN) -> Batches:
        """Return the steps start … stop − 1 stacked, inputs (T, E, N, ...); a subclass may have a faster way."""
        steps = [self.batch(step, split) for step in range(start, stop)]
        shown = [batch.shown for batch in steps if batch.shown is not None]
        return Batches(
            torch.stack([batch.inputs for batch in steps]),
            torch.stack([batch.targets for batch in steps]),
            torch.stack(shown) if shown else None,
        )


class BlockEpisode(Episode, ABC):
    """Examples drawn a block of steps at a time, so that a step beyond the horizon costs only one more block.

    Attributes:
        length: Number of steps in a block.
    """

    length: int

    @abstractmethod
    def block(self, number: int, split: Split) -> Batches:
        """Return the examples of the steps ``number`` · ``length`` … (``number`` + 1) · ``length`` − 1."""

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return the examples of one step."""
        return self.block(step // self.length, split).at(step % self.length)

    def batches(self, start: int, stop: int, split: Split = Split.TRAIN) -> Batches:
        """Return the examples of the steps start … stop − 1, as a view if they lie in one block."""
        length, first = self.length, start % self.length
        blocks = [self.block(number, split) for number in range(start // length, (stop - 1) // length + 1)]
        parts = [
            values[0] if len(values) == 1 or values[0] is None else torch.cat(values)
            for values in zip(*blocks, strict=True)
        ]
        return tree_map(lambda value: value[first : first + stop - start], Batches(*parts))


class Task(ABC):
    """A distribution of episodes.

    Attributes:
        model: Model that learners by gradient descent fit within an episode; others ignore it.
        spec: Shapes of one example.
        horizon: Number of steps of an episode, unless a command sets another.
        vary: Function from a seed to a variation of this task, for meta-training; None if there are no variations.
        told: Sentence that tells the user what the task has found out by itself; empty if that is nothing.
    """

    model: Model
    spec: Spec
    horizon: int
    vary: Callable[[int], Task] | None = None
    told: str = ""

    @abstractmethod
    def sample(self, episodes: int, seed: int, phase: Phase) -> Episode:
        """Draw E episodes; different phases never share a draw."""

    def training_set(self) -> Episode | None:
        """Return all meta-training episodes side by side, if they are a fixed set; None if every draw is new."""
        return None

    def fingerprint(self) -> str:
        """Return a name for the content of the files that episodes are made of; empty if there are none.

        A task that reads files overrides it, for example with ``core.fingerprint.of_folder``, so that stored results
        from other files are not taken for results from these.
        """
        return ""

    def drawn(self, seed: int) -> Task:
        """Return the task of one draw of meta-training episodes: this one, or one of its variations."""
        return self if self.vary is None else self.vary(seed)

    def with_model(self, model: Model) -> Self:
        """Return the same task with another model in place of its own, such as one that several processes share."""
        task = copy.copy(self)
        task.model = model
        return task

    def with_variations(self, vary: Callable[[int], Task]) -> Self:
        """Return the same task with meta-training that draws from its variations; see ``vary``."""
        task = copy.copy(self)
        task.vary = vary
        return task

    def step_seconds(self, episodes: int) -> float:
        """Return about how many seconds a step of gradient descent takes on one core for E episodes side by side."""
        return 3e-4 + 8e-11 * episodes * self.spec.examples * self.model.multiply_adds(self.spec.inputs)

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (E, N, ...) given targets (E, N, ...), (E,)."""

    def curvature(self, outputs: Tensor, targets: Tensor, u: Tensor) -> Tensor:
        """Return the loss's Hessian with respect to the outputs, times u, (E, N, ...).

        A subclass may have a closed form.  The Hessian of a convex loss is positive semidefinite.
        """
        return output_hessian(self.loss, outputs, targets, u)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return further scores by name, (E,) each; none unless a task has some."""
        del outputs, targets
        return {}


class Regression(Task, ABC):
    """A task whose loss is the squared error, averaged over all axes but the first and without a factor ½."""

    loss = staticmethod(mean_squared_error)  # this very function: compiled paths recognise the loss by it

    def curvature(self, outputs: Tensor, targets: Tensor, u: Tensor) -> Tensor:
        """Return the loss's Hessian with respect to the outputs, times u."""
        del outputs, targets
        return u * (2.0 / u[0].numel())


class Classification(Task, ABC):
    """A task whose outputs are logits (E, N, classes) and whose targets are one-hot."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy, (E,) in nats."""
        return softmax_cross_entropy(outputs, targets)

    def curvature(self, outputs: Tensor, targets: Tensor, u: Tensor) -> Tensor:
        """Return the loss's Hessian with respect to the outputs, times u.

        It is π∘(u − ⟨π, u⟩) divided by the number of examples, with π the softmax, for any targets that sum to 1.
        """
        del targets
        p = outputs.softmax(-1)
        pu = p * u
        return (pu - p * pu.sum(-1, keepdim=True)) * (u.shape[-1] / u[0].numel())

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the accuracy, (E,): the share of examples that are classified correctly."""
        right = outputs.argmax(-1) == targets.argmax(-1)
        return {"accuracy": right.to(outputs.dtype).flatten(1).mean(1)}


def softmax_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of logits, in nats, averaged over all axes but the first and the last, (E,).

    Args:
        outputs: Logits, (E, ..., classes).
        targets: Probabilities, or one-hot, (E, ..., classes).
    """
    return -(targets * outputs.log_softmax(-1)).sum(-1).flatten(1).mean(1)


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of probabilities, in nats, averaged over all axes but the first, (E,).

    Probabilities are mixed with ``FLOOR`` of either class, so a sigmoid that has rounded to 1 costs 14 nats if it is
    wrong, not infinitely many, and the derivative is bounded.

    Args:
        outputs: Probabilities of class 1, (E, ...).
        targets: 0 or 1, (E, ...).
    """
    right = FLOOR + (1.0 - 2.0 * FLOOR) * (outputs * targets + (1.0 - outputs) * (1.0 - targets))
    return -right.log().flatten(1).mean(1)


def binary_curvature(outputs: Tensor, u: Tensor) -> Tensor:
    """Return the Hessian of ``binary_cross_entropy`` with respect to the probabilities, times u, (E, ...).

    It is the mean over targets drawn from the probabilities, so that the Gauss-Newton matrix is the Fisher matrix, and
    the same whether a last sigmoid counts as part of the model or of the loss.

    Source: Chen and Lu 2018, eq. 1: the metric takes the model's outputs as targets.
    """
    scale = 1.0 - 2.0 * FLOOR
    right, wrong = FLOOR + scale * outputs, FLOOR + scale * (1.0 - outputs)
    return (outputs / right.square() + (1.0 - outputs) / wrong.square()) * u * (scale**2 / u[0].numel())
