"""The exact posterior of the scaled quadratics, example by example.

After n examples the functions that remain form a set of 4 − n dimensions:

* n = 0: the prior.  Its mean is ½ everywhere, since g and 1 − g are equally likely.
* n = 1, 2: a closed surface that the half-planes of ``scaled_quadratics`` meet once in each direction, so that the
  posterior is a sum over directions.  It is found twice: about a first centre, and about the mean of what was found, in
  directions spread as the functions are.
* n = 3: the closed curve on which the surface of n = 2 takes the third value, cut from its triangles.
* n = 4: the few functions on that curve that take the fourth value.  They are found to rounding, in the plane that four
  examples leave, and weighted by the density itself.
* n = 5: the one of them that takes the fifth value; from n = 6 on the examples alone determine it.

Where a quadrature finds nothing, which is where a value lies just beyond all that its points take, the functions are
taken to be Gaussian for that one example.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.learners.bayes.clouds import Cloud, between, cloud, conditioned, cut, mesh, sphere3
from l2l_cli.learners.bayes.scaled_quadratics import excess, meet
from l2l_cli.tasks.functions import QuadraticFunction, monomials

SETTLED = 12
"""Number of examples after which a function counts as known."""

_FIRST, _SECOND = (40, 256), (60, 640)
"""Directions about the first centre and about the second, given one example and given two."""

_CANDIDATES = 12
"""Segments of the curve from which functions are looked for, given four examples."""

_RELAXATIONS, _MARGIN = 200, 1e-3
"""Steps of the relaxation method, and how far inside they aim."""

_SAME = 1e-6
"""Distance below which two candidates are one."""

_DOUBT = 1e-6
"""Variance of the coefficients about a candidate."""

_AVERAGE = (1 / 3, 1 / 3, 0.0, 0.0, 0.0, 1.0)
"""Means of the monomials over the square."""


class Belief(NamedTuple):
    """What is known of E functions, float64.

    Attributes:
        mean: Of the coefficients, (E, 6).
        covariance: (E, 6, 6).
        rows: Monomials of the n examples seen so far, and their targets, (E, n, 7).
        points: Coefficients of P functions that stand for the posterior, (E, P, 6).
        mass: Their probabilities, (E, P).
    """

    mean: Tensor
    covariance: Tensor
    rows: Tensor
    points: Tensor
    mass: Tensor


class QuadraticPosterior:
    """The posterior of quadratics that are scaled one by one, from examples without noise."""

    def __init__(self, task: QuadraticFunction) -> None:
        coefficients = task.draw_coefficients(1 << 12, generator(0, "prior")).double()
        self._mean = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.5], dtype=torch.float64)
        self._covariance = torch.cov(coefficients.T)

    def prior(self, episodes: int) -> Belief:
        """Return the belief before the first example."""
        nothing = torch.zeros(episodes, 0, 7, dtype=torch.float64)
        mean, covariance = self._mean.repeat(episodes, 1), self._covariance.repeat(episodes, 1, 1)
        return Belief(mean, covariance, nothing, nothing[..., :6], nothing[..., 0])

    def mean(self, knowledge: Belief, inputs: Tensor) -> Tensor:
        """Evaluate the mean function."""
        return torch.einsum("enk,ek->en", monomials(inputs), knowledge.mean)

    def observe(self, knowledge: Belief, inputs: Tensor, target: Tensor) -> Belief:
        """Condition on one value."""
        seen = knowledge.rows.shape[1]
        if seen == SETTLED:
            return knowledge
        row = monomials(inputs)
        rows = torch.cat([knowledge.rows, torch.cat([row, target.unsqueeze(1)], 1).unsqueeze(1)], 1)
        if seen == 4:
            knowledge = _nearest(knowledge, row, target)
        mean, covariance = conditioned(knowledge.mean, knowledge.covariance, row, target)
        gaussian = Belief(mean, covariance, rows, knowledge.points, knowledge.mass)
        if seen > 3:
            return gaussian
        if seen < 2:
            return _surface(knowledge, gaussian)
        return _curve(knowledge, gaussian) if seen == 2 else _candidates(knowledge, gaussian)


def _believed(gaussian: Belief, found: Cloud) -> Belief:
    """Return the belief in what was found, or the Gaussian one where nothing was."""
    mean, covariance = found.moments()
    return gaussian._replace(
        mean=torch.where(found.exists[:, None], mean, gaussian.mean),
        covariance=torch.where(found.exists[:, None, None], covariance, gaussian.covariance),
        points=found.points,
        mass=found.mass,
    )


def _surface(before: Belief, gaussian: Belief) -> Belief:
    """Return the belief after one example or two."""
    rows = gaussian.rows[..., :6]
    upward = _upward(rows[..., 3:5])
    if rows.shape[1] == 1:
        centre = torch.zeros_like(gaussian.mean)
        centre[:, 5] = gaussian.rows[:, 0, 6]
        spheres = [(sphere3(count), torch.ones(1, dtype=torch.float64)) for count in _FIRST]
    else:
        centre, exists = between(Cloud(before.points, before.mass), rows[:, 1], gaussian.rows[:, 1, 6])
        centre[~exists] = _inside(gaussian.mean[~exists], gaussian.covariance[~exists])
        spheres = [(mesh(count).points, mesh(count).shares) for count in _SECOND]
    belief = gaussian._replace(mean=centre)
    for sphere, shares in spheres:
        directions = torch.einsum("ekd,jd->kej", _spread(rows, upward, belief.covariance), sphere)
        met = meet(_columns(belief.mean), _columns(upward), directions, directions)
        mass = shares * met.density * met.along ** (sphere.shape[1] - 1)
        belief = _believed(gaussian, cloud(met.points.permute(1, 2, 0), mass, belief.mean))
    return belief


def _upward(inputs: Tensor) -> Tensor:
    """Return a function that is 0 at one or two points (E, n, 2) and nowhere below, (E, 6).

    It is the squared distance from the point, or from the line through both.
    """
    x1, x2 = inputs[:, 0].unbind(1)
    if inputs.shape[1] == 1:
        one, zero = torch.ones_like(x1), torch.zeros_like(x1)
        return torch.stack([one, one, zero, -2 * x1, -2 * x2, x1 * x1 + x2 * x2], 1)
    along = inputs[:, 1] - inputs[:, 0]
    n2, n1 = (along / along.norm(dim=1, keepdim=True)).unbind(1)
    n2, offset = -n2, n2 * x2 - n1 * x1
    return torch.stack([n1 * n1, n2 * n2, 2 * n1 * n2, 2 * n1 * offset, 2 * n2 * offset, offset * offset], 1)


def _spread(rows: Tensor, upward: Tensor, covariance: Tensor) -> Tensor:
    """Return directions (E, 6, d) that keep all values and the average, as long as functions are spread along them.

    A function is taken modulo ``upward``, which takes up its average.
    """
    average = torch.tensor(_AVERAGE, dtype=torch.float64)
    basis = _null_space(torch.cat([rows, average.expand(len(rows), 1, 6)], 1))
    modulo = torch.eye(6, dtype=torch.float64) - upward.unsqueeze(2) * average / (upward @ average)[:, None, None]
    onto = basis.mT @ modulo
    spread = onto @ covariance @ onto.mT
    # A set that is flat in rounding still has directions.
    floor = 1e-10 + 1e-6 * spread.diagonal(dim1=1, dim2=2).mean(1)
    return basis @ torch.linalg.cholesky(spread + floor[:, None, None] * torch.eye(basis.shape[2], dtype=torch.float64))


def _inside(functions: Tensor, covariance: Tensor) -> Tensor:
    """Move functions (E, 6) along their covariance until they lie between the extremes, by the relaxation method."""
    for _ in range(_RELAXATIONS):
        by, towards = excess(functions.T)
        if not (by >= 0).any():
            break
        move = torch.einsum("ekl,le->ek", covariance, towards)
        size = torch.where(by >= 0, (1.5 * by + _MARGIN) / (move * towards.T).sum(1), 0.0)
        functions = functions + size.unsqueeze(1) * move
    return functions


def _curve(before: Belief, gaussian: Belief) -> Belief:
    """Return the belief after three examples; its points are the one ends of all segments, then the others."""
    surface, (row, target) = Cloud(before.points, before.mass), gaussian.rows[:, -1].split([6, 1], 1)
    one, two, mass = cut(surface, mesh(_SECOND[-1]), row, target[:, 0])
    return _believed(gaussian, cloud(torch.cat([one, two], 1), torch.cat([mass, mass], 1), gaussian.mean))


def _candidates(before: Belief, gaussian: Belief) -> Belief:
    """Return the belief after four examples: every function that takes all values, once."""
    row, target = gaussian.rows[:, -1].split([6, 1], 1)
    one, two = before.points.chunk(2, 1)
    live = before.mass.chunk(2, 1)[0] > 0
    low, high = (torch.einsum("eck,ek->ec", ends, row) for ends in (one, two))
    gap = torch.maximum(torch.minimum(low, high) - target, target - torch.maximum(low, high)).clamp(min=0.0)
    nearest = torch.where(live, gap, torch.inf).topk(min(_CANDIDATES, gap.shape[1]), 1, largest=False).indices
    share = ((target - low) / torch.where(high == low, 1.0, high - low)).clamp(0.0, 1.0)
    starts = (one + share.unsqueeze(2) * (two - one)).gather(1, nearest.unsqueeze(2).expand(-1, -1, 6))
    near = torch.where(live.any(1, keepdim=True), starts[:, 0], before.mean)
    mean, covariance = conditioned(near, before.covariance, row, target[:, 0])
    first, second = _null_space(gaussian.rows[..., :6]).permute(1, 0, 2).unsqueeze(3).unbind(2)
    starts = starts.permute(2, 0, 1)
    met = meet(_columns(mean), first, second.expand_as(starts), starts)
    points, density = met.points.permute(1, 2, 0), torch.where(live.gather(1, nearest), met.density, 0.0)
    apart = torch.cdist(points, points) > _SAME
    again = (~apart & (density > 0).unsqueeze(1)).tril(-1).any(2)
    found = cloud(points, torch.where(again, 0.0, density), mean)
    return _believed(gaussian._replace(mean=mean, covariance=covariance), found)


def _nearest(belief: Belief, row: Tensor, target: Tensor) -> Belief:
    """Believe in the candidate that comes nearest to the fifth value, but for rounding."""
    off = (torch.einsum("epk,ek->ep", belief.points, row) - target.unsqueeze(1)).abs()
    best = torch.where(belief.mass > 0, off, torch.inf).argmin(1)
    mean = torch.where(belief.mass.any(1, keepdim=True), belief.points[torch.arange(len(best)), best], belief.mean)
    free = _null_space(belief.rows[..., :6])
    return belief._replace(mean=mean, covariance=_DOUBT * free @ free.mT, points=row[:, None][:, :0], mass=row[:, :0])


def _null_space(rows: Tensor) -> Tensor:
    """Return an orthonormal basis of what is orthogonal to rows (E, n, 6), (E, 6, 6 − n)."""
    return torch.linalg.qr(rows.mT, mode="complete").Q[:, :, rows.shape[1] :]


def _columns(vectors: Tensor) -> Tensor:
    """Return vectors (E, 6) with the axis of coefficients first and one for the planes, (6, E, 1)."""
    return vectors.T.unsqueeze(2)
