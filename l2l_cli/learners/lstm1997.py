"""The LSTM of 1997, as Hochreiter, Younger and Conwell 2001 used it.

Source: Hochreiter, Younger and Conwell 2001, §3.1; Hochreiter and Schmidhuber 1997.  Input and output gates, no forget
gate, no peepholes.  Every unit of the first layer, gates included, reads the inputs, a bias, all activations of the
first layer at t − 1 and, where there is a second layer, all of that layer's at t − 1.

    s_c(t) = s_c(t − 1) + in_c(t) · g(net_c(t)),   y_c(t) = out_c(t) · h(s_c(t)),   g = 4σ − 2,   h = 2σ − 1

Names: "6/6(1)" → ``hidden=6, cells=6``;  W → ``first``, ``second``, ``readout``;  s_c → ``MemoryState.cell``.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor, nn

from l2l_cli.learners.logistic_network import LogisticNetwork
from l2l_cli.tasks.base import Task


class MemoryState(NamedTuple):
    """Activations of the first layer (E, U) and the second (E, K), cell states (E, C), the last target (E, targets).

    The first layer's U = hidden + 3 · cells units stand in the order hidden, cells, input gates, output gates.
    """

    first: Tensor
    second: Tensor
    cell: Tensor
    previous: Tensor


class LSTM1997(LogisticNetwork[MemoryState]):
    """A network of conventional hidden units and memory cells of size 1.

    Args:
        task: Task whose targets lie in [0, 1].
        hidden: Conventional hidden units of the first layer.
        cells: Memory cells of the first layer.
        second: Units of an optional second layer, which the output then reads in place of the first.
        truncated: Whether errors are cut off where the algorithm of 1997 cuts them off, at the recurrent inputs of
            every unit, so that only the cells' error carousel carries them back in time; otherwise all is exact.
        spread: Bound of the initial weights, drawn from U[−spread, spread]; the paper's 0.1.
        input_bias: Initial bias of the input gates; the paper's −1.
        initial_seed: Seed of the initial weights.
    """

    def __init__(
        self,
        task: Task,
        hidden: int = 6,
        cells: int = 6,
        second: int = 0,
        truncated: bool = True,
        spread: float = 0.1,
        input_bias: float = -1.0,
        initial_seed: int = 0,
    ) -> None:
        super().__init__(task)
        if min(hidden, second) < 0 or cells < 1:
            raise ValueError(f"hidden and second must be at least 0 and cells 1, not {hidden}, {second} and {cells}")
        self.hidden, self.cells, self.truncated = hidden, cells, truncated
        units = hidden + 3 * cells
        self.first = nn.Parameter(torch.empty(units, self.external + 1 + units + second))
        self.second = nn.Parameter(torch.empty(second, units + 1))
        self.readout = nn.Parameter(torch.empty(self.targets, (second or units) + 1))
        self.draw(spread, initial_seed)
        with torch.no_grad():
            self.first[hidden + cells : hidden + 2 * cells, self.external] = input_bias

    def untruncated(self) -> Self:
        """Return a twin that differentiates through everything; both share φ."""
        twin = copy.copy(self)
        twin.truncated = False
        return twin

    def init(self, episodes: int, rng: Generator) -> MemoryState:
        """Start from zero activations, empty cells and y_0 = 0."""
        del rng
        zero = self.first.new_zeros
        return MemoryState(
            zero(episodes, self.first.shape[0]),
            zero(episodes, self.second.shape[0]),
            zero(episodes, self.cells),
            zero(episodes, self.targets),
        )

    def advance(self, state: MemoryState, inputs: Tensor) -> tuple[MemoryState, Tensor]:
        """Compute one step from inputs (E, D); the answer is (E, targets)."""
        recurrent = torch.cat([state.first, state.second], 1)
        if self.truncated:
            recurrent = recurrent.detach()
        one = torch.ones_like(inputs[:, :1])
        nets = torch.cat([inputs, state.previous, one, recurrent], 1) @ self.first.T
        hidden, candidate, into, out = torch.split(nets, [self.hidden, self.cells, self.cells, self.cells], 1)
        into, out = torch.sigmoid(into), torch.sigmoid(out)
        cell = state.cell + into * (4.0 * torch.sigmoid(candidate) - 2.0)
        content = out * (2.0 * torch.sigmoid(cell) - 1.0)
        first = torch.cat([torch.sigmoid(hidden), content, into, out], 1)
        second = torch.sigmoid(torch.cat([first, one], 1) @ self.second.T)
        read = second if len(self.second) else first
        answer = torch.sigmoid(torch.cat([read, one], 1) @ self.readout.T)
        return MemoryState(first, second, cell, state.previous), answer
