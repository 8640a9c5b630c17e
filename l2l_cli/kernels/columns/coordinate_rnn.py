"""One step of MLHF's networks: small LSTMs shared by coordinates, one for each parameter type.

Reference: ``optimizers.type_rnns.CoordinateRNN``.  One call serves all types.  A block of coordinates is fetched into
the first-level cache, taken through all layers, and put back; the backward pass recomputes its gates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import typing as npt

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.columns.lstm import BlockStates, LSTMWeights, forward_layers
from l2l_cli.kernels.columns.lstm_backward import (
    LSTMGradient,
    LSTMScratch,
    LSTMTape,
    accumulate_weights,
    gate_gradients,
    input_gradients,
    output_gradients,
    scratch_for,
)
from l2l_cli.kernels.columns.transfers import copy_in, copy_out
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import softplus
from l2l_cli.kernels.simd.registers import WIDTH, Array, IntArray, Registers, fma, load, pointer, repeat, store, zeros


class RNNWeights(NamedTuple):
    """Weights of each parameter type's network, packed as in ``LSTMWeights``, and of its head, (H + 1,).

    The first axis is that of the types.
    """

    gates: Array
    bias: Array
    back: Array
    head: Array
    starts: npt.NDArray[np.int64]
    registers: Registers


class RNNStep(NamedTuple):
    """The arrays that one step of C coordinates reads and writes.

    Attributes:
        runs: Coordinates of one type that lie side by side: (first block, first coordinate, number, type) each.
        features: Features, (K, C).
        hidden: h before the step, (layers, H, C).
        cell: c, of the same shape.
        values: Outputs, (C,).
        next_hidden: h after the step.
        next_cell: c after it.
    """

    runs: IntArray
    features: Array
    hidden: Array
    cell: Array
    values: Array
    next_hidden: Array
    next_cell: Array


class RNNGradients(NamedTuple):
    """Gradients of the objective with respect to a step's outputs and, to be written, to its inputs.

    Attributes:
        grad_sums: ∂/∂(head's outputs before the softplus), (C,).
        grad_next_hidden: ∂/∂(next h), (layers, H, C).
        grad_next_cell: ∂/∂(next c), of the same shape.
        grad_features: ∂/∂features, (K, C), or (0, 0) if not wanted.
        grad_hidden: ∂/∂h, (layers, H, C).
        grad_cell: ∂/∂c, of the same shape.
    """

    grad_sums: Array
    grad_next_hidden: Array
    grad_next_cell: Array
    grad_features: Array
    grad_hidden: Array
    grad_cell: Array


class RNNBlock(NamedTuple):
    """Working memory of one block: a tape of one step, and what its backward pass writes."""

    tape: LSTMTape
    scratch: LSTMScratch


def rnn_block(features: int, layers: int, hidden: int, dtype: npt.DTypeLike) -> RNNBlock:
    """Return the arrays of one block."""
    h, c = (zeros((2, layers, 1, hidden, BLOCK), dtype) for _ in range(2))
    tape = LSTMTape(zeros((1, 1, features, BLOCK), dtype), h, c, zeros((1, BLOCK), dtype), zeros((0, 0, 0, 0), dtype))
    return RNNBlock(tape, scratch_for(layers, hidden, features, dtype))


@kernel
def forward(networks: RNNWeights, step: RNNStep, block: RNNBlock, first: int, last: int) -> None:
    """Advance the blocks ``first`` … ``last`` − 1 by one step."""
    layers, hidden, columns = step.hidden.shape
    count, rows, registers = step.features.shape[0], layers * hidden, networks.registers
    features, sums = pointer(block.tape.features, 0), pointer(block.tape.grad_moves, 0)
    own, above = pointer(block.tape.hidden, 0), pointer(block.tape.hidden, rows * BLOCK)
    content, kept, plane = pointer(block.tape.cell, 0), pointer(block.tape.cell, rows * BLOCK), hidden * BLOCK
    for s in range(first, last):
        type_, at, filled = _place_of(step.runs, s)
        copy_in(features, pointer(step.features, at), count, columns, filled)
        copy_in(own, pointer(step.hidden, at), rows, columns, filled)
        copy_in(content, pointer(step.cell, at), rows, columns, filled)
        states = BlockStates(own, above, plane, content, kept, above, own, plane, BLOCK)
        top = forward_layers(_weights_of(networks, type_), features, states, hidden, filled)
        head = pointer(networks.head, type_ * (hidden + 1))
        for q in range(0, filled, WIDTH * len(registers)):
            value = repeat(head, hidden, registers)
            for j in range(hidden):
                value = fma(repeat(head, j, registers), load(top, j * BLOCK + q, registers, 1), value)
            store(sums, q, softplus(value), 1)
        copy_out(pointer(step.values, at), sums, 1, columns, filled)
        copy_out(pointer(step.next_hidden, at), above, rows, columns, filled)
        copy_out(pointer(step.next_cell, at), kept, rows, columns, filled)


@kernel
def backward(
    networks: RNNWeights,
    step: RNNStep,
    errors: RNNGradients,
    sinks: LSTMGradient,
    block: RNNBlock,
    first: int,
    last: int,
) -> None:
    """Write the errors of the blocks ``first`` … ``last`` − 1, and add to each type's gradient of the weights."""
    layers, hidden, columns = step.hidden.shape
    rows, registers, tape, scratch = layers * hidden, networks.registers, block.tape, block.scratch
    for s in range(first, last):
        type_, at, filled = _place_of(step.runs, s)
        _load_block(step, errors, block, at, filled, registers)
        cell, gradient = _weights_of(networks, type_), LSTMGradient(sinks.layers[type_], sinks.head[type_])
        output_gradients(cell, networks.head[type_], tape, scratch, 0, 0)
        for n in range(layers - 1, -1, -1):
            gate_gradients(cell, tape, scratch, n, (0, 0, 0), filled)
            input_gradients(cell, scratch, n, 0, filled)
        accumulate_weights(tape, gradient, scratch, 0, 0, 1, filled)
        if errors.grad_features.shape[0] > 0:
            source = pointer(scratch.grad_features, 0)
            copy_out(pointer(errors.grad_features, at), source, errors.grad_features.shape[0], columns, filled)
        copy_out(pointer(errors.grad_cell, at), pointer(scratch.grad_cell, 0), rows, columns, filled)
        for n in range(layers):
            into = pointer(errors.grad_hidden, n * hidden * columns + at)
            copy_out(into, pointer(scratch.grad_hidden, n * (hidden + 3) * BLOCK), hidden, columns, filled)


@kernel
def _load_block(
    step: RNNStep, errors: RNNGradients, block: RNNBlock, at: int, filled: int, registers: Registers
) -> None:
    """Fetch a block as it was before and after its step, and the gradients of the objective that reach it."""
    layers, hidden, columns = step.hidden.shape
    rows, tape, scratch = layers * hidden, block.tape, block.scratch
    copy_in(pointer(tape.features, 0), pointer(step.features, at), step.features.shape[0], columns, filled)
    copy_in(pointer(tape.hidden, 0), pointer(step.hidden, at), rows, columns, filled)
    copy_in(pointer(tape.hidden, rows * BLOCK), pointer(step.next_hidden, at), rows, columns, filled)
    copy_in(pointer(tape.cell, 0), pointer(step.cell, at), rows, columns, filled)
    copy_in(pointer(tape.grad_moves, 0), pointer(errors.grad_sums, at), 1, columns, filled)
    copy_in(pointer(scratch.grad_cell, 0), pointer(errors.grad_next_cell, at), rows, columns, filled)
    for n in range(layers):
        source = pointer(errors.grad_next_hidden, n * hidden * columns + at)
        copy_in(pointer(scratch.grad_hidden, n * (hidden + 3) * BLOCK), source, hidden, columns, filled)


@kernel
def _place_of(runs: IntArray, s: int):  # type: ignore[no-untyped-def]
    """Return the parameter type of block s, its first coordinate, and how many it has."""
    r = 0
    while r + 1 < runs.shape[0] and runs[r + 1, 0] <= s:
        r += 1
    done = (s - runs[r, 0]) * BLOCK
    return runs[r, 3], runs[r, 1] + done, min(BLOCK, runs[r, 2] - done)


@kernel
def _weights_of(networks: RNNWeights, type_: int) -> LSTMWeights:
    """Return the weights of one type."""
    return LSTMWeights(
        networks.gates[type_], networks.bias[type_], networks.back[type_], networks.starts, networks.registers
    )
