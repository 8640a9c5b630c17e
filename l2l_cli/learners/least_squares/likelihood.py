"""The likelihood of a whole sequence under one Gaussian prior, N(0, I), from Cholesky factors.

The targets of a sequence are jointly Gaussian, and one factor of their covariance, K = L Lᵀ, gives every prediction
that a recursion would make: with L z = r the surprise at step t is L_tt z_t, and its variance is L_tt².  Derivatives
therefore need no loop over time.  All is float64, since the noise is far smaller than the rounding of K in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_TWO_PI = math.log(2.0 * math.pi)


class Ahead(NamedTuple):
    """Predictions of each example from those before it.

    Attributes:
        surprise: Target minus its expectation, (..., T, M).
        log_density: Logarithm of the density of the targets, (..., T).
    """

    surprise: Tensor
    log_density: Tensor


def stationary(features: Tensor, residuals: Tensor, noise: Tensor, keep: Tensor | None = None) -> Ahead:
    """Predict each of T examples of a function that is fixed, or drifts as in ``hypotheses.forgetting``.

    Args:
        features: Features, (E, T, D).
        residuals: Targets minus the prior's expectation of them, (E, T, M).
        noise: Variance of the noise, ().
        keep: Forgetting factor λ from one example to the next, (); None is 1.
    """
    return _ahead(_covariance(features, noise, keep), residuals)


def changing(features: Tensor, residuals: Tensor, noise: Tensor, log_hazard: Tensor, log_stay: Tensor) -> Ahead:
    """Predict each of T examples if a new function may begin before any of them but the first.

    The sum over all sequences of changes is that of Adams and MacKay 2007, but exact: α_t(s) is the joint density of
    the first t targets and of the current function having begun at s.  It is computed from T Cholesky factors.

    Args:
        features: Features, (E, T, D).
        residuals: Targets minus the prior's expectation of them, (E, T, M).
        noise: Variance of the noise, ().
        log_hazard: Logarithm of the probability of a change, ().
        log_stay: Logarithm of the probability of no change, ().
    """
    steps = features.shape[1]
    late = torch.ones(steps, steps, dtype=torch.bool, device=features.device).triu()  # (start, step)
    # Each start has its own matrix, in which examples before it are uncorrelated with those from it on.
    masked = features.unsqueeze(1) * late.unsqueeze(2)
    each = _ahead(_covariance(masked, noise), residuals.unsqueeze(1).expand(-1, steps, -1, -1))
    joint = torch.where(late[:, 0], each.log_density[:, :, 0], -torch.inf)
    surprise, density, total = [each.surprise[:, 0, 0]], [joint.logsumexp(1)], joint.logsumexp(1)
    for step in range(1, steps):
        begun = torch.where(late[:, step - 1], joint + log_stay, -torch.inf)
        new = torch.nn.functional.one_hot(torch.tensor(step, device=features.device), steps).bool()
        before = torch.where(new, (joint.logsumexp(1) + log_hazard).unsqueeze(1), begun)
        share = before.softmax(1).nan_to_num()
        surprise.append(torch.einsum("es,esm->em", share, each.surprise[:, :, step]))
        joint = torch.where(late[:, step], before + each.log_density[:, :, step], -torch.inf)
        density.append(joint.logsumexp(1) - total)
        total = joint.logsumexp(1)
    return Ahead(torch.stack(surprise, 1), torch.stack(density, 1))


def _covariance(features: Tensor, noise: Tensor, keep: Tensor | None = None) -> Tensor:
    """Return the covariance of T targets, (..., T, T)."""
    covariance = features @ features.mT
    steps = covariance.shape[-1]
    if keep is not None:
        place = torch.arange(steps, device=features.device)
        covariance = covariance * keep ** (0.5 * (place - place.unsqueeze(1)).abs())
    return covariance + noise * torch.eye(steps, dtype=features.dtype, device=features.device)


def _ahead(covariance: Tensor, residuals: Tensor) -> Ahead:
    factor = torch.linalg.cholesky(covariance)
    whitened = torch.linalg.solve_triangular(factor, residuals, upper=False)
    scale = factor.diagonal(dim1=-2, dim2=-1)
    targets = residuals.shape[-1]
    log_density = -0.5 * whitened.square().sum(-1) - targets * (scale.log() + 0.5 * LOG_TWO_PI)
    return Ahead(scale.unsqueeze(-1) * whitened, log_density)
