"""Meta-gradients without back-propagation, estimated from the losses at random perturbations of φ.

Nothing is differentiated, so learners need no derivative, and long unrolls cost no memory.  The estimated gradient is
that of the meta-loss smoothed by N(0, σ²); unlike ``Backprop`` of a ``Descent``, it includes the effect of φ through
the gradients that a rule receives.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.random import generator, normal
from l2l_cli.core.tree import detach
from l2l_cli.core.types import Batches
from l2l_cli.core.vectors import unflattened
from l2l_cli.learners.base import Learner, State, phi_of
from l2l_cli.meta.gradient import Estimate, Estimator, Progress, set_phi
from l2l_cli.meta.horizon import Horizon
from l2l_cli.meta.loss import MetaLoss, Trajectory
from l2l_cli.optimizers.base import added, positive

UNROLLS = 2
"""Number of plain unrolls that take about as long as one that is differentiated, with or without kernels."""


class Antithetic(Estimator, ABC):
    """Antithetic sampling: the losses at φ + ε and φ − ε, ε ~ N(0, σ²), are compared, so that even terms cancel.

    Both members of a pair have the same episodes and the same start, so that they differ only in ε.

    Args:
        episodes: Number of episodes side by side, the same for every pair.
        pairs: Number of pairs; with P weights, the cosine similarity to the gradient is about √(pairs / (P + pairs)).
        sigma: Standard deviation of ε, the same for every weight.
        window: Number of steps in a window; None is the whole episode.
        horizon: Length of episodes; None is the task's own horizon.
        loss: Meta-loss of a window; None is the mean along the trajectory.
    """

    def __init__(
        self,
        episodes: int = 32,
        pairs: int = 16,
        sigma: float = 0.01,
        window: int | None = None,
        horizon: Horizon | None = None,
        loss: MetaLoss | None = None,
    ) -> None:
        super().__init__(episodes, window, horizon)
        if pairs < 1:
            raise ValueError(f"pairs must be at least 1, not {pairs}")
        positive(sigma=sigma)
        self.pairs, self.sigma = pairs, sigma
        self.work = 2 * pairs / UNROLLS
        self.loss = loss if loss is not None else Trajectory()

    def noise(self, learner: Learner[Any], progress: Progress) -> Tensor:
        """Draw the next window's ε, (pairs, P), as a pure function of seed, draw and step."""
        rng = generator(int(progress.seed), "perturbation", int(progress.draw), int(progress.step))
        size = sum(value.numel() for value in phi_of(learner).values())
        return normal((self.pairs, size), rng, self.sigma)

    def unroll_at(
        self, learner: Learner[State], shift: Tensor, state: State, batches: Batches, reached: float
    ) -> tuple[State, Tensor, Tensor]:
        """Return the state after a window at φ + shift, (P,), its objective and its mean loss, both ()."""
        with torch.no_grad(), moved(learner, shift):
            state, losses = learner.losses(state, batches)
            return detach(state), self.loss(losses, reached, batches.shown), losses.mean()

    def estimate_from(
        self, learner: Learner[Any], shifts: Tensor, pairs: Tensor, mean: Tensor, count: float
    ) -> Estimate:
        """Return Σ shift · (L₊ − L₋) / (2 · pairs · σ²) by φ's names.

        Args:
            learner: Learner that has φ.
            shifts: Perturbations, (pairs, P).
            pairs: Objectives L₊ and L₋, (pairs, 2).
            mean: Objective and mean loss at φ, (2,).
            count: Number of episodes that objectives are means over.
        """
        vector = (pairs[:, 0] - pairs[:, 1]) @ shifts / (2 * self.pairs * self.sigma**2)
        return Estimate(unflattened(vector, phi_of(learner)), mean[0], mean[1], count)


