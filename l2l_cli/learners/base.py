"""What a learner is: everything that learns within an episode, learned itself or made by hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.types import Batch, Batches
from l2l_cli.tasks.base import Task

State = TypeVar("State")


class Learner(nn.Module, ABC, Generic[State]):
    """Slow weights φ are ``parameters()``; all that is acquired inside an episode is a ``State``.

    A state is a NamedTuple of tensors and is never changed in place.

    Args:
        task: Whose episodes are to be learned.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    @abstractmethod
    def init(self, episodes: int, rng: Generator) -> State:
        """Return what is known before the first example, for E episodes."""

    @abstractmethod
    def step(self, state: State, batch: Batch) -> tuple[State, Tensor]:
        """Answer ``batch.inputs``, then learn from ``batch.targets``; the answer is (E, N, ...)."""

    @abstractmethod
    def predict(self, state: State, inputs: Tensor) -> Tensor:
        """Answer inputs (E, N, ...) without learning from them."""

    def unroll(self, state: State, batches: Batches) -> tuple[State, Tensor]:
        """Step through T batches; answers are (T, E, N, ...).  A fast path overrides it."""
        answers = []
        for step in range(batches.steps):
            state, answer = self.step(state, batches.at(step))
            answers.append(answer)
        return state, torch.stack(answers)

    @property
    def is_meta_trained(self) -> bool:
        """Whether there is a φ to train."""
        return any(True for _ in self.parameters())
