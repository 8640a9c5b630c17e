"""Quadrature over the slice of the cube [−1, 1]³ that satisfies k linear equations: a polygon, segment or point."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import torch
from torch import Tensor

_NODES = 8
"""Number of Gauss–Legendre nodes in each direction: three times as many change the limit by a relative 3e-8."""

EDGE = 1e-4
"""Largest distance by which rounding may have moved a point out of the cube."""


def cube_slice(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return points and weights whose weighted sum is the mean over the slice {w ∈ cube: rows · w = values}.

    Args:
        rows: Coefficients of k = 1, 2 or 3 equations, (E, k, 3).
        values: Right-hand sides, (E, k).

    Returns:
        Points (E, P, 3) and weights (E, P), which sum to 1.
    """
    match rows.shape[1]:
        case 1:
            return _polygon(rows[:, 0], values[:, 0])
        case 2:
            return _segment(rows, values)
        case _:
            # Two examples that nearly coincide make the equations singular; the pseudo-inverse stays bounded.
            point = (torch.linalg.pinv(rows, rtol=1e-9) @ values.unsqueeze(-1)).squeeze(-1).clamp(-1.0, 1.0)
            return point.unsqueeze(1), torch.ones_like(point[:, :1])


def slice_size(rows: Tensor, values: Tensor) -> Tensor:
    """Return the area or length of the slice, (E,); for a point, 1 if it lies in the cube and 0 otherwise."""
    match rows.shape[1]:
        case 1:
            corners = _corners(rows[:, 0], values[:, 0])
            arms = corners - corners.mean(1, keepdim=True)
            size: Tensor = torch.linalg.cross(arms, arms.roll(-1, 1)).norm(dim=-1).sum(1) / 2.0
        case 2:
            _, _, low, high = _line(rows, values)
            size = (high - low).clamp(min=0.0)
        case _:
            point = (torch.linalg.pinv(rows, rtol=1e-9) @ values.unsqueeze(-1)).squeeze(-1)
            size = (point.abs().amax(1) <= 1.0 + EDGE).to(point.dtype)
    return size


@cache
def _gauss_legendre() -> tuple[Tensor, Tensor]:
    """Return nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return torch.from_numpy((nodes + 1.0) / 2.0), torch.from_numpy(weights / 2.0)


def _line(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the line w = base + t · direction, base and direction (E, 3), and the bounds of t in the cube, (E,)."""
    base = (torch.linalg.pinv(rows) @ values.unsqueeze(-1)).squeeze(-1)
    direction = torch.linalg.cross(rows[:, 0], rows[:, 1])
    direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-12)
    safe = torch.where(direction.abs() < 1e-12, 1e-12, direction)
    bounds = torch.stack([(-1.0 - base) / safe, (1.0 - base) / safe])
    return base, direction, bounds.amin(0).amax(1), bounds.amax(0).amin(1)


def _segment(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return points and weights on the line within the cube."""
    base, direction, low, high = _line(rows, values)
    nodes, weights = _gauss_legendre()
    # Where a segment only touches a corner, rounding may make high a little smaller than low.
    t = low[:, None] + (high - low).clamp(min=0.0)[:, None] * nodes
    return base[:, None] + t[..., None] * direction[:, None], weights.expand(len(rows), -1)


def _polygon(normal: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return points and weights on the polygon, split into a fan of triangles about its middle."""
    corners = _corners(normal, value)
    middle = corners.mean(1, keepdim=True)
    following = corners.roll(-1, 1)
    sides = corners - middle, following - middle
    area = torch.linalg.cross(*sides).norm(dim=-1)
    nodes, weights = _gauss_legendre()
    # The square (u, v) collapses onto the triangle by (u(1 − v), uv), with Jacobian u.
    u, v = nodes.repeat_interleave(_NODES), nodes.repeat(_NODES)
    weight = weights.repeat_interleave(_NODES) * weights.repeat(_NODES) * u
    first, second = (side.unsqueeze(2) for side in sides)
    points = middle.unsqueeze(2) + (u * (1.0 - v))[:, None] * first + (u * v)[:, None] * second
    mass = area.unsqueeze(2) * weight
    mass = mass / mass.sum((1, 2), keepdim=True).clamp(min=1e-300)
    return points.flatten(1, 2), mass.flatten(1)


def _corners(normal: Tensor, value: Tensor) -> Tensor:
    """Return the 12 intersections of the plane with the cube's edges in cyclic order, (E, 12, 3).

    An edge that the plane does not intersect repeats another corner, so that its triangles are empty.
    """
    points, inside = [], []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        for signs in itertools.product((-1.0, 1.0), repeat=2):
            corner = normal.new_empty(len(normal), 3)
            corner[:, others] = normal.new_tensor(signs)
            slope = torch.where(normal[:, axis].abs() < 1e-12, 1e-12, normal[:, axis])
            corner[:, axis] = (value - (normal[:, others] * corner[:, others]).sum(1)) / slope
            points.append(corner)
            inside.append(corner[:, axis].abs() <= 1.0 + 1e-9)
    corners, valid = torch.stack(points, 1), torch.stack(inside, 1)
    first = valid.float().argmax(1)
    anchor = corners[torch.arange(len(corners)), first].clamp(-1.0, 1.0).unsqueeze(1)
    corners = torch.where(valid.unsqueeze(-1), corners, anchor)
    along = torch.linalg.cross(normal, normal.roll(1, 1) + normal.new_tensor([1.0, 0.0, 0.5]))
    across = torch.linalg.cross(normal, along)
    count = valid.sum(1, keepdim=True).clamp(min=1)
    middle = ((corners * valid.unsqueeze(-1)).sum(1) / count).unsqueeze(1)
    arms = corners - middle
    angle = torch.atan2(
        (arms * across.unsqueeze(1)).sum(-1) / across.norm(dim=1, keepdim=True),
        (arms * along.unsqueeze(1)).sum(-1) / along.norm(dim=1, keepdim=True),
    )
    order = angle.argsort(1)
    return corners.gather(1, order.unsqueeze(-1).expand(-1, -1, 3))
