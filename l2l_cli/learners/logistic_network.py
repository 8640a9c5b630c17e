"""The common base of the networks of Hochreiter, Younger and Conwell 2001, and their recurrent network.

Source: Hochreiter, Younger and Conwell 2001, §2, §3.1.  All units but the inputs are logistic with a bias; the first
layer reads (x_t, y_{t−1}), a bias and activations of step t − 1; weights start from U[−0.1, 0.1].  What is learned
within an episode is held in the activations.

Deviation: the paper does not say what y_0 is; ours is 0.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Batch
from l2l_cli.learners.base import Learner
from l2l_cli.tasks.base import Task

State = TypeVar("State")


class LogisticNetwork(Learner[State]):
    """A network that reads one example per step and answers the next; its weights are fixed within an episode.

    Its state is a NamedTuple of activations (E, ...), among them the last target, ``previous`` (E, targets).

    Args:
        task: Task whose targets lie in [0, 1].
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if task.spec.examples != 1:
            raise ValueError(
                f"{type(self).__name__} reads one example a step; {type(task).__name__} gives {task.spec.examples} "
                "at once"
            )
        if task.spec.hides:
            raise ValueError(
                f"{type(self).__name__} reads every target, as in the paper, but {type(task).__name__} hides some; "
                "choose learner=lstm, which reads whether a target is shown"
            )
        self.targets = math.prod(task.spec.targets)
        self.external = math.prod(task.spec.inputs) + self.targets

    @abstractmethod
    def advance(self, state: State, inputs: Tensor) -> tuple[State, Tensor]:
        """Compute one step from inputs (E, D); the answer is (E, targets).  ``previous`` stays as it is."""

    def draw(self, spread: float, seed: int) -> None:
        """Draw all weights from U[−spread, spread]."""
        rng = generator(seed, "logistic_network")
        with torch.no_grad():
            for value in self.parameters():
                value.copy_(uniform(tuple(value.shape), -spread, spread, rng))

    def step(self, state: State, batch: Batch) -> tuple[State, Tensor]:
        """Answer x_t given y_{t−1}, then keep y_t for the next step."""
        state, answer = self.advance(state, batch.inputs.flatten(1))
        known: Any = state
        return known._replace(previous=batch.targets.flatten(1)), answer.view_as(batch.targets)

    def predict(self, state: State, inputs: Tensor) -> Tensor:
        """Answer each of N inputs as if it came next, without changing the state."""
        episodes, count = inputs.shape[:2]
        activations: Any = state
        repeated = activations._make(value.repeat_interleave(count, 0) for value in activations)
        _, answers = self.advance(repeated, inputs.reshape(episodes * count, -1))
        return answers.reshape(episodes, count, *self.task.spec.targets)


class HiddenState(NamedTuple):
    """Activations of the hidden layer (E, H) and the last target (E, targets)."""

    hidden: Tensor
    previous: Tensor


class Recurrent(LogisticNetwork[HiddenState]):
    """One fully recurrent hidden layer: Table 1's networks A and B.

    Args:
        task: Task whose targets lie in [0, 1].
        hidden: Units H.
        spread: Bound of the initial weights, drawn from U[−spread, spread]; the paper's 0.1.
        initial_seed: Seed of the initial weights.
    """

    def __init__(self, task: Task, hidden: int = 20, spread: float = 0.1, initial_seed: int = 0) -> None:
        super().__init__(task)
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {hidden}")
        self.hidden = hidden
        self.first = nn.Parameter(torch.empty(hidden, self.external + 1 + hidden))
        self.readout = nn.Parameter(torch.empty(self.targets, hidden + 1))
        self.draw(spread, initial_seed)

    def init(self, episodes: int, rng: Generator) -> HiddenState:
        """Start from zero activations and y_0 = 0."""
        del rng
        return HiddenState(self.first.new_zeros(episodes, self.hidden), self.first.new_zeros(episodes, self.targets))

    def advance(self, state: HiddenState, inputs: Tensor) -> tuple[HiddenState, Tensor]:
        """Advance the hidden layer and read out the answer."""
        one = torch.ones_like(inputs[:, :1])
        hidden = torch.sigmoid(torch.cat([inputs, state.previous, one, state.hidden], 1) @ self.first.T)
        answer = torch.sigmoid(torch.cat([hidden, one], 1) @ self.readout.T)
        return HiddenState(hidden, state.previous), answer
