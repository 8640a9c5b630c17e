"""The interface of learners: everything that learns within an episode, meta-learned or hand-made."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, Self, TypeVar

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.episodes import Pieces
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.kernels.paths import EVERY_PATH, REFERENCE, Path, Paths
from l2l_cli.tasks.base import Task

State = TypeVar("State")

Read = Callable[[int], Batch]
"""Function that maps a step, counted from 0, to its batch; it is called for the steps in order."""


def step_losses(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each step and episode, (T, E), of outputs (T, E, N, ...)."""
    steps, episodes = outputs.shape[:2]
    return task.loss(outputs.flatten(0, 1), targets.flatten(0, 1)).view(steps, episodes)


def phi_of(learner: nn.Module) -> Params:
    """Return a learner's meta-parameters by name, without copying them: all parameters except frozen ones."""
    return {name: value for name, value in learner.named_parameters() if value.requires_grad}


class Learner(nn.Module, ABC, Generic[State]):
    """Base class of everything that learns within an episode: φ is its unfrozen ``parameters()``.

    What is learned within an episode is held in a ``State``, a NamedTuple of tensors that is never changed in place.

    Args:
        task: Task whose episodes are to be learned.
        paths: Paths that the learner may take.

    Attributes:
        is_limit: Whether no learner can do better.
        follows: Whether ``follow`` is as fast as ``unroll``.
        may_rest: Whether tasks may leave a part of φ unused.
    """

    is_limit: ClassVar[bool] = False
    follows: ClassVar[bool] = False
    may_rest: ClassVar[bool] = False

    def __init__(self, task: Task, *, paths: Paths = EVERY_PATH) -> None:
        super().__init__()
        self.task, self.paths = task, paths

    @property
    def applications(self) -> int:
        """Number of times that meta-parameters are applied in a step."""
        return 1

    def step_seconds(self, episodes: int) -> float:
        """Return roughly how many seconds a step takes on one core, for E episodes side by side."""
        # A learned rule takes a microsecond for ten coordinates; any other network takes half a microsecond.
        applied = max(0.5, self.applications / 10) if self.is_meta_trained else 0.0
        return episodes * applied / 1e6

    @abstractmethod
    def init(self, episodes: int, rng: Generator) -> State:
        """Return the state of E episodes before the first example."""

    @abstractmethod
    def step(self, state: State, batch: Batch) -> tuple[State, Tensor]:
        """Answer ``batch.inputs``, then learn from ``batch.targets``; the answer is (E, N, ...)."""

    @abstractmethod
    def predict(self, state: State, inputs: Tensor) -> Tensor:
        """Answer inputs (E, N, ...) without learning from them."""

    def unroll(self, state: State, batches: Batches) -> tuple[State, Tensor]:
        """Step through T batches; answers are (T, E, N, ...).  A compiled path overrides it."""
        return self.follow(state, batches.at, batches.steps)

    def follow(self, state: State, read: Read, steps: int) -> tuple[State, Tensor]:
        """Step through T batches as ``unroll`` does, reading each when it is due, so that only one is in memory."""
        answers = []
        for step in range(steps):
            state, answer = self.step(state, read(step))
            answers.append(answer)
        return state, torch.stack(answers)

    def losses(self, state: State, batches: Batches) -> tuple[State, Tensor]:
        """Step through T batches as ``unroll`` does and return their losses, (T, E), for meta-gradients."""
        state, outputs = self.unroll(state, batches)
        return state, step_losses(self.task, outputs, batches.targets)

    def extra_evaluations(self, state: State) -> Tensor | None:
        """Return the number of evaluations of the loss or its derivatives beyond one per step, (E,); None if none."""
        del state
        return None

    @property
    def pieces(self) -> Pieces:
        """Pieces of those axes of a state that hold the episodes in several pieces; other axes need no entry."""
        return {}

    @property
    def is_told(self) -> bool:
        """Whether it plans for the end of an episode, so that its first steps depend on the episode's length."""
        return False

    def told(self, steps: int) -> Self:
        """Return this learner for episodes of ``steps`` steps, a number that ``init`` uses if it plans for the end."""
        del steps
        return self

    def with_second_order(self, rho: float) -> Self:
        """Return this learner with a factor ``rho`` on the derivative of its inner gradients in meta-gradients.

        Both share φ.  With 0 the gradient is stopped; with 1 meta-gradients are exact.

        Raises:
            UsageError: The learner uses no inner gradients.
        """
        del rho
        raise UsageError(
            f"gradient.rho damps the derivative of a learner's inner gradients, but {type(self).__name__} uses none; "
            "use gradient.rho=null"
        )

    def with_limit(self, limit: float) -> Self:
        """Return this learner with its derivative with respect to θ bounded in norm at every step.

        ``limit`` bounds each episode's derivative separately.  Both share φ.

        Raises:
            UsageError: The learner moves no parameters.
        """
        del limit
        raise UsageError(
            f"gradient.limit bounds derivatives in the parameters that an update rule moves, but {type(self).__name__} "
            "is not an update rule; use gradient.limit=null"
        )

    def on(self, task: Task) -> Self:
        """Return this learner on another task whose answers have the same shape; both share φ."""
        twin = copy.copy(self)
        twin.task = task
        return twin

    @property
    def path(self) -> Path:
        """The path that ``losses`` takes."""
        return REFERENCE

    @property
    def is_meta_trained(self) -> bool:
        """Whether there is a φ to train."""
        return any(value.requires_grad for value in self.parameters())
