"""Multi-layer perceptrons and affine maps, as modules to be wrapped by ``models.model.Model``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["sigmoid", "tanh", "relu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, activation: Activation, squash: bool = False
) -> nn.Sequential:
    """Build inputs → hidden … → outputs; with ``squash`` the output passes a logistic sigmoid.

    Raises:
        ValueError: A width is below 1 or the activation is unknown.
    """
    if min(inputs, outputs, *hidden) < 1:
        raise ValueError(f"every width must be at least 1, not {[inputs, *hidden, outputs]}")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}, not {activation!r}")
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[activation]()]
    layers.append(nn.Linear(widths[-1], outputs))
    if squash:
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


class LinearMap(nn.Module):
    """The model of a quadratic ‖Wθ − y‖²: its input is the matrix W, its parameter the vector θ."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(dimension))

    def forward(self, matrix: Tensor) -> Tensor:
        """Multiply the rows (N, dimension) by θ; the result is (N,)."""
        return matrix @ self.theta
