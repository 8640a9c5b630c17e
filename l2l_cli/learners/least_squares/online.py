"""A learner that is online least squares on learned features, with a learned prior.

    y = φ(x)·w + b + noise,    w ~ Σ_k π_k N(c_k, L_k L_kᵀ)

What is learned within an episode is w: its posterior under each component, one recursive least squares each, and the
components' evidence.  What is meta-learned is the layer φ of features, the prior and the noise.

Source: von Oswald et al. 2023, "Uncovering mesa-optimization algorithms in transformers" (arXiv 2309.05858), §2, for a
layer that is recursive least squares; the task is that of Hochreiter, Younger and Conwell 2001, §3.
Names: φ → ``features``; π, c, L → ``prior``; w → ``Hypotheses``.
"""

from __future__ import annotations

import copy
import math
from typing import Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid

from l2l_cli.core.random import generator, normal, uniform
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.learners.base import Learner
from l2l_cli.learners.least_squares import likelihood
from l2l_cli.learners.least_squares.likelihood import Ahead
from l2l_cli.learners.least_squares.hypotheses import (
    DEAD,
    Hypotheses,
    Prior,
    changing,
    conditioned,
    forgetting,
    kept_where,
    settled,
)
from l2l_cli.tasks.base import Regression, Task

LEAST_NOISE = 1e-11
"""Variance of the noise at least: that of rounding to float32 a number near 1, and some."""

MATRIX_SECONDS = 3e-9
"""Seconds that an example takes for each number of a hypothesis' covariance."""

SPREAD = 0.1
"""Standard deviation of the components' means before the prior is fitted."""


