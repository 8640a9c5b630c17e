"""Limits: learners that know the task's prior and apply Bayes' rule.

Under squared error the best answer is the posterior mean.  For the Booleans it is a count, for the semi-linear
functions and the quadratics an integral over the coefficients that agree with the observations.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Generator, Tensor

from l2l_cli.core.types import Batch
from l2l_cli.learners.base import Learner
from l2l_cli.learners.bayes.changing_semilinear import ChangingSemiLinearPosterior, Runs
from l2l_cli.learners.bayes.cube_quadrature import cube_slice
from l2l_cli.learners.bayes.quadratic_posterior import Belief, QuadraticPosterior
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.functions import Booleans, QuadraticFunction, SemiLinear
from l2l_cli.tasks.switching import Switching

K = TypeVar("K", bound=tuple[Tensor, ...])


class Knowledge(NamedTuple):
    """The state of a posterior that needs up to two tensors, float64, each with a leading axis E."""

    first: Tensor
    second: Tensor


class Posterior(Protocol[K]):
    """A prior over functions with its update; its state K is a NamedTuple of tensors with a leading axis E."""

    def prior(self, episodes: int) -> K:
        """Return the knowledge before the first example."""

    def mean(self, knowledge: K, inputs: Tensor) -> Tensor:
        """Return E[f(x) | data], (E, N), for inputs (E, N, 2)."""

    def observe(self, knowledge: K, inputs: Tensor, target: Tensor) -> K:
        """Condition on f(x) = y for inputs (E, 2) and targets (E,)."""


class Bayes(Learner[Knowledge | Belief | Runs]):
    """A learner that answers with the posterior mean.

    Raises:
        ValueError: There is no such learner for the task.
    """

    is_limit = True

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.posterior = posterior_of(task)

    def init(self, episodes: int, rng: Generator) -> Knowledge | Belief | Runs:
        """Start from the prior."""
        del rng
        state: Knowledge | Belief | Runs = self.posterior.prior(episodes)
        return state

    def step(self, state: Knowledge | Belief | Runs, batch: Batch) -> tuple[Knowledge | Belief | Runs, Tensor]:
        """Answer, then condition on each of the N examples."""
        answer = self.predict(state, batch.inputs)
        for index in range(batch.inputs.shape[1]):
            inputs, target = batch.inputs[:, index].double(), batch.targets[:, index, 0].double()
            state = self.posterior.observe(state, inputs, target)
        return state, answer

    def predict(self, state: Knowledge | Belief | Runs, inputs: Tensor) -> Tensor:
        """Return the posterior mean, (E, N, 1)."""
        return self.posterior.mean(state, inputs.double()).unsqueeze(-1).to(inputs.dtype)


@singledispatch
def posterior_of(task: Task) -> Posterior[Any]:
    """Return the posterior that belongs to a task."""
    raise ValueError(
        f"no Bayes learner is known for task {type(task).__name__}; there is one for Booleans, SemiLinear and "
        "QuadraticFunction"
    )


@posterior_of.register(Booleans)
class BooleanPosterior:
    """The probability of each truth table; ``first`` is (E, tables).

    Args:
        task: Task with the truth tables.
        hazard: Probability with which the table changes before each further example.
    """

    def __init__(self, task: Booleans, hazard: float = 0.0) -> None:
        self._tables = task.tables.double()
        self._hazard = hazard

    def prior(self, episodes: int) -> Knowledge:
        """Return equal probabilities of all tables."""
        tables = len(self._tables)
        return Knowledge(self._tables.new_full((episodes, tables), 1.0 / tables), self._tables.new_zeros(episodes))

    def mean(self, knowledge: Knowledge, inputs: Tensor) -> Tensor:
        """Return the probability of the answer 1."""
        return (self._answers(inputs) * knowledge.first.unsqueeze(1)).sum(-1)

    def observe(self, knowledge: Knowledge, inputs: Tensor, target: Tensor) -> Knowledge:
        """Exclude the tables that disagree, then allow for a change to any table with the hazard's probability."""
        consistent = knowledge.first * (self._answers(inputs) == target.unsqueeze(-1))
        consistent = consistent / consistent.sum(1, keepdim=True)
        return knowledge._replace(first=(1.0 - self._hazard) * consistent + self._hazard / len(self._tables))

    def _answers(self, inputs: Tensor) -> Tensor:
        index = (2 * inputs[..., 0] + inputs[..., 1]).long()
        return self._tables.T[index]


@posterior_of.register(Switching)
def _(task: Switching) -> Posterior[Any]:
    """Return the posterior with a change-point prior, which knows how often functions change, but not when."""
    hazard = 1.0 / task.every
    match task.family:
        case Booleans():
            return BooleanPosterior(task.family, hazard)
        case SemiLinear():
            return ChangingSemiLinearPosterior(task.family, hazard)
    raise ValueError(
        f"no Bayes learner is known for a {type(task.family).__name__} that changes; only for Booleans and SemiLinear"
    )


@posterior_of.register(SemiLinear)
class SemiLinearPosterior:
    """The uniform distribution over the part of the cube [−1, 1]³ in which the weights must lie.

    There is no noise, so each example determines one linear function of the weights: w·(x, 1) = artanh(2y − 1).  After
    0, 1 or 2 examples the weights lie in the cube, a polygon or a segment; after 3 they are known.
    ``first`` holds up to three rows (x, 1) with their values, (E, 3, 4), and ``second`` their number, (E,).
    """

    def __init__(self, task: SemiLinear) -> None:
        del task

    def prior(self, episodes: int) -> Knowledge:
        """Return no rows."""
        return Knowledge(torch.zeros(episodes, 3, 4, dtype=torch.float64), torch.zeros(episodes, dtype=torch.float64))

    def mean(self, knowledge: Knowledge, inputs: Tensor) -> Tensor:
        """Integrate the logistic function over the slice of the cube that agrees with the examples."""
        count = int(knowledge.second.max())
        extended = torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)
        if count == 0:
            # The prior is symmetric in w and the function odd about ½.
            return torch.full_like(inputs[..., 0], 0.5)
        points, weights = cube_slice(knowledge.first[:, :count, :3], knowledge.first[:, :count, 3])
        values = torch.sigmoid(2.0 * torch.einsum("eni,epi->enp", extended, points))
        return (values * weights.unsqueeze(1)).sum(-1)

    def observe(self, knowledge: Knowledge, inputs: Tensor, target: Tensor) -> Knowledge:
        """Keep the first three examples, which determine the weights."""
        count = int(knowledge.second.max())
        if count == 3:
            return knowledge
        # float32 targets near 0 and 1 lose digits, so the argument is bounded to its known range of ±3.
        value = (0.5 * torch.logit(target, eps=1e-12)).clamp(-3.0, 3.0)
        row = torch.cat([inputs, torch.ones_like(inputs[:, :1]), value.unsqueeze(1)], 1)
        rows = knowledge.first.clone()
        rows[:, count] = row
        return Knowledge(rows, knowledge.second + 1)


posterior_of.register(QuadraticFunction, QuadraticPosterior)
