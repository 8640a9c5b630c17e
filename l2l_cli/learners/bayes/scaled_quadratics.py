"""Geometry of the quadratics whose extremes over the square are 0.2 and 0.8, given values that they take.

A function g(x) = m(x)·w has six coefficients w; m(x) are the monomials.  Two equations fix its extremes, min g = lo(w)
= 0.2 and max g = hi(w) = 0.8, so the functions form a set of four dimensions.  The raw coefficients are uniform in a
cube.  If u are the first five of w (the sixth only shifts a function), the raw coefficients are r u with r up to
1 / |u|∞ and density r⁴ dr; so the scaled coefficients have the density

    δ(lo(w) − 0.2) δ(hi(w) − 0.8) |u|∞⁻⁵ dw,

which an example (x, y) multiplies by δ(m(x)·w − y).  That is the exact posterior; the derivation is ours.

lo is concave and hi convex, and their gradients are the monomials p and q at the points where they are attained.  In a
plane w = w₀ + z₁ s + z₂ t the two equations are solved by Newton's method, whose step solves

    p·w = 0.2,  q·w = 0.8,       and there  δ δ dz₁ dz₂ = 1 / |p·s q·t − q·s p·t|.

If s ≥ 0 on the square and w₀ lies within both extremes, a half-plane z₂ > 0 has exactly one such point: z₁ lies above
a convex function of z₂ and below a concave one, which meet once.  If t takes both signs, a large z₂ violates both
equations, and from there Newton's steps fall onto that point monotonically.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.tasks.functions import GRID

LOW, HIGH = 0.2, 0.8
"""Extremes of a scaled function."""

_PLANES = 4096
"""Number of planes that are solved at once, small enough to stay in the cache."""

_SOON, _LATE = 4, 25
"""Numbers of Newton steps for all planes, and for the few that have not converged by then."""


class Meeting(NamedTuple):
    """Points of planes where both extremes have the right values.

    Attributes:
        points: w, (6, E, J).
        along: z₂, (E, J).
        jacobian: |p·s q·t − q·s p·t|, (E, J).
        error: Larger error of the two extremes, (E, J).
    """

    points: Tensor
    along: Tensor
    jacobian: Tensor
    error: Tensor

    @property
    def density(self) -> Tensor:
        """The posterior's density in (z₁, z₂), 0 where Newton's method failed, (E, J)."""
        density = self.points[:5].abs().amax(0) ** -5 / self.jacobian
        return torch.where((self.error < 1e-6) & density.isfinite(), density, 0.0)


def extremes(functions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the monomials, (6, ...) each, at a lowest and at a highest point of functions (6, ...).

    A quadratic is extreme at a corner, at the vertex of its parabola along an edge or where its gradient vanishes; as
    in the task, only points of a grid count.
    """
    a, b, c, d, e, _ = functions
    a2, b2, det = (torch.where(value == 0, 1e-30, value) for value in (2 * a, 2 * b, 4 * a * b - c * c))
    vertices = [
        (-e - c) / b2,
        (c - e) / b2,
        (-d - c) / a2,
        (c - d) / a2,
        (c * e - b2 * d) / det,
        (c * d - a2 * e) / det,
    ]
    half = (GRID - 1) / 2
    right, left, top, bottom, *inner = torch.stack(vertices).clamp_(-1.0, 1.0).mul_(half).round_().div_(half)
    one = torch.ones_like(a)
    first = torch.stack([one, one, -one, -one, one, -one, top, bottom, inner[0]])
    second = torch.stack([one, -one, one, -one, right, left, one, -one, inner[1]])
    values = (a * first + c * second + d) * first + (b * second + e) * second
    found = []
    # argmin is ten times slower than min, which returns indices too.
    for index in (values.min(0, keepdim=True).indices, values.max(0, keepdim=True).indices):
        x1, x2 = first.gather(0, index)[0], second.gather(0, index)[0]
        found.append(torch.stack([x1 * x1, x2 * x2, x1 * x2, x1, x2, one]))
    return found[0], found[1]


def excess(functions: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far functions (E, 6) lie outside [0.2, 0.8], (E,), and the direction that would bring them back."""
    columns = functions.T
    p, q = extremes(columns)
    below, above = LOW - _dot(p, columns), _dot(q, columns) - HIGH
    return torch.maximum(below, above), torch.where(below > above, p, -q).T


def meet(origin: Tensor, first: Tensor, second: Tensor, start: Tensor) -> Meeting:
    """Solve for both extremes in planes.

    Args:
        origin: w₀, (6, E, 1).
        first: s, (6, E, 1).
        second: t, (6, E, J).
        start: Functions whose lowest and highest points the first step uses, (6, E, J).
    """
    size = max(1, _PLANES // second.shape[2])
    parts = zip(*(torch.split(tensor, size, 1) for tensor in (origin, first, second, start)), strict=True)
    met = Meeting(*(torch.cat(found, -2) for found in zip(*(_newton(_SOON, *part) for part in parts), strict=True)))
    late = ~(met.error < 1e-7)
    if late.any():
        planes = (tensor.expand_as(second)[:, late] for tensor in (origin, first, second, met.points))
        for value, found in zip(met, _newton(_LATE, *planes), strict=True):
            value[..., late] = found
    return met


def _newton(steps: int, origin: Tensor, first: Tensor, second: Tensor, start: Tensor) -> Meeting:
    p, q = extremes(start)
    for _ in range(steps):
        ps, qs, pt, qt = _dot(p, first), _dot(q, first), _dot(p, second), _dot(q, second)
        low, high = LOW - _dot(p, origin), HIGH - _dot(q, origin)
        jacobian = ps * qt - qs * pt
        along = (ps * high - qs * low) / jacobian
        points = origin + (low * qt - high * pt) / jacobian * first + along * second
        p, q = extremes(points)
    error = torch.maximum((LOW - _dot(p, points)).abs(), (_dot(q, points) - HIGH).abs())
    jacobian = _dot(p, first) * _dot(q, second) - _dot(q, first) * _dot(p, second)
    return Meeting(points, along, jacobian.abs(), error)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Sum products over the first axis, that of the coefficients."""
    return (left * right).sum(0)
