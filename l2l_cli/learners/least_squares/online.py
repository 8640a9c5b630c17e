"""Online least squares on learned features with a learned prior, as a learner.

    y = φ(x)·w + b + noise,    w ~ Σ_k π_k N(c_k, L_k L_kᵀ)

Within an episode w is learned: recursive least squares gives its posterior under each component, together with the
component's evidence.  The features φ, the prior and the noise are meta-learned.

Source: von Oswald et al. 2023, "Uncovering mesa-optimization algorithms in transformers" (arXiv 2309.05858), §2, for a
layer that performs recursive least squares; the task is that of Hochreiter, Younger and Conwell 2001, §3.
Names: φ → ``features``; π, c, L → ``prior``; w → ``Hypotheses``.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid

from l2l_cli.core.random import generator, normal, uniform
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.learners.base import Learner
from l2l_cli.learners.least_squares import likelihood
from l2l_cli.learners.least_squares.hypotheses import (
    DEAD,
    Hypotheses,
    Prior,
    View,
    changing,
    conditioned,
    forgetting,
    kept_where,
    settled,
    unconditioned,
)
from l2l_cli.learners.least_squares.likelihood import Ahead
from l2l_cli.learners.least_squares.upkeep import Upkeep
from l2l_cli.tasks.base import Regression, Task

MATRIX_SECONDS = 3e-9
"""Seconds that an example takes for each number of a hypothesis's covariance."""

NOISE = 1e-3
"""Variance of the noise at the start of meta-training, in addition to ``least_noise``."""

SPREAD = 0.1
"""Standard deviation of the components' means before the prior is fitted."""


