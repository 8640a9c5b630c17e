"""Random quadratics f(θ) = ‖Wθ − y‖² / d.

Source: Andrychowicz et al. 2016, §3.1: W (10, 10) and y (10) with i.i.d. Gaussian entries.
"""

from __future__ import annotations

from torch import Tensor

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Batches, Phase, Spec, Split
from l2l_cli.models.mlp import LinearMap
from l2l_cli.models.model import Model, gaussian
from l2l_cli.tasks.base import Episode, Regression


class QuadraticEpisode(Episode):
    """E fixed problems: the same W (E, d, d) and y (E, d) at every step, with nothing held out.

    Args:
        matrix: Matrices W, (E, d, d).
        vector: Vectors y, (E, d).
    """

    def __init__(self, matrix: Tensor, vector: Tensor) -> None:
        self._batch = Batch(matrix, vector)

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Return W as inputs (E, d, d) and y as targets (E, d)."""
        del step, split
        return self._batch

    def batches(self, start: int, stop: int, split: Split = Split.TRAIN) -> Batches:
        """Return the one batch T times over, as a view."""
        del split
        inputs, targets = (value.expand(stop - start, *value.shape) for value in self._batch[:2])
        return Batches(inputs, targets)


class Quadratic(Regression):
    """Quadratics in ``dimension`` variables.

    Deviation: the loss is the mean, not the sum, over the residuals; the curves of the paper's Figure 4 start near 1,
    which only the mean does.  Learning rates are larger by the factor ``dimension`` than with the sum.

    Args:
        dimension: Number of variables d; the paper's 10.
        horizon: Number of optimization steps in an episode; the paper's 100.
        start: Standard deviation of θ₀ (the paper says only that it is Gaussian, its code 0.01).
    """

    def __init__(self, dimension: int = 10, horizon: int = 100, start: float = 0.01) -> None:
        if dimension < 1 or horizon < 1 or start < 0:
            raise ValueError(
                f"dimension and horizon must be at least 1 and start at least 0, not {dimension}, {horizon}, {start}"
            )
        self.dimension, self.horizon = dimension, horizon
        self.model = Model(LinearMap(dimension), gaussian(start))
        self.spec = Spec(inputs=(dimension,), targets=(), examples=dimension)

    def sample(self, episodes: int, seed: int, phase: Phase) -> QuadraticEpisode:
        """Draw E problems."""
        rng = generator(seed, "quadratic", phase)
        d = self.dimension
        return QuadraticEpisode(normal((episodes, d, d), rng), normal((episodes, d), rng))
