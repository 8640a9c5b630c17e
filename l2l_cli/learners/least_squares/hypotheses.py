"""Gaussian hypotheses about the weights of a function that is linear in D features, conditioned example by example.

A hypothesis is a Gaussian N(mean, root rootᵀ) with a logarithm of its probability.  Conditioning it moves the root of
the covariance, not the covariance itself, so that what it stands for is positive semidefinite however long an episode
is and however short its numbers are.

Source: J. E. Potter's square-root filter, in Bierman 1977, "Factorization Methods for Discrete Sequential Estimation",
§II.2; pruned run lengths after Adams and MacKay 2007 (arXiv 0710.3742).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DEAD = -1e30
"""Logarithm of the probability of what is excluded: finite, for a checkpoint holds no infinity."""


class Hypotheses(NamedTuple):
    """J hypotheses about the function in force at the next example, in each of E episodes.

    Attributes:
        log_weight: Logarithm of the probability of each, (E, J).
        mean: Mean of the weights of M targets, (E, J, M, D).
        root: Matrix whose product with its own transpose is the covariance of one target's weights, (E, J, D, D).
        age: Number of examples that it has been conditioned on, (E, J), as a floating-point number.
    """

    log_weight: Tensor
    mean: Tensor
    root: Tensor
    age: Tensor

    def values(self, features: Tensor) -> Tensor:
        """Return the expected targets for features (E, N, D), (E, N, M)."""
        mean = torch.einsum("ej,ejmd->emd", self.log_weight.softmax(1), self.mean)
        return features @ mean.mT

    def at(self, index: Tensor) -> Hypotheses:
        """Return some hypotheses, by their numbers (E, I)."""
        rows = torch.arange(len(index), device=index.device).unsqueeze(1)
        return Hypotheses(*(part[rows, index] for part in self))


class Prior(NamedTuple):
    """K components: logarithms of their shares (K,), means (K, M, D), and roots of their covariances (K, D, D)."""

    log_share: Tensor
    mean: Tensor
    root: Tensor

    def hypotheses(self, episodes: int) -> Hypotheses:
        """Return a hypothesis for each component, in E episodes."""
        parts = [part.expand(episodes, *part.shape) for part in self]
        return Hypotheses(parts[0], parts[1], parts[2], torch.zeros_like(parts[0]))


def conditioned(known: Hypotheses, features: Tensor, targets: Tensor, noise: Tensor) -> Hypotheses:
    """Condition on an example, w·f + noise = y.

    Args:
        known: Hypotheses before.
        features: Features f, (E, D).
        targets: Targets y, (E, M).
        noise: Variance of the noise, ().
    """
    side = torch.einsum("ejdc,ed->ejc", known.root, features)
    variance = side.square().sum(2) + noise
    gain = torch.einsum("ejdc,ejc->ejd", known.root, side) / variance.unsqueeze(2)
    surprise = targets.unsqueeze(1) - torch.einsum("ejmd,ed->ejm", known.mean, features)
    shrink = 1.0 / (1.0 + (noise / variance).sqrt())
    weight = known.log_weight - 0.5 * (targets.shape[1] * variance.log() + surprise.square().sum(2) / variance)
    return Hypotheses(
        weight.log_softmax(1).clamp(min=DEAD),
        known.mean + surprise.unsqueeze(3) * gain.unsqueeze(2),
        known.root - (shrink.unsqueeze(2) * gain).unsqueeze(3) * side.unsqueeze(2),
        known.age + 1.0,
    )


def settled(known: Hypotheses, age: int) -> Hypotheses:
    """Let the likeliest of the hypotheses of a function that is so many examples old stand for them all.

    They are one function's posterior under several components, which by then agree; the others die.
    """
    ripe = known.age == age
    masked = torch.where(ripe, known.log_weight, DEAD)
    best = masked.argmax(1, keepdim=True)
    total = masked.logsumexp(1, keepdim=True)
    chosen = torch.zeros_like(ripe).scatter(1, best, True) & ripe
    weight = torch.where(chosen, total, torch.where(ripe, DEAD, known.log_weight))
    # What is dead is a copy, so that steps give the state that a quicker way with one hypothesis gives.
    one = known.at(best)
    return Hypotheses(
        weight,
        torch.where(ripe[:, :, None, None], one.mean, known.mean),
        torch.where(ripe[:, :, None, None], one.root, known.root),
        known.age,
    )


def changing(known: Hypotheses, prior: Hypotheses, log_hazard: Tensor, log_stay: Tensor) -> Hypotheses:
    """Let the function change before the next example: fresh hypotheses take the place of the least likely ones.

    Args:
        known: J hypotheses about the function that was in force.
        prior: K < J hypotheses about a new one.
        log_hazard: Logarithm of the probability of a change, ().
        log_stay: Logarithm of that of none, ().
    """
    kept = known.log_weight.shape[1] - prior.log_weight.shape[1]
    old = known.at(known.log_weight.detach().topk(kept, 1).indices)
    old = old._replace(log_weight=old.log_weight + log_stay)
    fresh = prior._replace(log_weight=prior.log_weight + log_hazard)
    joined = Hypotheses(*(torch.cat(pair, 1) for pair in zip(old, fresh, strict=True)))
    return joined._replace(log_weight=joined.log_weight.log_softmax(1).clamp(min=DEAD))


def forgetting(known: Hypotheses, prior: Hypotheses, keep: Tensor) -> Hypotheses:
    """Let weights drift between two examples, w ← c + √λ (w − c) + √(1 − λ) L ε, which leaves their prior N(c, L Lᵀ) as it is.

    Where the prior is wide this is the forgetting factor λ of recursive least squares.

    Args:
        known: Hypotheses before.
        prior: Hypotheses of the same components, c and L.
        keep: Factor λ, ().
    """
    mean = prior.mean + keep.sqrt() * (known.mean - prior.mean)
    both = torch.cat([keep.sqrt() * known.root, (1.0 - keep).sqrt() * prior.root], 3)
    root = torch.linalg.qr(both.mT, mode="r").R.mT
    return known._replace(mean=mean, root=root)


def kept_where(shown: Tensor | None, old: Hypotheses, new: Hypotheses) -> Hypotheses:
    """Return the new hypotheses of the episodes that show their targets, (E,) of 0 and 1, and the old of the others."""
    if shown is None:
        return new
    mask = shown > 0
    pairs = zip(old, new, strict=True)
    return Hypotheses(*(torch.where(mask.view(-1, *[1] * (one.dim() - 1)), two, one) for one, two in pairs))
