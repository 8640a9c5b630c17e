"""An LSTM layer whose weights are shared by all coordinates, and its states, which each coordinate has for itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class LSTMStates(NamedTuple):
    """Hidden and cell activations of every layer, unit and coordinate, (layers, H, C) each.

    ``seen`` is the memory of the preprocessing, which is empty for most kinds.
    """

    hidden: Tensor
    cell: Tensor
    seen: Any = ()


class LSTMCell(nn.Module):
    """One LSTM layer with forget gates and a single bias vector; gates in the order input, forget, cell, output.

    ``nn.LSTM`` has two biases, one of which is redundant; with it, φ would be larger than in the paper.

    Args:
        inputs: Number K of inputs.
        hidden: Number H of units.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.input_weight = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.hidden_weight = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))

    def forward(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next hidden and cell activations, (H, C) each, for inputs (K, C)."""
        gates = torch.addmm(self.bias[:, None], self.input_weight, inputs).addmm(self.hidden_weight, hidden)
        into, forget, candidate, out = gates.chunk(4)
        # 2σ(2x) − 1 is tanh, several times faster in torch's CPU kernels.
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * (2.0 * torch.sigmoid(2.0 * candidate) - 1.0)
        return torch.sigmoid(out) * (2.0 * torch.sigmoid(2.0 * cell) - 1.0), cell