class EvolutionStrategies(Antithetic):
    """Evolution strategies: φ is perturbed anew in every window, from the state that φ itself has reached.

    The state before the window is held constant, so a window shorter than the episode gives an estimate with the bias
    of truncated back-propagation.  A window costs 2 · pairs + 1 unrolls.

    Source: Salimans et al. 2017, "Evolution strategies as a scalable alternative to reinforcement learning"; truncated
    as in Vicol et al. 2021, "Unbiased gradient estimation in unrolled computation graphs with persistent evolution
    strategies", Algorithm 1.
    """

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Score all pairs on one window, then unroll it with φ itself."""
        progress = self.resume(learner, progress, done)
        learner = self.on_present(learner, progress)
        batches, shifts = self.window_of(learner, progress), self.noise(learner, progress)
        reached = self.reached(progress, batches)
        pairs = [
            self.unroll_at(learner, side, progress.state, batches, reached)[1]
            for shift in shifts
            for side in (shift, -shift)
        ]
        state, *mean = self.unroll_at(learner, torch.zeros_like(shifts[0]), progress.state, batches, reached)
        progress = progress._replace(step=progress.step + batches.steps, state=state)
        objectives, count = torch.stack(pairs).view(-1, 2), self.loss.count(batches)
        return progress, self.estimate_from(learner, shifts, objectives, torch.stack(mean), count)


class Particles(NamedTuple):
    """The learner's state of each particle, (+, −) in turn, and each pair's Σ ε in the episode so far, (pairs, P)."""

    states: tuple[Any, ...]
    shift: Tensor


class PersistentES(Antithetic):
    """Persistent evolution strategies: φ is perturbed anew in every window, and every particle keeps its own state.

    A window's loss is credited to all perturbations of its episode so far.  This makes the sum of an episode's
    estimates unbiased for the gradient of the sum of its windows' (smoothed) meta-losses, however short the windows
    are, as long as φ is the same throughout; under ``Trajectory`` that sum is the episode's mean loss times the number
    of windows.  The variance grows with the number of windows.  A window costs 2 · pairs unrolls, and 2 · pairs states
    are kept.

    Source: Vicol, Metz, Sohl-Dickstein 2021, "Unbiased gradient estimation in unrolled computation graphs with
    persistent evolution strategies", Algorithm 2.
    """

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin the ``draw``-th set of E episodes of a seed, every particle from the same state."""
        progress = super().begin(learner, seed, draw, done)
        shift = torch.zeros_like(self.noise(learner, progress))
        return progress._replace(state=Particles((progress.state,) * (2 * self.pairs), shift))

    def learner_state(self, learner: Learner[Any], progress: Progress) -> object:
        """Return the first particle's state."""
        del learner
        return progress.state.states[0]

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Unroll one window with every particle; objective and loss are means over the particles."""
        progress = self.resume(learner, progress, done)
        learner = self.on_present(learner, progress)
        batches, noise = self.window_of(learner, progress), self.noise(learner, progress)
        reached = self.reached(progress, batches)
        before: Particles = progress.state
        sides = [side for shift in noise for side in (shift, -shift)]
        unrolls = [
            self.unroll_at(learner, side, state, batches, reached)
            for side, state in zip(sides, before.states, strict=True)
        ]
        states, objectives, losses = zip(*unrolls, strict=True)
        shift, pairs = before.shift + noise, torch.stack(objectives).view(-1, 2)
        progress = progress._replace(step=progress.step + batches.steps, state=Particles(states, shift))
        mean = torch.stack([pairs.mean(), torch.stack(losses).mean()])
        return progress, self.estimate_from(learner, shift, pairs, mean, self.loss.count(batches))


@contextmanager
def moved(learner: Learner[Any], shift: Tensor) -> Iterator[None]:
    """Set a learner's φ to φ + shift, (P,), and restore it bit for bit afterwards, even after an error."""
    phi = {name: value.detach().clone() for name, value in phi_of(learner).items()}
    try:
        set_phi(learner, added(phi, unflattened(shift, phi)))
        yield
    finally:
        set_phi(learner, phi)
