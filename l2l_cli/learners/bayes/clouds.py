"""Weighted functions that stand for a posterior, and how an example cuts them."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from scipy.spatial import ConvexHull
from torch import Tensor

NOISE = 1e-13
"""Variance of a target about its function: rounding of float32."""


class Cloud(NamedTuple):
    """Functions by their coefficients (E, P, K), and their probabilities (E, P), which sum to 1, or are all 0."""

    points: Tensor
    mass: Tensor

    @property
    def exists(self) -> Tensor:
        """Whether there is any mass, (E,)."""
        return self.mass.sum(1) > 0.5

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return the mean (E, K) and the covariance (E, K, K)."""
        mean = torch.einsum("ep,epk->ek", self.mass, self.points)
        away = self.points - mean.unsqueeze(1)
        return mean, torch.einsum("ep,epk,epl->ekl", self.mass, away, away)


def cloud(points: Tensor, mass: Tensor, centre: Tensor) -> Cloud:
    """Return points with their masses as shares of all; the centre (E, K) replaces what is not finite."""
    points = torch.where(points.isfinite().all(2, keepdim=True), points, centre.unsqueeze(1))
    return Cloud(points, mass / mass.sum(1, keepdim=True).clamp(min=1e-300))


def conditioned(mean: Tensor, covariance: Tensor, row: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Condition Gaussians, mean (E, K), covariance (E, K, K), on row · w = target for rows (E, K), targets (E,)."""
    spread = torch.einsum("ekl,el->ek", covariance, row)
    gain = spread / ((spread * row).sum(1, keepdim=True) + NOISE)
    surprise = target.unsqueeze(1) - (row * mean).sum(1, keepdim=True)
    return mean + gain * surprise, covariance - gain.unsqueeze(2) * spread.unsqueeze(1)


def between(cloud: Cloud, row: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return a mixture (E, K) of the functions above the target and those below that meets row · w = target.

    A mixture of members of a convex set lies within it.  The second result says where there are functions on both
    sides, (E,); elsewhere the first is NaN.
    """
    above = torch.einsum("epk,ek->ep", cloud.points, row) > target.unsqueeze(1)
    means, values = [], []
    for side in (above, ~above):
        mass = torch.where(side, cloud.mass, 0.0)
        mean = torch.einsum("ep,epk->ek", mass, cloud.points) / mass.sum(1, keepdim=True)
        means.append(mean)
        values.append((mean * row).sum(1))
    share = ((target - values[1]) / (values[0] - values[1])).unsqueeze(1)
    centre = share * means[0] + (1.0 - share) * means[1]
    return centre, centre.isfinite().all(1)


@cache
def sphere3(count: int) -> Tensor:
    """Return points spread evenly over the sphere in four dimensions, (count, 4).

    Source: Alexa 2022, Super-Fibonacci spirals.
    """
    index = torch.arange(count, dtype=torch.float64) + 0.5
    share = index / count
    first, second = (2.0 * math.pi * index / ratio for ratio in (math.sqrt(2.0), 1.533751168755204288118041))
    inner, outer = share.sqrt(), (1.0 - share).sqrt()
    return torch.stack([inner * first.sin(), inner * first.cos(), outer * second.sin(), outer * second.cos()], 1)


class Mesh(NamedTuple):
    """Triangles on the sphere in three dimensions.

    Attributes:
        points: Corners, (P, 3).
        triangles: Numbers of the three corners, (F, 3).
        areas: Area of each triangle, (F,).
        shares: A third of the area of all triangles about a corner, (P,).
    """

    points: Tensor
    triangles: Tensor
    areas: Tensor
    shares: Tensor


@cache
def mesh(count: int) -> Mesh:
    """Triangulate ``count`` points of a Fibonacci spiral."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    height, angle = 1.0 - 2.0 * index / count, math.pi * (1.0 + math.sqrt(5.0)) * index
    radius = (1.0 - height.square()).sqrt()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)
    triangles = torch.from_numpy(ConvexHull(points.numpy()).simplices).long()
    a, b, c = points[triangles].unbind(1)
    areas = torch.linalg.cross(b - a, c - a).norm(dim=1) / 2.0
    shares = torch.zeros(count, dtype=torch.float64).index_add(0, triangles.flatten(), areas.repeat_interleave(3) / 3)
    return Mesh(points, triangles, areas, shares)


def cut(cloud: Cloud, mesh: Mesh, row: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Intersect a surface over a mesh with row · w = target: segments, one in every triangle that is crossed.

    Values v and densities ρ are linear within a triangle of area A.  With v₁ ≤ v₂ ≤ v₃ at its corners,
    ∫ ρ δ(v − y) dA is ρ in the middle of the segment times 2A (y − v₁) / ((v₂ − v₁)(v₃ − v₁)) for y below v₂, and above
    it alike.

    Returns:
        Both ends of C segments, (E, C, K) each, and their masses (E, C), not scaled; 0 where there are less.
    """
    level = target[:, None]
    values = torch.einsum("epk,ek->ep", cloud.points, row)
    above = (values > level)[:, mesh.triangles].sum(2)
    crossed = (above > 0) & (above < 3)
    chosen = crossed.double().topk(max(1, int(crossed.sum(1).max())), 1).indices
    corners = mesh.triangles[chosen]
    height, order = _gathered(values.unsqueeze(2), corners)[..., 0].sort(2)
    corners = corners.gather(2, order)
    # One more column is the density, interpolated along with the coefficients.
    columns = torch.cat([cloud.points, (cloud.mass / mesh.shares).unsqueeze(2)], 2)
    w1, w2, w3 = _gathered(columns, corners).unbind(2)
    v1, v2, v3 = (value.unsqueeze(2) for value in height.unbind(2))
    level = level.unsqueeze(2)
    low = v2 > level
    one = w1 + (level - v1) / (v3 - v1) * (w3 - w1)
    two = torch.where(low, w1 + (level - v1) / (v2 - v1) * (w2 - w1), w2 + (level - v2) / (v3 - v2) * (w3 - w2))
    width = torch.where(low, (level - v1) / (v2 - v1), (v3 - level) / (v3 - v2)) / (v3 - v1)
    mass = (mesh.areas[chosen] * width[..., 0] * (one + two)[..., -1])
    mass = torch.where(crossed.gather(1, chosen), mass, 0.0)
    return one[..., :-1], two[..., :-1], mass


def _gathered(values: Tensor, index: Tensor) -> Tensor:
    """Pick values (E, P, K) by numbers (E, C, 3), (E, C, 3, K)."""
    flat = index.flatten(1).unsqueeze(2).expand(-1, -1, values.shape[2])
    return values.gather(1, flat).view(*index.shape, -1)
