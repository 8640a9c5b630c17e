"""MLHF's networks: small LSTMs shared by the coordinates of a type, with a positive output for each coordinate.

Source: Chen and Lu 2018, §4.2; what the text leaves out is as in their code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from l2l_cli.core.random import generator, uniform
from l2l_cli.kernels.parameter_types import ParameterTypeKernels
from l2l_cli.models.model import ParameterType
from l2l_cli.optimizers.lstm_cell import LSTMCell


class States(NamedTuple):
    """Hidden and cell activations of every layer, unit, episode and coordinate, (layers, H, E, D) each."""

    hidden: Tensor
    cell: Tensor


class CoordinateRNN(nn.Module):
    """LSTM layers shared by coordinates, and a linear head whose softplus is a positive output for each.

    Args:
        inputs: Features of a coordinate.
        hidden: Units of each layer.
        layers: Number of layers.
        initial_seed: Seed of the weights, which are Glorot's; biases are 0, those of forget gates 1.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, initial_seed: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList(LSTMCell(width, hidden) for width in [inputs] + [hidden] * (layers - 1))
        self.head = nn.Linear(hidden, 1)
        rng = generator(initial_seed, "mlhf")
        with torch.no_grad():
            for cell in self.cells:
                assert isinstance(cell, LSTMCell)
                # TensorFlow draws both matrices of a cell as one matrix.
                bound = math.sqrt(6.0 / (cell.input_weight.shape[1] + 5 * hidden))
                for weight in (cell.input_weight, cell.hidden_weight):
                    weight.copy_(uniform(tuple(weight.shape), -bound, bound, rng))
                cell.bias.zero_()[hidden : 2 * hidden] = 1.0
            bound = math.sqrt(6.0 / (hidden + 1))
            self.head.weight.copy_(uniform((1, hidden), -bound, bound, rng))
            self.head.bias.zero_()

    def forward(self, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return outputs (C,) and the next activations for features (K, C) and activations (layers, H, C)."""
        below, kept = features, []
        for unit, own, content in zip(self.cells, hidden, cell, strict=True):
            below, content = unit(below, own, content)
            kept.append((below, content))
        values = nn.functional.softplus(self.head.weight @ below + self.head.bias).squeeze(0)
        above, contents = zip(*kept, strict=True)
        return values, torch.stack(above), torch.stack(contents)


class ParameterTypeRNNs(nn.Module):
    """A ``CoordinateRNN`` for each parameter type.

    Args:
        kinds: Parameter types.
        inputs: Features of a coordinate.
        hidden: Units of each layer.
        layers: Number of layers.
        initial_seed: Seed of the weights.
    """

    def __init__(
        self, kinds: Sequence[ParameterType], inputs: int, hidden: int, layers: int, initial_seed: int
    ) -> None:
        super().__init__()
        networks: dict[str, nn.Module] = {
            type_: CoordinateRNN(inputs, hidden, layers, initial_seed + 7919 * i) for i, type_ in enumerate(kinds)
        }
        self.kinds = nn.ModuleDict(networks)
        self._shape = layers, hidden
        self._kernels = ParameterTypeKernels()

    @torch.no_grad()
    def begin_at(self, value: float) -> None:
        """Set the heads so that the outputs are near a value before meta-training."""
        for network in self.kinds.values():
            assert isinstance(network, CoordinateRNN)
            network.head.bias.fill_(math.log(math.expm1(value)))

    def init(self, like: Tensor) -> States:
        """Start every coordinate of (E, D) from a zero state."""
        zero = like.new_zeros(*self._shape, *like[:, : None if self.kinds else 0].shape)
        return States(zero, zero)

    def forward(
        self, features: Tensor, states: States, spans: dict[ParameterType, slice], compiled: bool = False
    ) -> tuple[Tensor, States]:
        """Return a positive number for each coordinate, (E, D), for features (K, E, D); and the next states.

        ``compiled`` takes the path of the kernels.
        """
        if compiled:
            weights = [list(self.kinds[type_].parameters()) for type_ in spans]
            values, *after = self._kernels(features, *states, list(spans.values()), weights)
            return values, States(*after)
        found = []
        for type_, span in spans.items():
            shape = features[0, :, span].shape
            given = (part[..., span].flatten(-2) for part in (features, *states))
            found.append([part.unflatten(-1, shape) for part in self.kinds[type_](*given)])
        values, hidden, cell = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
        return values, States(hidden, cell)
