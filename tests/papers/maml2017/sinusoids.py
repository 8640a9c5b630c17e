"""Sinusoids y = A·sin(x − b), of each of which a few points are seen: few-shot regression.

Source: Finn, Abbeel and Levine 2017, §5.1.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Batch, Phase, Spec, Split
from l2l_cli.models.mlp import mlp
from l2l_cli.models.model import Model, glorot
from l2l_cli.tasks.base import Episode, Regression

AMPLITUDES, PHASES, INPUTS = (0.1, 5.0), (0.0, math.pi), (-5.0, 5.0)
"""Ranges from which A, b and x are drawn uniformly."""


class FewShots(Episode):
    """E sinusoids: the same shots at every step but the last, which holds other points, their targets hidden."""

    def __init__(self, episodes: int, shots: int, updates: int, told: bool, rng: Generator) -> None:
        amplitude, phase = (uniform((episodes, 1, 1), *ends, rng) for ends in (AMPLITUDES, PHASES))
        self.updates = updates
        support, query = (uniform((episodes, shots, 1), *INPUTS, rng) for _ in range(2))
        self._batches = [self._seen(inputs, amplitude, phase, told) for inputs in (support, query)]

    def _seen(self, inputs: Tensor, amplitude: Tensor, phase: Tensor, told: bool) -> tuple[Tensor, Tensor]:
        targets = amplitude * (inputs - phase).sin()
        if not told:
            return inputs, targets
        return torch.cat([inputs, amplitude.expand_as(inputs), phase.expand_as(inputs)], -1), targets

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return the shots, (E, shots, inputs), or from step ``updates`` on the points that are scored."""
        del split
        hidden = step >= self.updates
        inputs, targets = self._batches[int(hidden)]
        return Batch(inputs, targets, inputs.new_full((len(inputs),), float(not hidden)))


class Sinusoids(Regression):
    """Fit 1–40–40–1 ReLU units to a sinusoid by a few steps of gradient descent on a few of its points.

    Deviation: θ₀ is drawn by Glorot's rule before meta-training; the paper does not say how.

    Args:
        shots: Number K of points that are seen, and of other points that are scored.
        updates: Number of gradient steps, each on all K points.
        told: Whether the network is told A and b as two further inputs: the paper's oracle.
    """

    def __init__(self, shots: int = 10, updates: int = 1, told: bool = False) -> None:
        self.shots, self.updates, self.told = shots, updates, told
        self.horizon = updates + 1
        inputs = 3 if told else 1
        self.model = Model(mlp(inputs, [40, 40], 1, "relu"), glorot)
        self.spec = Spec(inputs=(inputs,), targets=(1,), examples=shots, hides=True)

    def sample(self, episodes: int, seed: int, phase: Phase) -> FewShots:
        """Draw E sinusoids and their points."""
        rng = generator(seed, "sinusoids", phase)
        return FewShots(episodes, self.shots, self.updates, self.told, rng)
