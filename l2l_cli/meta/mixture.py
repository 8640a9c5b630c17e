"""Mixtures of Gaussians by expectation maximisation, as a prior over the weights that were found for many functions.

Source: Dempster, Laird and Rubin 1977; initialised as in Arthur and Vassilvitskii 2007, "k-means++".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

FLOOR = 1e-6
"""Smallest variance of components, in multiples of the mean variance of all weights."""

TINY = 1e-9
"""Smallest share of a component."""

WIDTH = 0.3
"""Initial covariance of each component, as a share of that of all weights."""


class Found(NamedTuple):
    """The weights that were found for n functions.

    Attributes:
        weights: Weights of the M targets of each function, (n, M, D).
        squares: Products of two weights of a target, summed over targets, (n, D (D + 1) / 2): the upper triangle.
        doubt: Posterior covariance of the weights, averaged over functions, (D, D).
    """

    weights: Tensor
    squares: Tensor
    doubt: Tensor

    @classmethod
    def of(cls, weights: Tensor, doubt: Tensor) -> Found:
        """Return weights with their products."""
        row, column = _triangle(doubt)
        squares = sum(each[:, row] * each[:, column] for each in weights.unbind(1))
        return cls(weights, torch.as_tensor(squares), doubt)

    @property
    def covariance(self) -> Tensor:
        """Covariance of the weights about each target's mean, (D, D)."""
        away = self.weights - self.weights.mean(0)
        return torch.einsum("nmd,nme->de", away, away) / (len(away) * away.shape[1])

    @property
    def floor(self) -> Tensor:
        """Covariance that is added to each component's, as a floor, (D, D)."""
        covariance = self.covariance
        return FLOOR * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)


class Mixture(NamedTuple):
    """K Gaussians, each with one covariance for the weights of every target.

    Attributes:
        log_share: Logarithms of the shares, (K,).
        mean: Means, (K, M, D).
        covariance: Covariances, (K, D, D).
    """

    log_share: Tensor
    mean: Tensor
    covariance: Tensor

    @classmethod
    def start(cls, found: Found, components: int, rng: Generator) -> Mixture:
        """Return an initial mixture, centred on functions that are drawn far from each other."""
        flat = found.weights.flatten(1)
        chosen = [int(torch.randint(len(flat), (), generator=rng, device="cpu"))]
        nearest = torch.full((len(flat),), torch.inf).to(flat)
        while len(chosen) < components:
            nearest = torch.minimum(nearest, (flat - flat[chosen[-1]]).square().sum(1))
            mass = nearest.cumsum(0)
            level = torch.rand((), generator=rng, device="cpu", dtype=torch.float64).to(flat) * mass[-1]
            chosen.append(min(int(torch.searchsorted(mass, level)), len(flat) - 1))
        share = torch.full((components,), 1.0 / components).to(flat).log()
        covariance = WIDTH * found.covariance + found.floor
        return cls(share, found.weights[chosen], covariance.repeat(components, 1, 1))

    def improved(self, found: Found) -> Mixture:
        """Return the mixture after a step of expectation maximisation."""
        row, column = _triangle(found.doubt)
        share = self.log_joint(found).softmax(1)
        mass = share.sum(0) + TINY * len(share)
        mean = (share.T @ found.weights.flatten(1) / mass.unsqueeze(1)).view_as(self.mean)
        covariance = torch.empty_like(self.covariance)
        covariance[:, row, column] = share.T @ found.squares / mass.unsqueeze(1)
        covariance[:, column, row] = covariance[:, row, column]
        covariance = (covariance - torch.einsum("kmd,kme->kde", mean, mean)) / mean.shape[1]
        return Mixture((mass / mass.sum()).log(), mean, covariance + found.floor)

    def log_joint(self, found: Found) -> Tensor:
        """Return the logarithm of share times density, up to a constant, (n, K)."""
        row, column = _triangle(found.doubt)
        root = torch.linalg.cholesky(self.covariance)
        precision = torch.cholesky_inverse(root)
        pull = torch.einsum("kde,kme->kmd", precision, self.mean)
        packed = precision[:, row, column] * torch.where(row == column, 1.0, 2.0)
        distance = found.squares @ packed.T - 2.0 * found.weights.flatten(1) @ pull.flatten(1).T
        log_det = 2.0 * root.diagonal(dim1=1, dim2=2).log().sum(1)
        joint: Tensor = self.log_share - 0.5 * (
            distance + (pull * self.mean).sum((1, 2)) + self.mean.shape[1] * log_det
        )
        return joint


def _triangle(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns of the upper triangle of a matrix (D, D), (D (D + 1) / 2,) both."""
    row, column = torch.triu_indices(len(matrix), len(matrix), device=matrix.device)
    return row, column