class OnlineLeastSquares(Learner[Hypotheses]):
    """Recursive least squares on learned features, under a mixture of Gaussians as prior.

    The answer is the posterior mean.  By gradient=evidence the features, a Gaussian prior and the noise are found
    first, and then the mixture; see there.

    Deviation: in the paper a layer's targets are learned too, layers are stacked, and there is no evidence.  This one
    is a single layer, whose targets are the task's.

    Args:
        task: Task that is scored by the squared error.
        hidden: tanh units between the inputs and the features.
        dimensions: Features D.
        components: Gaussians K of the prior.
        settle: Examples of a function after which the likeliest component alone goes on; None lets all go on.
        forgetting: Share λ of what is known that stays from one example to the next, at the start of meta-training;
            1 forgets nothing, and is fixed.
        hazard: Probability that the function changes before an example, at the start of meta-training; 0 excludes
            that, and is fixed.
        spare: Hypotheses beside those of a new function that are kept where functions change.
        noise: Variance of the noise at the start of meta-training.
        initial_seed: Seed of the initial weights.

    Raises:
        ValueError: A number is out of range, or the task is scored by another loss.
    """

    may_rest = True  # a single component has no share, and a wide prior no mean

    def __init__(
        self,
        task: Task,
        hidden: int = 32,
        dimensions: int = 16,
        components: int = 64,
        settle: int | None = 32,
        forgetting: float = 1.0,
        hazard: float = 0.0,
        spare: int = 32,
        noise: float = 1e-3,
        initial_seed: int = 0,
    ) -> None:
        super().__init__(task)
        _check(task, min(hidden, dimensions, components, settle or 1, spare), forgetting, hazard, noise)
        self.components, self.settle, self.spare = components, settle, spare
        self.targets = math.prod(task.spec.targets)
        self.features = nn.Sequential(
            nn.Linear(math.prod(task.spec.inputs), hidden), nn.Tanh(), nn.Linear(hidden, dimensions)
        )
        self.mean = nn.Parameter(torch.zeros(self.targets, dimensions))
        self.offset = nn.Parameter(torch.zeros(self.targets))
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise)))
        # Logits, None where it is fixed.
        self.keep = nn.Parameter(torch.logit(torch.tensor(forgetting))) if forgetting < 1 else None
        self.hazard = nn.Parameter(torch.logit(torch.tensor(hazard))) if hazard > 0 else None
        if components > 1:
            self.shares = nn.Parameter(torch.zeros(components))
            self.centres = nn.Parameter(torch.zeros(components, self.targets, dimensions))
            self.roots = nn.Parameter(torch.eye(dimensions).repeat(components, 1, 1))
        self._reset(initial_seed)

    def _reset(self, seed: int) -> None:
        rng = generator(seed, "online_least_squares")
        with torch.no_grad():
            for layer, scale in ((self.features[0], 1.0), (self.features[2], 0.5)):
                bound = layer.in_features**-0.5
                layer.weight.copy_(uniform(tuple(layer.weight.shape), -scale * bound, scale * bound, rng))
                layer.bias.copy_(uniform(tuple(layer.bias.shape), -bound, bound, rng))
            if self.components > 1:
                self.centres.copy_(normal(tuple(self.centres.shape), rng, SPREAD))

    @property
    def prior(self) -> Prior:
        """The prior of w: a single component is N(mean, I), for a layer of features is free to be whitened."""
        if self.components == 1:
            eye = torch.eye(self.mean.shape[1], dtype=self.mean.dtype, device=self.mean.device)
            return Prior(torch.zeros_like(self.offset[:1]), self.mean.unsqueeze(0), eye.unsqueeze(0))
        return Prior(self.shares.log_softmax(0), self.mean + self.centres, self.roots.tril())

    @property
    def noise(self) -> Tensor:
        """Variance of the noise, ()."""
        return self.log_noise.exp() + LEAST_NOISE

    def step_seconds(self, episodes: int) -> float:
        """Return about how long a step takes on one core, E episodes side by side."""
        alive = self.components if self.settle is None or self.keep is not None else min(self.components, 4)
        alive += 0 if self.hazard is None else self.spare + self.components
        return episodes * self.task.spec.examples * alive * self.mean.shape[1] ** 2 * MATRIX_SECONDS

    def single(self) -> Self:
        """Return a copy, float64, whose prior is the single Gaussian N(mean, I)."""
        twin = copy.deepcopy(self, {id(self.task): self.task}).double()
        twin.components, twin.settle = 1, None
        return twin

    def fitted(self, log_share: Tensor, mean: Tensor, covariance: Tensor) -> Params:
        """Return the part of φ, by name, that makes the prior a mixture of K Gaussians.

        Args:
            log_share: Logarithms of the shares, (K,).
            mean: Means less that of the single Gaussian, (K, M, D).
            covariance: Covariances, (K, D, D).
        """
        parts = {"shares": log_share, "centres": mean, "roots": torch.linalg.cholesky(covariance)}
        return {name: value.to(self.mean) for name, value in parts.items()}

    def ahead(self, batches: Batches) -> Ahead:
        """Return what the single Gaussian predicts of each example from those before it, from the first of an episode.

        The T · N examples of T steps come one after the other, (E, T · N); of those with hidden targets both
        are 0.  Float64.
        """
        examples = batches.inputs.shape[2]
        features, targets = self.features(batches.inputs.flatten(3)), batches.targets.flatten(3)
        residuals = targets.reshape(*features.shape[:3], self.targets) - self.offset - features @ self.mean.mT
        parts = [part.double().transpose(0, 1).flatten(1, 2) for part in (features, residuals)]
        shown = None if batches.shown is None else batches.shown.T.repeat_interleave(examples, 1).double()
        if shown is not None:
            parts = [part * shown.unsqueeze(2) for part in parts]
        noise = self.noise.double()
        if self.hazard is not None:
            hazard = self.hazard.double()
            found = likelihood.changing(parts[0], parts[1], noise, logsigmoid(hazard), logsigmoid(-hazard))
        else:
            keep = None if self.keep is None else self.keep.double().sigmoid()
            found = likelihood.stationary(parts[0], parts[1], noise, keep)
        return found if shown is None else Ahead(found.surprise * shown.unsqueeze(2), found.log_density * shown)

    def init(self, episodes: int, rng: Generator) -> Hypotheses:
        """Start from the prior; where functions change there is room for further hypotheses."""
        del rng
        known = self.prior.hypotheses(episodes)
        if self.hazard is None:
            return known
        room = known.at(torch.zeros(episodes, self.spare, dtype=torch.int64, device=self.mean.device))
        room = room._replace(log_weight=torch.full_like(room.log_weight, DEAD))
        return Hypotheses(*(torch.cat(pair, 1) for pair in zip(room, known, strict=True)))

    def step(self, state: Hypotheses, batch: Batch) -> tuple[Hypotheses, Tensor]:
        """Answer with the posterior mean, then condition on each of the N examples."""
        features, targets = self.features(batch.inputs.flatten(2)), self._centred(batch.targets)
        return self._learned(state, features, targets, batch.shown), self._answers(state, features)

    def predict(self, state: Hypotheses, inputs: Tensor) -> Tensor:
        """Answer with the posterior mean."""
        return self._answers(state, self.features(inputs.flatten(2)))

    def unroll(self, state: Hypotheses, batches: Batches) -> tuple[Hypotheses, Tensor]:
        """Step through all batches, with a single hypothesis from where all are settled."""
        features = self.features(batches.inputs.flatten(3))
        answers, whole = [], None
        for step in range(batches.steps):
            if whole is None and self._is_settled(state):
                whole, state = state, state.at(state.log_weight.argmax(1, keepdim=True))
            answers.append(self._answers(state, features[step]))
            shown = None if batches.shown is None else batches.shown[step]
            state = self._learned(state, features[step], self._centred(batches.targets[step]), shown)
        if whole is not None:
            mean, root, age = (part.expand_as(old) for part, old in zip(state[1:], whole[1:], strict=True))
            state = Hypotheses(whole.log_weight, mean, root, age)
        return state, torch.stack(answers)

    def _is_settled(self, state: Hypotheses) -> bool:
        if self.settle is None or self.hazard is not None or self.keep is not None or state.age.shape[1] == 1:
            return False
        return bool(state.age.min() >= self.settle)

    def _answers(self, state: Hypotheses, features: Tensor) -> Tensor:
        answers = state.values(features) + self.offset
        return answers.reshape(*features.shape[:2], *self.task.spec.targets)

    def _centred(self, targets: Tensor) -> Tensor:
        """Return targets (E, N, ...) without the offset, (E, N, M)."""
        return targets.reshape(*targets.shape[:2], self.targets) - self.offset

    def _learned(self, state: Hypotheses, features: Tensor, targets: Tensor, shown: Tensor | None) -> Hypotheses:
        """Return the state after N examples, features (E, N, D) and targets (E, N, M)."""
        known, noise = state, self.noise
        for index in range(features.shape[1]):
            known = conditioned(known, features[:, index], targets[:, index], noise)
            if self.hazard is not None:
                fresh = self.prior.hypotheses(len(features))
                hazard = self.hazard
                known = settled(known, self.settle) if self.settle is not None else known
                known = changing(known, fresh, logsigmoid(hazard), logsigmoid(-hazard))
            elif self.keep is not None:
                known = forgetting(known, self.prior.hypotheses(len(features)), self.keep.sigmoid())
            elif self.settle is not None and known.age.shape[1] > 1:
                known = settled(known, self.settle)
        return kept_where(shown, state, known)


def _check(task: Task, least: int, forgetting: float, hazard: float, noise: float) -> None:
    if not isinstance(task, Regression):
        raise ValueError(
            f"learner online_least_squares answers with a mean, which is best under the squared error alone, and "
            f"{type(task).__name__} is scored by another loss; try learner=weights_in_cell or logistic_regression"
        )
    if least < 1:
        raise ValueError("hidden, dimensions, components, settle and spare must be at least 1")
    if not 0 < forgetting <= 1 or not 0 <= hazard < 1 or noise <= 0:
        raise ValueError(
            f"forgetting must be in (0, 1], hazard in [0, 1) and noise above 0, not {forgetting}, {hazard} and {noise}"
        )
    if forgetting < 1 and hazard > 0:
        raise ValueError("forgetting and hazard are two ways of a function to change: set one of them")
