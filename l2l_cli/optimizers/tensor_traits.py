"""What a rule can know of a parameter tensor before it has seen a gradient: its place in the network and its shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Params


class Traits(NamedTuple):
    """The tensors of a network.

    Attributes:
        sizes: Number of coordinates of each of K tensors, in the order of the parameters.
        known: Five features of each tensor, (K, 5), float64 on the CPU: whether it is a vector, in the last layer, in
            the first layer; log fan-in and log number of layers, both scaled to the order of one.
    """

    sizes: list[int]
    known: Tensor


def traits_of(params: Params) -> Traits:
    """Return the traits of parameters (E, ...)."""
    return traits_of_shapes(tuple(tuple(value.shape[1:]) for value in params.values()))


@lru_cache(maxsize=256)
def traits_of_shapes(shapes: tuple[tuple[int, ...], ...]) -> Traits:
    """Return the traits of tensors of these shapes, in the order of the parameters."""
    layers = max(1, sum(len(shape) > 1 for shape in shapes))
    rows, layer = [], -1
    for shape in shapes:
        # By order and not by name, since names are up to the network: a tensor of two axes or more begins a layer, to
        # which the vectors after it belong.
        layer += len(shape) > 1
        own = max(0, layer)
        rows.append(
            [
                float(len(shape) < 2),
                float(own == layers - 1),
                float(own == 0),
                math.log(fan_in(shape)) / 5.0,
                math.log(layers / 2.0) / 1.2,
            ]
        )
    sizes = [math.prod(shape) for shape in shapes]
    return Traits(sizes, torch.tensor(rows, dtype=torch.float64, device="cpu"))


def fan_in(shape: Sequence[int]) -> int:
    """Return the number of inputs of a unit with weights of a shape (out, in, ...); 1 for vectors."""
    return math.prod(shape[1:]) if len(shape) > 1 else 1


def means(values: Tensor, sizes: list[int]) -> Tensor:
    """Return the mean of values (..., P) over the coordinates of each of K tensors, (..., K)."""
    return torch.stack([part.mean(-1) for part in torch.split(values, sizes, -1)], -1)
