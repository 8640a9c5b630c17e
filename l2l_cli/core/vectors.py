"""Named parameters as vectors and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from l2l_cli.core.types import Params


def stacked(params: Params) -> Tensor:
    """Return each episode's parameters as one vector, (E, P)."""
    return torch.cat([value.reshape(len(value), -1) for value in params.values()], 1)


def unstacked(vectors: Tensor, like: Params) -> Params:
    """Return vectors (E, P) as parameters with the names and shapes of ``like``, (E, ...) each."""
    return named(vectors, {name: value.shape[1:] for name, value in like.items()})


def flattened(params: Params) -> Tensor:
    """Return all numbers of all tensors as one vector, (P,), one tensor after another."""
    return torch.cat([value.flatten() for value in params.values()])


def unflattened(vector: Tensor, like: Params) -> Params:
    """Return a vector (P,) as tensors with the names and shapes of ``like``."""
    return named(vector, {name: value.shape for name, value in like.items()})


def named(vectors: Tensor, shapes: Mapping[str, Sequence[int]]) -> Params:
    """Return vectors (..., P) as named tensors, (..., *shape) each."""
    pieces = torch.split(vectors, [math.prod(shape) for shape in shapes.values()], -1)
    return {
        name: piece.reshape((*vectors.shape[:-1], *shape))
        for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
    }


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the inner products (E,) of each episode's vectors (E, P)."""
    product: Tensor = torch.linalg.vecdot(one, other)
    return product


def per_episode(values: Tensor, like: Tensor) -> Tensor:
    """Return one value for each episode, (E,), as (E, 1, …, 1), so that it broadcasts over a tensor (E, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def choose(mask: Tensor, chosen: Tensor, other: Tensor | float) -> Tensor:
    """Return ``chosen`` (E, ...) for the episodes whose mask (E,) is above 0, and ``other`` for the rest."""
    return torch.where(per_episode(mask, chosen) > 0, chosen, other)
