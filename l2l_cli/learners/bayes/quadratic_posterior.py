"""The exact posterior of the quadratics, example by example.

If each function is scaled separately, the functions that agree with n examples form a set of 4 − n dimensions:

* n = 0: the prior.  Its mean is ½ everywhere, since g and 1 − g are equally likely.
* n = 1, 2: a closed surface, which the half-planes of ``scaled_quadratics`` meet once in each direction, so that the
  posterior is a sum over directions.  These are distributed as they would be under a Gaussian.
* n = 3: the curve of those functions on the surface of n = 2 that take the third value, cut from its triangles.
* n = 4: the few functions that take all four values.  The search starts where the curve comes close to the fourth value
  and finds them, up to rounding, in the plane that four examples leave; each is weighted by its density.
* n = 5: the one of these functions that takes the fifth value; from n = 6 on, the examples alone determine it.

Functions that share one scaling have coefficients that are uniform in a box.  The part of it that agrees with n
examples has 6 − n dimensions, and its centroid is a sum over directions too.  Where a sum is empty, because a value
lies just beyond all values that the points take, the functions are treated as Gaussian for that example.

No other prior gives a smaller error, so least squares on the monomials under a mixture of Gaussians, fitted to the
coefficients of 40 000 functions, bounds the limit from above.  Its MSEt over 1000 examples is 5.94e-5 with 128
Gaussians, and that of this posterior on the same 8000 functions is 5.85e-5, a ratio of 1.016 ± .002.  With 32 Gaussians
the ratio is 1.036 ± .003, and with one it is 1.10: the difference is the error of the mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.learners.bayes.clouds import Cloud, conditioned, cut, mesh, sphere
from l2l_cli.learners.bayes.scaled_quadratics import excess, meet
from l2l_cli.tasks.functions import QuadraticFunction, monomials

SETTLED = 12
"""Number of examples after which a function counts as known."""

DIRECTIONS, CORNERS = 256, 512
"""Numbers of directions on a sphere, and of corners of the mesh on the sphere in three dimensions."""

_STARTS = 24
"""Number of segments of the curve from which the search for functions that take four values starts."""

_RELAXATIONS, _MARGIN = 200, 1e-3
"""Number of steps of the relaxation method, and the margin within the bounds that it aims for."""

_SAME, _DOUBT = 1e-6, 1e-6
"""Distance below which two solutions count as one, and variance of coefficients about a solution."""

_AVERAGE = (1 / 3, 1 / 3, 0.0, 0.0, 0.0, 1.0)
"""Means of the monomials over the square."""

_MIDDLE, _REACH = (0.0, 0.0, 0.0, 0.0, 0.0, 0.5), 0.05
"""Mean of the coefficients, and their largest distance from it where all functions share one scaling."""


class Belief(NamedTuple):
    """What is known about E functions, float64.

    Attributes:
        mean: Mean of the coefficients, (E, 6).
        covariance: Their covariance, (E, 6, 6).
        rows: Monomials of the n examples seen so far, and their targets, (E, n, 7).
        points: Coefficients of P functions that represent the posterior, (E, P, 6).
        mass: Their probabilities, (E, P).
    """

    mean: Tensor
    covariance: Tensor
    rows: Tensor
    points: Tensor
    mass: Tensor

    @property
    def cloud(self) -> Cloud:
        """The functions that represent the posterior."""
        return Cloud(self.points, self.mass)

    def found(self, cloud: Cloud) -> Belief:
        """Return the belief that a cloud represents, or this belief where the cloud has no mass."""
        exists = (cloud.mass.sum(1) > 0)[:, None]
        mean, covariance = cloud.moments()
        covariance = torch.where(exists.unsqueeze(2), covariance, self.covariance)
        return Belief(torch.where(exists, mean, self.mean), covariance, self.rows, *cloud)


class QuadraticPosterior:
    """The posterior of quadratics, from examples without noise."""

    def __init__(self, task: QuadraticFunction) -> None:
        self._covariance = torch.cov(task.draw_coefficients(1 << 12, generator(0, "prior")).double().T)
        self._one_scaling = task.scaling == "global"

    def prior(self, episodes: int) -> Belief:
        """Return the belief before the first example."""
        none = torch.zeros(episodes, 0, 7, dtype=torch.float64)
        covariance = self._covariance.repeat(episodes, 1, 1)
        mean = covariance.new_tensor(_MIDDLE).repeat(episodes, 1)
        return Belief(mean, covariance, none, none[..., :6], none[..., 0])

    def mean(self, knowledge: Belief, inputs: Tensor) -> Tensor:
        """Evaluate the mean function."""
        return torch.einsum("enk,ek->en", monomials(inputs), knowledge.mean)

    def observe(self, knowledge: Belief, inputs: Tensor, target: Tensor) -> Belief:
        """Condition on one value."""
        row, seen = monomials(inputs), knowledge.rows.shape[1]
        if seen == SETTLED:
            return knowledge
        if seen == 4 and not self._one_scaling:
            knowledge = _solution(knowledge, row, target)
        mean, covariance = conditioned(knowledge.mean, knowledge.covariance, row, target)
        rows = torch.cat([knowledge.rows, torch.cat([row, target.unsqueeze(1)], 1).unsqueeze(1)], 1)
        gaussian = knowledge._replace(mean=mean, covariance=covariance, rows=rows)
        if self._one_scaling:
            return _box(knowledge, gaussian) if seen < 5 else gaussian
        if seen < 2:
            return _surface(knowledge, gaussian)
        if seen == 2:
            return _curve(knowledge, gaussian)
        return _solutions(knowledge, gaussian) if seen == 3 else gaussian


def _surface(before: Belief, gaussian: Belief) -> Belief:
    """Return the belief after one example or two."""
    rows, targets = gaussian.rows[..., :6], gaussian.rows[..., 6]
    upward = _upward(rows[..., 3:5])
    if rows.shape[1] == 1:
        centre = torch.cat([torch.zeros_like(rows[:, 0, :5]), targets], 1)
        points, shares = sphere(4, DIRECTIONS).to(rows.device), rows.new_ones(DIRECTIONS)
    else:
        centre = _within(before.cloud.between(rows[:, 1], targets[:, 1]), gaussian, excess)
        points, _, _, shares = mesh(CORNERS).to(rows.device)
    average = rows.new_tensor(_AVERAGE)
    # Functions are taken modulo ``upward``, which absorbs their average, so that directions have both signs.
    modulo = torch.eye(6, dtype=torch.float64) - upward.unsqueeze(2) * average / (upward @ average)[:, None, None]
    covariance = modulo @ gaussian.covariance @ modulo.mT
    directions = _directions(torch.cat([rows, average.expand(len(rows), 1, 6)], 1), covariance, points)
    met = meet(_columns(centre), _columns(upward), directions, directions)
    mass = shares * met.density * met.along ** (points.shape[1] - 1)
    return gaussian.found(Cloud.of(met.points.permute(1, 2, 0), mass, centre))


def _upward(inputs: Tensor) -> Tensor:
    """Return a function that is 0 at one or two points (E, n, 2) and nowhere negative, (E, 6).

    It is the squared distance from the point, or from the line through both.
    """
    x1, x2 = inputs[:, 0].unbind(1)
    if inputs.shape[1] == 1:
        one, zero = torch.ones_like(x1), torch.zeros_like(x1)
        return torch.stack([one, one, zero, -2 * x1, -2 * x2, x1 * x1 + x2 * x2], 1)
    along = inputs[:, 1] - inputs[:, 0]
    along = torch.where((along == 0).all(1, keepdim=True), 1.0, along)  # any line through the one point
    n2, n1 = (along / along.norm(dim=1, keepdim=True)).unbind(1)
    n2, offset = -n2, n2 * x2 - n1 * x1
    return torch.stack([n1 * n1, n2 * n2, 2 * n1 * n2, 2 * n1 * offset, 2 * n2 * offset, offset * offset], 1)


def _curve(before: Belief, gaussian: Belief) -> Belief:
    """Return the belief after three examples; its points are the first ends of all segments, then the second ones."""
    over, row, target = mesh(CORNERS).to(gaussian.rows.device), gaussian.rows[:, 2, :6], gaussian.rows[:, 2, 6]
    one, two, mass = cut(before.cloud, over, row, target)
    return gaussian.found(Cloud.of(torch.cat([one, two], 1), torch.cat([mass, mass], 1), gaussian.mean))


def _solutions(before: Belief, gaussian: Belief) -> Belief:
    """Return the belief after four examples: every function that takes all values, once."""
    row, target = gaussian.rows[:, 3, :6], gaussian.rows[:, 3, 6:]
    (one, two), (low, high) = (part.chunk(2, 1) for part in (before.points, before.cloud.values(row)))
    live = before.mass.chunk(2, 1)[0] > 0
    share = ((target - low) / torch.where(high == low, 1.0, high - low)).clamp(0.0, 1.0)
    gap = torch.where(live, (low + share * (high - low) - target).abs(), torch.inf)
    nearest = gap.topk(min(_STARTS, gap.shape[1]), 1, largest=False).indices
    starts = (one + share.unsqueeze(2) * (two - one)).gather(1, nearest.unsqueeze(2).expand(-1, -1, 6))
    near = torch.where(live.any(1, keepdim=True), starts[:, 0], before.mean)
    mean, covariance = conditioned(near, before.covariance, row, target[:, 0])
    first, second = (_columns(axis) for axis in _null_space(gaussian.rows[..., :6]).unbind(2))
    met = meet(_columns(mean), first, second.expand(-1, -1, starts.shape[1]), starts.permute(2, 0, 1))
    points, density = met.points.permute(1, 2, 0), torch.where(live.gather(1, nearest), met.density, 0.0)
    close = (points.unsqueeze(1) - points.unsqueeze(2)).abs().amax(3) < _SAME
    again = (close & (density > 0).unsqueeze(1)).tril(-1).any(2)
    cloud = Cloud.of(points, torch.where(again, 0.0, density), mean)
    return gaussian._replace(mean=mean, covariance=covariance).found(cloud)


def _solution(belief: Belief, row: Tensor, target: Tensor) -> Belief:
    """Return the belief in the solution that comes nearest to the fifth value, up to rounding."""
    off = torch.where(belief.mass > 0, (belief.cloud.values(row) - target.unsqueeze(1)).abs(), torch.inf)
    best = belief.points.gather(1, off.argmin(1)[:, None, None].expand(-1, -1, 6)).squeeze(1)
    free = _null_space(belief.rows[..., :6])
    mean = torch.where(belief.mass.any(1, keepdim=True), best, belief.mean)
    return Belief(mean, _DOUBT * free @ free.mT, belief.rows, belief.points[:, :0], belief.mass[:, :0])


def _box(before: Belief, gaussian: Belief) -> Belief:
    """Return the belief after one to five examples of functions that share one scaling.

    A ray of length ρ from a point within a convex set of k dimensions has mass ρᵏ / k and its mean at ρ k / (k + 1).
    """
    rows = gaussian.rows[..., :6]
    free = 6 - rows.shape[1]
    centre = _within(before.cloud.between(rows[:, -1], gaussian.rows[:, -1, 6]), gaussian, _out_of_the_box)
    directions = _directions(rows, gaussian.covariance, sphere(free, DIRECTIONS).to(rows.device))
    away = _columns(centre - centre.new_tensor(_MIDDLE))
    reach = ((_REACH - away * directions.sign()) / directions.abs()).amin(0)
    points = _columns(centre) + free / (free + 1) * reach * directions
    return gaussian.found(Cloud.of(points.permute(1, 2, 0), reach.clamp(min=0.0) ** free, centre))


def _out_of_the_box(functions: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far functions (E, 6) lie outside the box, (E,), and the direction that would bring them back."""
    away = functions - functions.new_tensor(_MIDDLE)
    by, axis = away.abs().max(1, keepdim=True)
    return (by - _REACH).squeeze(1), torch.zeros_like(away).scatter(1, axis, -away.gather(1, axis).sign())


