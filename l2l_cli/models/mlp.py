"""Multi-layer perceptrons and affine maps, as modules to be wrapped by ``models.model.Model``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from l2l_cli.models.architecture import Architecture, ImageShape
from l2l_cli.models.model import Model, gaussian

Activation = Literal["sigmoid", "tanh", "relu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, activation: Activation, squash: bool = False
) -> nn.Sequential:
    """Build inputs → hidden … → outputs; with ``squash`` the output passes through a logistic sigmoid.

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


@dataclass(frozen=True)
class MLP(Architecture):
    """A multi-layer perceptron.

    Source: Andrychowicz et al. 2016, §3.2: one hidden layer of 20 sigmoid units.

    Args:
        hidden: Units of each hidden layer.
        activation: Non-linearity of the hidden units.
        start: Standard deviation of θ₀; 0.01 is that of the paper's code, while the paper says only "Gaussian".
    """

    flat: ClassVar[bool] = True
    hidden: Sequence[int] = (20,)
    activation: Activation = "sigmoid"
    start: float = 0.01

    def model(self, shape: ImageShape, outputs: int) -> Model:
        """Build pixels → hidden … → outputs; all of θ₀ is Gaussian."""
        return Model(mlp(math.prod(shape), self.hidden, outputs, self.activation), gaussian(self.start))


class LinearMap(nn.Module):
    """The model of a quadratic ‖Wθ − y‖²: its input is the matrix W, its parameter the vector θ."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(dimension))

    def forward(self, matrix: Tensor) -> Tensor:
        """Multiply the rows (N, dimension) by θ; the result is (N,)."""
        return matrix @ self.theta