class OnlineLeastSquares(Learner[Hypotheses]):
    """Recursive least squares on learned features, under a mixture of Gaussians as prior.

    The answer is the posterior mean.  With gradient=evidence, the features, a Gaussian prior and the noise are fitted
    first, and then the mixture; see ``meta.evidence``.

    Deviation: in the paper a layer's targets are learned too, layers are stacked, and there is no evidence.  This one
    is a single layer, whose targets are the task's.

    Args:
        task: Task that is scored by the squared error.
        hidden: Tanh units between the inputs and the features.
        dimensions: Number D of features.
        components: Number K of Gaussians in the prior.
        upkeep: Treatment of hypotheses between two examples; None suits functions that do not change.
        least_noise: Lower bound of the variance of the noise.  Targets that take only a few values need a large bound,
            since their density is unbounded: features that predict some functions exactly would outweigh those that
            tell all functions apart.
        initial_seed: Seed of the initial weights.

    Raises:
        ValueError: A number is out of range, or the task is scored by another loss.
    """

    may_rest = True  # the share of a lone component has no effect, nor has the mean of a wide prior

    def __init__(
        self,
        task: Task,
        hidden: int = 64,
        dimensions: int = 16,
        components: int = 64,
        upkeep: Upkeep | None = None,
        least_noise: float = 1e-11,
        initial_seed: int = 0,
    ) -> None:
        super().__init__(task)
        _check(task, min(hidden, dimensions, components), least_noise)
        self.components, self.least_noise = components, least_noise
        self.upkeep = Upkeep() if upkeep is None else upkeep
        self.targets = math.prod(task.spec.targets)
        below, above = nn.Linear(math.prod(task.spec.inputs), hidden), nn.Linear(hidden, dimensions)
        self.features = nn.Sequential(below, nn.Tanh(), above)
        self.mean = nn.Parameter(torch.zeros(self.targets, dimensions))
        self.offset = nn.Parameter(torch.zeros(self.targets))
        self.log_noise = nn.Parameter(torch.tensor(math.log(NOISE)))
        self.keep = _logit(self.upkeep.forgetting) if self.upkeep.forgetting < 1 else None
        self.hazard = _logit(self.upkeep.hazard) if self.upkeep.hazard > 0 else None
        if components > 1:
            self.shares = nn.Parameter(torch.zeros(components))
            self.centres = nn.Parameter(torch.zeros(components, self.targets, dimensions))
            self.roots = nn.Parameter(torch.eye(dimensions).repeat(components, 1, 1))
        self._reset(below, above, generator(initial_seed, "online_least_squares"))

    @torch.no_grad()
    def _reset(self, below: nn.Linear, above: nn.Linear, rng: Generator) -> None:
        for layer, scale in ((below, 1.0), (above, 0.5)):
            bound = layer.in_features**-0.5
            layer.weight.copy_(uniform(tuple(layer.weight.shape), -scale * bound, scale * bound, rng))
            layer.bias.copy_(uniform(tuple(layer.bias.shape), -bound, bound, rng))
        if self.components > 1:
            self.centres.copy_(normal(tuple(self.centres.shape), rng, SPREAD))

    @property
    def prior(self) -> Prior:
        """The prior of w; a single component is N(mean, I), since the layer of features can learn the whitening."""
        if self.components == 1:
            eye = torch.eye(self.mean.shape[1], dtype=self.mean.dtype, device=self.mean.device)
            return Prior(torch.zeros_like(self.mean[:1, :1]), self.mean[None, None], eye[None, None])
        parts = self.shares.log_softmax(0), self.mean + self.centres, self.roots.tril()
        return Prior(*(part.unsqueeze(0) for part in parts))

    @property
    def noise(self) -> Tensor:
        """Variance of the noise, ()."""
        return self.log_noise.exp() + self.least_noise

    def step_seconds(self, episodes: int) -> float:
        """Return roughly how many seconds a step takes on one core, for E episodes side by side."""
        alive = self.components if self.upkeep.settle is None or self.keep is not None else min(self.components, 4)
        alive += 0 if self.hazard is None else self.upkeep.spare + self.components
        return episodes * self.task.spec.examples * alive * self.mean.shape[1] ** 2 * MATRIX_SECONDS

    def single(self) -> Self:
        """Return a copy, float64, whose prior is the single Gaussian N(mean, I)."""
        twin = copy.deepcopy(self, {id(self.task): self.task}).double()
        twin.components, twin.upkeep = 1, replace(self.upkeep, settle=None)
        return twin

    def fitted(self, log_share: Tensor, mean: Tensor, covariance: Tensor) -> Params:
        """Return the part of φ, by name, that makes the prior a mixture of K Gaussians.

        Args:
            log_share: Logarithms of the shares, (K,).
            mean: Means minus that of the single Gaussian, (K, M, D).
            covariance: Covariances, (K, D, D).
        """
        parts = {"shares": log_share, "centres": mean, "roots": torch.linalg.cholesky(covariance)}
        return {name: value.to(self.mean) for name, value in parts.items()}

    def ahead(self, batches: Batches) -> Ahead:
        """Predict each example of an episode, from the first on, from those before it under the single Gaussian.

        The T · N examples of T steps follow each other, (E, T · N).  Surprises and log densities are float64, and 0
        where targets are hidden.
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
        """Start from the prior; where functions change, there is room for further hypotheses."""
        del rng
        known = unconditioned(self.prior, episodes)
        if self.hazard is None:
            return known
        room = known.at(torch.zeros(episodes, self.upkeep.spare, dtype=torch.int64, device=self.mean.device))
        room = room._replace(log_evidence=torch.full_like(room.log_evidence, DEAD))
        return Hypotheses(*(torch.cat(pair, 1) for pair in zip(room, known, strict=True)))

    def step(self, state: Hypotheses, batch: Batch) -> tuple[Hypotheses, Tensor]:
        """Answer with the posterior mean, then condition on each of the N examples."""
        state, answers = self._step(state, self.prior, self.features(batch.inputs.flatten(2)), batch)
        return state, answers

    def predict(self, state: Hypotheses, inputs: Tensor) -> Tensor:
        """Answer with the posterior mean."""
        return self._answers(state, self._views(self.prior, self.features(inputs.flatten(2))))

    def unroll(self, state: Hypotheses, batches: Batches) -> tuple[Hypotheses, Tensor]:
        """Step through all batches, with a single hypothesis per episode once all episodes are settled."""
        features, prior = self.features(batches.inputs.flatten(3)), self.prior
        answers, whole, alone = [], None, self._alone_from(state, batches)
        for step in range(batches.steps):
            if step == alone:
                whole = state
                one = state.at(state.log_evidence.argmax(1, keepdim=True))
                prior, state = prior.of_one(one.component), one._replace(component=torch.zeros_like(one.component))
            state, answer = self._step(state, prior, features[step], batches.at(step))
            answers.append(answer)
        if whole is not None:
            mean, root, age = (part.expand_as(old) for part, old in zip(state[2:], whole[2:], strict=True))
            state = whole._replace(mean=mean, root=root, age=age)
        return state, torch.stack(answers)

    @property
    def _settle(self) -> int | None:
        # With forgetting, hypotheses return to the prior, where the components differ again.
        return self.upkeep.settle if self.keep is None else None

    def _alone_from(self, state: Hypotheses, batches: Batches) -> int:
        """Return the step from which on only one hypothesis of each episode remains; T if there is none."""
        if self._settle is None or self.hazard is not None or self.components == 1:
            return batches.steps
        shown = batches.inputs.new_ones(batches.steps, 1) if batches.shown is None else batches.shown
        before = state.age[:, 0] + batches.inputs.shape[2] * (shown.cumsum(0) - shown)
        return int((before < self._settle).any(1).sum())

    def _views(self, prior: Prior, features: Tensor) -> list[View]:
        """Return how the prior's components see each of N examples, features (E, N, D)."""
        return [prior.view(each) for each in features.unbind(1)]

    def _answers(self, state: Hypotheses, views: list[View]) -> Tensor:
        answers = torch.stack([self._of(state, view).expected(state) for view in views], 1) + self.offset
        return answers.reshape(*answers.shape[:2], *self.task.spec.targets)

    def _of(self, state: Hypotheses, view: View) -> View:
        # With a single component there is nothing to select.
        return view if self.components == 1 or view.base.shape[1] == 1 else view.of(state)

    def _step(self, state: Hypotheses, prior: Prior, features: Tensor, batch: Batch) -> tuple[Hypotheses, Tensor]:
        """Answer N examples with features (E, N, D), and learn from them."""
        views, known, noise = self._views(prior, features), state, self.noise
        targets = batch.targets.reshape(*features.shape[:2], self.targets) - self.offset
        for index, whole in enumerate(views):
            view = self._of(known, whole)
            known = conditioned(known, view, targets[:, index], noise)
            if self._settle is not None and whole.base.shape[1] > 1:
                known = settled(known, view.log_share, self._settle)
            if self.hazard is not None:
                known = self._changed(known, prior)
            elif self.keep is not None:
                known = forgetting(known, self.keep.sigmoid())
        return kept_where(batch.shown, state, known), self._answers(state, views)

    def _changed(self, known: Hypotheses, prior: Prior) -> Hypotheses:
        assert self.hazard is not None
        episodes = len(known.age)
        share = prior.log_share.expand(episodes, -1).gather(1, known.component)
        fresh = unconditioned(prior, episodes)
        return changing(known, share, fresh, logsigmoid(self.hazard), logsigmoid(-self.hazard))


def _logit(share: float) -> nn.Parameter:
    return nn.Parameter(torch.logit(torch.tensor(share)))


def _check(task: Task, least: int, least_noise: float) -> None:
    if not isinstance(task, Regression):
        raise ValueError(
            f"learner online_least_squares answers with a mean, which is best only under the squared error, but "
            f"{type(task).__name__} is scored by another loss; try learner=weights_in_cell or logistic_regression"
        )
    if least < 1 or least_noise <= 0:
        raise ValueError(
            f"hidden, dimensions and components must be at least 1, and least_noise above 0: not {least}, {least_noise}"
        )