def _within(functions: Tensor, gaussian: Belief, excess: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Replace functions (E, 6) that are NaN: the relaxation method finds ones that satisfy all values and bounds."""
    lost = functions.isnan().any(1)
    found, covariance = gaussian.mean[lost], gaussian.covariance[lost]
    for _ in range(_RELAXATIONS):
        by, back = excess(found)
        if not (by >= 0).any():
            break
        move = torch.einsum("ekl,el->ek", covariance, back)
        size = torch.where(by >= 0, (1.5 * by + _MARGIN) / (move * back).sum(1), 0.0)
        found = found + size.unsqueeze(1) * move
    result = functions.clone()
    result[lost] = found
    return result


def _directions(rows: Tensor, covariance: Tensor, points: Tensor) -> Tensor:
    """Return directions (6, E, J) orthogonal to rows (E, n, 6): points of a sphere, spread by a covariance."""
    basis = _null_space(rows)
    variances, axes = torch.linalg.eigh(basis.mT @ covariance @ basis)
    # A set that is flat up to rounding still has directions.
    root = axes * (variances.clamp(min=0.0) + 1e-6 * variances[:, -1:] + 1e-10).sqrt().unsqueeze(1)
    return torch.einsum("ekd,jd->kej", basis @ root, points)


def _null_space(rows: Tensor) -> Tensor:
    """Return an orthonormal basis of the space orthogonal to rows (E, n, 6), (E, 6, 6 − n)."""
    basis: Tensor = torch.linalg.qr(rows.mT, mode="complete").Q
    return basis[:, :, rows.shape[1] :]


def _columns(vectors: Tensor) -> Tensor:
    """Return vectors (E, 6) with the axis of coefficients first and one for the planes, (6, E, 1)."""
    return vectors.T.unsqueeze(2)
