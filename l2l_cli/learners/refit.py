"""Learners that fit a classical model anew to all examples seen so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from l2l_cli.core.types import Batch
from l2l_cli.learners.base import Learner
from l2l_cli.tasks.base import Task

Array = NDArray[np.float64]


class Examples(NamedTuple):
    """Examples seen, (E, n, D) and (E, n), the fit so far (E, F), and how many examples it has seen ()."""

    inputs: Tensor
    targets: Tensor
    fit: Tensor
    fitted: Tensor


class Refit(Learner[Examples], ABC):
    """Answer with the fit so far, append the examples, fit again.

    Args:
        task: One target in [0, 1] an example.
        growth: Refit when the examples have grown by this share; 0 refits at every step.
    """

    def __init__(self, task: Task, growth: float) -> None:
        super().__init__(task)
        if len(task.spec.inputs) != 1 or task.spec.targets != (1,):
            raise ValueError(
                f"{type(self).__name__} needs vectors with one target each; {type(task).__name__} has inputs "
                f"{task.spec.inputs} and targets {task.spec.targets}"
            )
        if growth < 0:
            raise ValueError(f"growth must not be negative, not {growth}")
        self.growth = growth

    @abstractmethod
    def blank(self, features: int) -> Array:
        """Return the fit to no example, (F,)."""

    @abstractmethod
    def fit(self, inputs: Array, targets: Array) -> Array:
        """Fit to inputs (n, D) and targets (n,); the result is (F,)."""

    @abstractmethod
    def answer(self, fit: Tensor, inputs: Tensor) -> Tensor:
        """Answer inputs (E, N, D) with fits (E, F), (E, N)."""

    def init(self, episodes: int, rng: Generator) -> Examples:
        """Start without examples."""
        del rng
        features = self.task.spec.inputs[0]
        return Examples(
            torch.empty(episodes, 0, features),
            torch.empty(episodes, 0),
            torch.from_numpy(self.blank(features)).repeat(episodes, 1),
            torch.zeros((), dtype=torch.int64),
        )

    def step(self, state: Examples, batch: Batch) -> tuple[Examples, Tensor]:
        """Answer, append, refit if it is due."""
        answers = self.predict(state, batch.inputs)
        inputs = torch.cat([state.inputs, batch.inputs], 1)
        targets = torch.cat([state.targets, batch.targets[..., 0]], 1)
        fit, fitted, seen = state.fit, state.fitted, inputs.shape[1]
        if seen > fitted.item() * (1.0 + self.growth):
            pairs = zip(inputs.double().cpu().numpy(), targets.double().cpu().numpy(), strict=True)
            fit = torch.from_numpy(np.stack([self.fit(x, y) for x, y in pairs])).to(inputs.device)
            fitted = torch.full_like(fitted, seen)
        return Examples(inputs, targets, fit, fitted), answers

    def predict(self, state: Examples, inputs: Tensor) -> Tensor:
        """Answer with the fit so far, (E, N, 1)."""
        return self.answer(state.fit, inputs.double()).to(inputs.dtype).unsqueeze(-1)
