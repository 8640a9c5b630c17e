"""Gaussian hypotheses about the weights of a function that is linear in features, conditioned example by example.

A hypothesis belongs to a component N(c, L Lᵀ) of the prior and states that u = L⁻¹ (w − c) ~ N(mean, root rootᵀ).
Before the first example all hypotheses are therefore the same, with mean 0 and root I, and the prior is not part of the
state.  An example updates the root of the covariance, not the covariance itself, which therefore stays positive
semidefinite however long an episode is and however low the precision.

Source: J. E. Potter's square-root filter, in Bierman 1977, "Factorization Methods for Discrete Sequential Estimation",
§II.2; for functions that change, the run lengths of Adams and MacKay 2007 (arXiv 0710.3742), pruned.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DEAD = -1e30
"""Logarithm of the probability of an excluded hypothesis: finite, since a checkpoint holds no infinity."""


class Hypotheses(NamedTuple):
    """J hypotheses about the function of the next example, in each of E episodes.

    Attributes:
        log_evidence: Logarithm of each hypothesis's probability minus that of its component's share, (E, J).
        component: Index of its component, (E, J).
        mean: Mean of u for M targets, (E, J, M, D).
        root: Matrix whose product with its own transpose is the covariance of u for each target, (E, J, D, D).
        age: Number of examples that it has been conditioned on, (E, J), as a floating-point number.
    """

    log_evidence: Tensor
    component: Tensor
    mean: Tensor
    root: Tensor
    age: Tensor

    def at(self, index: Tensor) -> Hypotheses:
        """Return the hypotheses with given indices (E, I)."""
        return Hypotheses(*(_rows(part, index) for part in self))


class View(NamedTuple):
    """An example as hypotheses see it.

    Attributes:
        log_share: Logarithm of the share of their components, (E, J).
        base: Targets that c predicts, (E, J, M).
        features: Lᵀ φ(x), the coefficients of u in the targets, (E, J, D).
    """

    log_share: Tensor
    base: Tensor
    features: Tensor

    def of(self, known: Hypotheses) -> View:
        """Select, from this view of all components, the component of each hypothesis."""
        return View(*(_rows(part, known.component) for part in self))

    def expected(self, known: Hypotheses) -> Tensor:
        """Return the mean of the targets over all hypotheses, (E, M)."""
        values = self.base + torch.einsum("ejmd,ejd->ejm", known.mean, self.features)
        return torch.einsum("ej,ejm->em", (self.log_share + known.log_evidence).softmax(1), values)


class Prior(NamedTuple):
    """K components, the same for all episodes (B = 1) or separate ones for each episode (B = E).

    Attributes:
        log_share: Logarithms of their shares, (B, K).
        mean: c, (B, K, M, D).
        root: L, (B, K, D, D).
    """

    log_share: Tensor
    mean: Tensor
    root: Tensor

    def view(self, features: Tensor) -> View:
        """Return the view that hypotheses of all components have of features (E, D)."""
        if len(self.root) == 1:
            size, count = features.shape[1], self.root.shape[1]
            seen = (features @ self.root[0].transpose(0, 1).reshape(size, -1)).view(-1, count, size)
            base = (features @ self.mean[0].flatten(0, 1).T).view(-1, *self.mean.shape[1:3])
        else:
            seen = torch.einsum("ekdc,ed->ekc", self.root, features)
            base = torch.einsum("ekmd,ed->ekm", self.mean, features)
        return View(self.log_share.expand(len(features), -1), base, seen)

    def of_one(self, component: Tensor) -> Prior:
        """Return the prior that has only one component for each episode, by index (E, 1)."""
        return Prior(*(_rows(part.expand(len(component), *part.shape[1:]), component) for part in self))


def unconditioned(prior: Prior, episodes: int) -> Hypotheses:
    """Return a hypothesis for each component, before the first example."""
    count, targets, size = prior.mean.shape[1:]
    zero, eye = torch.zeros_like(prior.mean[:1, :, 0, 0]), torch.eye(size, dtype=prior.root.dtype)
    return Hypotheses(
        zero.expand(episodes, -1),
        torch.arange(count, device=zero.device).expand(episodes, -1),
        zero.view(1, count, 1, 1).expand(episodes, -1, targets, size),
        eye.to(zero.device).expand(episodes, count, -1, -1),
        zero.expand(episodes, -1),
    )


def conditioned(known: Hypotheses, view: View, targets: Tensor, noise: Tensor) -> Hypotheses:
    """Condition on an example.

    Args:
        known: Hypotheses before.
        view: Example as they see it.
        targets: Targets, (E, M).
        noise: Variance of the noise, ().
    """
    side = torch.einsum("ejdc,ejd->ejc", known.root, view.features)
    variance = side.square().sum(2) + noise
    gain = torch.einsum("ejdc,ejc->ejd", known.root, side) / variance.unsqueeze(2)
    surprise = targets.unsqueeze(1) - view.base - torch.einsum("ejmd,ejd->ejm", known.mean, view.features)
    shrink = 1.0 / (1.0 + (noise / variance).sqrt())
    evidence = -0.5 * (targets.shape[1] * variance.log() + surprise.square().sum(2) / variance)
    after = known._replace(
        log_evidence=known.log_evidence + evidence,
        mean=known.mean + surprise.unsqueeze(3) * gain.unsqueeze(2),
        root=known.root - (shrink.unsqueeze(2) * gain).unsqueeze(3) * side.unsqueeze(2),
        age=known.age + 1.0,
    )
    return _normalised(after, view.log_share)


def settled(known: Hypotheses, log_share: Tensor, age: int) -> Hypotheses:
    """Keep only the likeliest of the hypotheses that have been conditioned on ``age`` examples.

    They are the posteriors of one function under several components, which agree by then.  The likeliest takes over the
    probability of the others, which are excluded.

    Args:
        known: Hypotheses before.
        log_share: Logarithms of the shares of their components, (E, J).
        age: Number of examples.
    """
    ripe = known.age == age
    masked = torch.where(ripe, known.log_evidence + log_share, DEAD)
    best = masked.argmax(1, keepdim=True)
    chosen = torch.zeros_like(ripe).scatter(1, best, True) & ripe
    total = masked.logsumexp(1, keepdim=True) - log_share
    evidence = torch.where(chosen, total, torch.where(ripe, DEAD, known.log_evidence))
    # Excluded ones become copies, so that steps reach the same state as ``unroll`` with its single hypothesis.
    one, wide = known.at(best), ripe[:, :, None, None]
    return Hypotheses(
        evidence,
        torch.where(ripe, one.component, known.component),
        torch.where(wide, one.mean, known.mean),
        torch.where(wide, one.root, known.root),
        known.age,
    )


def changing(
    known: Hypotheses, log_share: Tensor, fresh: Hypotheses, log_hazard: Tensor, log_stay: Tensor
) -> Hypotheses:
    """Let the function change before the next example: fresh hypotheses take the place of the least likely ones.

    Args:
        known: J hypotheses about the function of the last example; their probabilities add up to 1.
        log_share: Logarithms of the shares of their components, (E, J).
        fresh: K < J hypotheses about a new function.
        log_hazard: Logarithm of the probability of a change, ().
        log_stay: Logarithm of the probability of no change, ().
    """
    kept = known.log_evidence.shape[1] - fresh.log_evidence.shape[1]
    best = (known.log_evidence + log_share).detach().topk(kept, 1).indices
    old, share = known.at(best), _rows(log_share, best)
    # The dropped hypotheses would otherwise be missing from the sum.
    old = _normalised(old, share)
    old = old._replace(log_evidence=(old.log_evidence + log_stay).clamp(min=DEAD))
    fresh = fresh._replace(log_evidence=fresh.log_evidence + log_hazard)
    return Hypotheses(*(torch.cat(pair, 1) for pair in zip(old, fresh, strict=True)))


def forgetting(known: Hypotheses, keep: Tensor) -> Hypotheses:
    """Let weights drift between two examples, u ← √λ u + √(1 − λ) ε, which leaves their prior N(0, I) as it is.

    Where the prior is wide this is recursive least squares with the forgetting factor λ.

    Args:
        known: Hypotheses before.
        keep: Factor λ, ().
    """
    eye = torch.eye(known.root.shape[-1], dtype=known.root.dtype, device=known.root.device).expand_as(known.root)
    both = torch.cat([keep.sqrt() * known.root, (1.0 - keep).sqrt() * eye], 3)
    return known._replace(mean=keep.sqrt() * known.mean, root=torch.linalg.qr(both.mT).R.mT)


def kept_where(shown: Tensor | None, old: Hypotheses, new: Hypotheses) -> Hypotheses:
    """Return the new hypotheses where ``shown``, (E,) of 0 and 1, is 1 or None, and the old ones elsewhere."""
    if shown is None:
        return new
    pairs, mask = zip(old, new, strict=True), shown > 0
    return Hypotheses(*(torch.where(mask.view(-1, *[1] * (one.dim() - 1)), two, one) for one, two in pairs))


def _normalised(known: Hypotheses, log_share: Tensor) -> Hypotheses:
    """Return hypotheses whose probabilities add up to 1."""
    total = (known.log_evidence + log_share).logsumexp(1, keepdim=True)
    return known._replace(log_evidence=(known.log_evidence - total).clamp(min=DEAD))


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Return rows (E, I, ...) of values (E, J, ...)."""
    return values[torch.arange(len(index), device=index.device).unsqueeze(1), index]
