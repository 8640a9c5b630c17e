"""Meta-training by the likelihood of the targets: features by gradients, then a mixture prior by EM."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator
from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Batches, Phase
from l2l_cli.core.vectors import flattened
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.learners.least_squares.online import OnlineLeastSquares
from l2l_cli.meta.gradient import Estimate, Estimator, Progress, meta_gradient
from l2l_cli.meta.mixture import Found, Mixture

TOGETHER = 1000
"""Number of functions whose weights are found side by side."""

FEW = 8
"""Number of functions whose loss is shown in the second stage."""

COPIES = 3
"""Number of copies of the large tensors that are in memory at once."""

OLD = 0.5
"""Share of a window's examples for which a function must have been in force to count as found."""


class PriorFit(NamedTuple):
    """The number of steps of expectation maximisation so far, (), and the resulting mixture; see ``Mixture``."""

    steps: Tensor
    log_share: Tensor
    mean: Tensor
    covariance: Tensor


class Evidence(Estimator):
    """The gradient of −log p(y_1 … y_T) of a least-squares learner; see ``Estimator``.

    In a first stage the learner's prior is treated as a single Gaussian, and the mean over examples of the log density
    of each, given those before, is differentiated.  In a second stage, for a learner with several components, the
    features stay fixed: the weights of many functions on them are computed once, and each update fits the prior to
    these by a step of expectation maximisation, which needs neither a gradient nor the optimizer.

    Deviation: von Oswald et al. 2023 train by the squared error; the likelihood weights a late, small error as much as
    an early, large one.

    Args:
        episodes: Number E of functions in an update of the first stage.
        window: Number T of steps of each, from the first on; None is the task's horizon.
        until: Share of all updates that the first stage takes.
        functions: Number of functions that the prior is fitted to.
        examples: Number of examples of each of these; where functions change, those that were in force for less than
            half of the examples are left out.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        episodes: int = 64,
        window: int | None = 48,
        until: float = 0.95,
        functions: int = 40_000,
        examples: int = 48,
    ) -> None:
        super().__init__(episodes, window, None)
        if not 0 < until <= 1 or min(functions, examples) < 1:
            raise ValueError(
                f"until must be in (0, 1], functions and examples at least 1, not {until}, {functions} and {examples}"
            )
        self.until, self.functions, self.examples = until, functions, examples
        self._found: tuple[int, Tensor, Found] | None = None

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin the ``draw``-th set of E functions of a seed, with a prior that has not been fitted.

        Raises:
            UsageError: The learner is not ``OnlineLeastSquares``.
        """
        del done
        learner = _owner(learner)
        steps = min(self.window or learner.task.horizon, learner.task.horizon)
        numbers = [torch.tensor(number, device="cpu") for number in (seed, draw, 0, steps)]
        return Progress(numbers[0], numbers[1], numbers[2], numbers[3], _unfitted(learner))

    def bytes_of(self, learner: Learner[Any]) -> tuple[float, float]:
        """Return roughly how many bytes the second stage takes, and how many the first takes for each function."""
        owner = _owner(learner)
        size, number = owner.mean.shape[1], 8 * COPIES
        row = size * size / 2 + owner.mean.numel() + owner.components
        found = self.functions * row + TOGETHER * (size * size + self.examples * size)
        steps = min(self.window or owner.task.horizon, owner.task.horizon) * owner.task.spec.examples
        return number * found, number * steps**2 * (1 if owner.hazard is None else steps)

    def learner_state(self, learner: Learner[Any], progress: Progress) -> object:
        """Return the state before the first example."""
        return learner.init(int(self.window_of(learner, progress).targets.shape[1]), generator(int(progress.seed)))

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Differentiate the likelihood of new functions; or, in the second stage, improve the prior."""
        state = progress.state
        if progress.step >= progress.horizon:
            progress = self.begin(learner, int(progress.seed), int(progress.draw) + 1, done)._replace(state=state)
        present = _owner(self.on_present(learner, progress))
        batches = self.window_of(present, progress)
        progress = progress._replace(step=progress.horizon)
        if present.components > 1 and done >= self.until:
            return self._improved(present, progress, batches)
        ahead = present.ahead(batches)
        loss = ahead.surprise.detach().square().mean().to(batches.targets)
        objective = -ahead.log_density.mean()
        return progress, Estimate(meta_gradient(present, objective, batches.steps), objective.detach(), loss)

    @torch.no_grad()
    def _improved(self, learner: OnlineLeastSquares, progress: Progress, batches: Batches) -> tuple[Progress, Estimate]:
        """Take a step of expectation maximisation; the loss is that of a few functions before the step."""
        seed, fitting = int(progress.seed), progress.state
        found, mixture = self._weights(learner, seed), Mixture(*fitting[1:])
        if not fitting.steps:
            mixture = Mixture.start(found, learner.components, generator(seed, "mixture"))
        mixture = mixture.improved(found)
        phi = phi_of(learner) | learner.fitted(*mixture[:2], mixture.covariance + found.doubt)
        few = Batches(batches.inputs[:, :FEW], batches.targets[:, :FEW])
        loss = learner.losses(learner.init(few.targets.shape[1], generator(seed)), few)[1].mean()
        still = {name: torch.zeros_like(value) for name, value in phi_of(learner).items()}
        objective = -mixture.log_joint(found).logsumexp(1).mean()
        progress = progress._replace(state=PriorFit(fitting.steps + 1, *mixture))
        return progress, Estimate(still, objective, loss, phi=phi)

    def _weights(self, learner: OnlineLeastSquares, seed: int) -> Found:
        """Return the weights of all functions that the prior is fitted to; they are found only once."""
        features = flattened({name: value.detach().clone() for name, value in learner.features.named_parameters()})
        if self._found is None or self._found[0] != seed or not torch.equal(self._found[1], features):
            self._found = seed, features, self._find(learner, seed)
        return self._found[2]

    def _find(self, learner: OnlineLeastSquares, seed: int) -> Found:
        """Learn some functions with the single Gaussian, and keep the posterior of those that have not just begun."""
        single, weights, doubt = learner.single(), [], []
        for number, start in enumerate(range(0, self.functions, TOGETHER)):
            count = min(TOGETHER, self.functions - start)
            task = self.on_draw(learner, seed, number).task
            steps = min(-(-self.examples // task.spec.examples), task.horizon)
            batches = task.sample(count, derive(seed, "found", number), Phase.META_TRAIN).batches(0, steps)
            double = tree_map(lambda value: value.double(), batches)
            state, _ = single.unroll(single.init(count, generator(seed)), double)
            best = state.at(state.log_evidence.argmax(1, keepdim=True))
            old = best.age[:, 0] >= OLD * steps * task.spec.examples
            weights.append(best.mean[old, 0])
            doubt.append(best.root[old, 0] @ best.root[old, 0].mT)
        return Found.of(torch.cat(weights), torch.cat(doubt).mean(0))


def _owner(learner: Learner[Any]) -> OnlineLeastSquares:
    if not isinstance(learner, OnlineLeastSquares):
        raise UsageError(
            "gradient=evidence needs the likelihood of a learner's targets, which learner=online_least_squares gives "
            f"and {type(learner).__name__} does not; use gradient=backprop"
        )
    return learner


def _unfitted(learner: OnlineLeastSquares) -> PriorFit:
    zeros = [torch.zeros_like(part[0], dtype=torch.float64) for part in learner.prior]
    return PriorFit(torch.tensor(0, device="cpu"), *zeros)
