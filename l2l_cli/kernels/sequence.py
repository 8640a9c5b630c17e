"""A whole sequence of LSTM steps in one call, for inputs that are known beforehand; differentiable in the weights.

Reference: ``torch.nn.LSTM``.  A column is an episode; the inputs and the first state count as data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from l2l_cli.kernels.blocks import BLOCK, blocks_of, fill, unblocked
from l2l_cli.kernels.columns.lstm import BlockStates, LSTMWeights, forward_layers, pack
from l2l_cli.kernels.columns.lstm_backward import LSTMTape, Workspace
from l2l_cli.kernels.differentiable import differentiable
from l2l_cli.kernels.simd.compiled import announce, kernel
from l2l_cli.kernels.simd.registers import pointer, zeros
from l2l_cli.kernels.threads import thread_group


@kernel
def sweep(cell: LSTMWeights, tape: LSTMTape, columns: int, first: int, last: int) -> None:
    """Take the blocks ``first`` … ``last`` − 1 through all steps."""
    steps, blocks, count, _ = tape.features.shape
    layers, hidden = tape.hidden.shape[1], tape.hidden.shape[3]
    plane = blocks * hidden * BLOCK
    for s in range(first, last):
        filled = min(BLOCK, columns - s * BLOCK)
        for t in range(steps):
            old, new = (t * layers * blocks + s) * hidden * BLOCK, ((t + 1) * layers * blocks + s) * hidden * BLOCK
            below = pointer(tape.features, (t * blocks + s) * count * BLOCK)
            own, above = pointer(tape.hidden, old), pointer(tape.hidden, new)
            content, kept = pointer(tape.cell, old), pointer(tape.cell, new)
            states = BlockStates(own, above, plane, content, kept, above, own, plane, BLOCK)
            forward_layers(cell, below, states, hidden, filled)


class SequenceLSTM:
    """Runs the layers of a ``torch.nn.LSTM``; buffers are reused."""

    def __init__(self) -> None:
        self._workspace = Workspace()
        self._shape: tuple[object, ...] = ()
        self._passes = 0

    def __call__(
        self, inputs: Tensor, hidden: Tensor, cell: Tensor, weights: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the last layer's h, (T, E, H), and the last h and c, (layers, E, H) each, as constants.

        Args:
            inputs: Inputs, (T, E, K).
            hidden: h before the first step, (layers, E, H).
            cell: c, of the same shape.
            weights: Input weights (4H, K), hidden weights (4H, H) and two biases (4H,) of each layer in turn.
        """
        outputs, *state = differentiable(
            lambda: self._forward(inputs, (hidden, cell), weights), self._backward, lambda: self._passes, weights
        )
        return outputs, (state[0], state[1])

    def _forward(self, inputs: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run all steps, kept in the buffers."""
        self._passes += 1
        columns = self._columns = inputs.shape[1]
        layers = [
            [weights[k].numpy(), weights[k + 1].numpy(), (weights[k + 2] + weights[k + 3]).numpy()]
            for k in range(0, len(weights), 4)
        ]
        found, packed = self._allocate(inputs, state[0]), pack(layers, columns)
        self._cell = packed
        fill(torch.from_numpy(found.features), inputs.transpose(1, 2))
        rows = [torch.from_numpy(values) for values in (found.hidden, found.cell)]
        for row, value in zip(rows, state, strict=True):
            fill(row[0], value.transpose(1, 2))
        group = thread_group(torch.get_num_threads())
        group.each(blocks_of(columns), lambda _, first, last: sweep(packed, found, columns, first, last))
        wanted = rows[0][1:, -1], rows[0][-1], rows[1][-1]
        return tuple(unblocked(value, columns).transpose(1, 2).contiguous() for value in wanted)

    def _backward(self, grad_outputs: Tensor) -> list[Tensor]:
        """Return the gradients of the weights, from ∂objective/∂outputs (T, E, H)."""
        fill(torch.from_numpy(self._tape.grad_top), grad_outputs.transpose(1, 2))
        no_head = np.zeros(0, self._tape.hidden.dtype)
        found, _ = self._workspace.gradient(self._cell, no_head, self._tape, self._columns)
        return [part for k in range(0, len(found), 3) for part in (*found[k : k + 3], found[k + 2])]

    def _allocate(self, inputs: Tensor, hidden: Tensor) -> LSTMTape:
        shape = (inputs.shape, hidden.shape, hidden.dtype)
        if shape != self._shape:
            announce(sweep, "LSTM")
            self._shape, dtype = shape, hidden.numpy().dtype
            (steps, _, width), (layers, episodes, units) = inputs.shape, hidden.shape
            blocks = blocks_of(episodes)
            h, c = (zeros((steps + 1, layers, blocks, units, BLOCK), dtype) for _ in range(2))
            features, grad_top = (zeros((steps, blocks, rows, BLOCK), dtype) for rows in (width, units))
            self._tape = LSTMTape(features, h, c, zeros((0, 0), dtype), grad_top)
        return self._tape
