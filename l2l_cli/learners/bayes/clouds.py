"""Posteriors represented by weighted functions, and the part of them that agrees with an example."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from scipy.spatial import ConvexHull
from torch import Tensor

NOISE = 1e-13
"""Variance of a target about its function's value, due to rounding to float32."""


class Cloud(NamedTuple):
    """Coefficients (E, P, K) of functions, and their probabilities (E, P), which sum to 1 or are all 0."""

    points: Tensor
    mass: Tensor

    @classmethod
    def of(cls, points: Tensor, mass: Tensor, centre: Tensor) -> Cloud:
        """Return points with their masses normalised; the centre (E, K) replaces points that are not finite."""
        points = torch.where(points.isfinite().all(2, keepdim=True), points, centre.unsqueeze(1))
        mass = mass.nan_to_num()
        return cls(points, mass / mass.sum(1, keepdim=True).clamp(min=1e-300))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return the mean (E, K) and the covariance (E, K, K)."""
        mean = torch.einsum("ep,epk->ek", self.mass, self.points)
        away = self.points - mean.unsqueeze(1)
        return mean, torch.einsum("ep,epk,epl->ekl", self.mass, away, away)

    def values(self, row: Tensor) -> Tensor:
        """Return row · w for rows (E, K), (E, P)."""
        return torch.einsum("epk,ek->ep", self.points, row)

    def between(self, row: Tensor, target: Tensor) -> Tensor:
        """Mix the means of the functions above and below a target (E,) so that row · w = target, (E, K).

        If the functions lie in a convex set, so does the mixture.  It is NaN where all of them lie on one side.
        """
        above = self.values(row) > target.unsqueeze(1)
        upper, lower = (torch.where(side, self.mass, 0.0) for side in (above, ~above))
        means = [Cloud(self.points, mass / mass.sum(1, keepdim=True)).moments()[0] for mass in (upper, lower)]
        high, low = ((mean * row).sum(1) for mean in means)
        return torch.lerp(means[1], means[0], ((target - low) / (high - low)).unsqueeze(1))


def conditioned(mean: Tensor, covariance: Tensor, row: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Condition Gaussians, mean (E, K), covariance (E, K, K), on row · w = target for rows (E, K), targets (E,)."""
    spread = torch.einsum("ekl,el->ek", covariance, row)
    gain = spread / ((spread * row).sum(1, keepdim=True) + NOISE)
    surprise = target.unsqueeze(1) - (row * mean).sum(1, keepdim=True)
    return mean + gain * surprise, covariance - gain.unsqueeze(2) * spread.unsqueeze(1)


@cache
def sphere(dimensions: int, count: int) -> Tensor:
    """Return points spread evenly over the unit sphere, (count, dimensions), on the CPU."""
    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    normal = torch.special.ndtri(engine.draw(count, dtype=torch.float64).clamp(min=1e-9))
    return torch.nn.functional.normalize(normal, dim=1)


class Mesh(NamedTuple):
    """Triangles on the unit sphere in three dimensions.

    Attributes:
        points: Corners, (P, 3).
        triangles: Indices of the three corners, (F, 3).
        areas: Area of each triangle, (F,).
        shares: A third of the total area of the triangles around each corner, (P,).
    """

    points: Tensor
    triangles: Tensor
    areas: Tensor
    shares: Tensor

    def to(self, device: torch.device) -> Mesh:
        """Return the mesh on a device."""
        return Mesh(*(part.to(device) for part in self))


@cache
def mesh(count: int) -> Mesh:
    """Triangulate ``count`` points of a Fibonacci spiral, on the CPU."""
    index = torch.arange(count, dtype=torch.float64, device="cpu") + 0.5
    height, angle = 1.0 - 2.0 * index / count, math.pi * (1.0 + math.sqrt(5.0)) * index
    radius = (1.0 - height.square()).sqrt()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)
    triangles = torch.from_numpy(ConvexHull(points.numpy()).simplices).long()
    a, b, c = points[triangles].unbind(1)
    areas = torch.linalg.cross(b - a, c - a).norm(dim=1) / 2.0
    shares = torch.zeros_like(index).index_add(0, triangles.flatten(), areas.repeat_interleave(3) / 3)
    return Mesh(points, triangles, areas, shares)


def cut(surface: Cloud, over: Mesh, row: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Intersect a surface over a mesh with row · w = target: a segment in every triangle that is crossed.

    Values v and densities ρ are taken to be linear within a triangle of area A.  With v₁ ≤ v₂ ≤ v₃ at its corners,
    ∫ ρ δ(v − y) dA is ρ in the middle of the segment times 2A (y − v₁) / ((v₂ − v₁)(v₃ − v₁)) for y below v₂, and
    analogously above it.

    Returns:
        Both ends of C segments, (E, C, K) each, and masses (E, C), which are 0 where a surface has fewer segments.
    """
    heights, level = surface.values(row), target[:, None, None]
    above = (heights > target[:, None])[:, over.triangles].sum(2)
    crossed = (above > 0) & (above < 3)
    chosen = crossed.double().topk(max(1, int(crossed.sum(1).max())), 1).indices
    # The density is interpolated along with the coefficients; the height in front is for sorting the corners.
    columns = torch.cat([heights.unsqueeze(2), surface.points, (surface.mass / over.shares).unsqueeze(2)], 2)
    index = over.triangles[chosen].flatten(1).unsqueeze(2).expand(-1, -1, columns.shape[2])
    corners = columns.gather(1, index).view(*chosen.shape, 3, -1)
    order = corners[..., :1].argsort(2).expand_as(corners)
    w1, w2, w3 = corners.gather(2, order).unbind(2)
    v1, v2, v3 = w1[..., :1], w2[..., :1], w3[..., :1]
    low, long = v2 > level, (level - v1) / (v3 - v1)
    short = torch.where(low, (level - v1) / (v2 - v1), (v3 - level) / (v3 - v2))
    one = w1 + long * (w3 - w1)
    two = torch.where(low, w1 + short * (w2 - w1), w3 + short * (w2 - w3))
    mass = over.areas[chosen] * (short / (v3 - v1) * (one + two)[..., -1:]).squeeze(2)
    return one[..., 1:-1], two[..., 1:-1], torch.where(crossed.gather(1, chosen), mass, 0.0)
