"""Back-propagation through time for ``columns.lstm``: from ∂objective/∂outputs to ∂objective/∂weights.

Features and the state before the first step count as data: no gradient flows to them.  A block goes through all its
steps independently of the others.  Only h and c have been kept: gates are recomputed, which costs less than fetching
them from memory.  Their errors stay in the cache for ``CHUNK`` steps, after which the products with the sources, summed
over steps and columns, are added to the gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy import typing as npt
from torch import Tensor

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.columns.lstm import LSTMWeights, gates, layer_of, reciprocals
from l2l_cli.kernels.columns.outer_products import Strided, outer
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.registers import (
    WIDTH,
    Array,
    IntArray,
    Registers,
    ahead,
    fma,
    load,
    pointer,
    prefetch,
    repeat,
    splat,
    store,
    zeros,
)
from l2l_cli.kernels.threads import thread_group

CHUNK = 4
"""Number of steps whose errors are kept at once: 2 · 4 · 80 · 64 numbers are 160 KiB, part of a second-level cache."""


class LSTMTape(NamedTuple):
    """The inputs and states of T steps over B blocks, and the gradients from which their backward pass starts.

    Attributes:
        features: Features, (T, B, F, BLOCK).
        hidden: h of every layer before the first step and after each, (T + 1, layers, B, H, BLOCK).
        cell: c, of the same shape.
        grad_moves: ∂objective/∂(a head's outputs), (T, B · BLOCK), or (0, 0) if there is no head.
        grad_top: ∂objective/∂(the last layer's h), (T, B, H, BLOCK), or (0, 0, 0, 0) if it comes only through the head.
    """

    features: Array
    hidden: Array
    cell: Array
    grad_moves: Array
    grad_top: Array


class LSTMGradient(NamedTuple):
    """∂objective/∂weights: of each layer in turn, (4H, K + H + 1), bias last; and of the head, (H + 1,)."""

    layers: Array
    head: Array


class LSTMScratch(NamedTuple):
    """Working memory for one block.

    Attributes:
        grad_hidden: ∂/∂h, (layers, H + 3, BLOCK), padded because sources go by fours.
        grad_cell: ∂/∂c, (layers, H, BLOCK).
        grad_gates: ∂/∂gates, (layers, CHUNK, 4H, BLOCK).
        grad_features: ∂/∂features, (F, BLOCK), or (0, BLOCK) if features are data.
        ones: Source of the biases, (BLOCK,).
    """

    grad_hidden: Array
    grad_cell: Array
    grad_gates: Array
    grad_features: Array
    ones: Array


def scratch_for(layers: int, hidden: int, features: int, dtype: npt.DTypeLike) -> LSTMScratch:
    """Return working memory for a block; 0 features mean that they are data."""
    shapes = (layers, hidden + 3), (layers, hidden), (layers, CHUNK, 4 * hidden), (features,)
    result = LSTMScratch(*(zeros((*shape, BLOCK), dtype) for shape in (*shapes, ())))
    result.ones[:] = 1.0
    return result


class Workspace:
    """Back-propagates on as many threads as torch may use; their working memory is reused."""

    def __init__(self) -> None:
        self._scratches: list[LSTMScratch] = []

    def gradient(
        self, cell: LSTMWeights, head: Array, tape: LSTMTape, columns: int, visited: IntArray | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Return ∂objective/∂(input weights, hidden weights, bias) of each layer in turn, and of the head (H + 1,).

        Args:
            cell: Weights.
            head: Weights of the head, (H + 1,), or (0,) if there is none.
            tape: Tape of the forward pass, with ∂objective/∂outputs filled in.
            columns: Number of columns, without the padding.
            visited: Indices of the blocks where ∂objective/∂outputs is not zero; None visits all.
        """
        group, dtype = thread_group(torch.get_num_threads()), tape.hidden.dtype
        _, layers, blocks, hidden, _ = tape.hidden.shape
        while len(self._scratches) < group.threads:
            self._scratches.append(scratch_for(layers, hidden, 0, dtype))
        widths = [int(below) + hidden + 1 for below in cell.starts[:, 2]]
        parts = [
            LSTMGradient(np.zeros(4 * hidden * sum(widths), dtype), np.zeros(hidden + 1, dtype))
            for _ in range(group.threads)
        ]
        order = np.arange(blocks) if visited is None else visited
        group.each(
            len(order),
            lambda k, first, last: backward(cell, head, tape, parts[k], self._scratches[k], columns, order[first:last]),
        )
        whole, grad_head = (torch.from_numpy(np.sum(values, 0)) for values in zip(*parts, strict=True))
        return by_weight(whole, cell.starts, hidden), grad_head


def by_weight(gradient: Tensor, starts: IntArray, hidden: int) -> list[Tensor]:
    """Return ∂objective/∂(input weights, hidden weights, bias) of each layer in turn, given ``LSTMGradient.layers``."""
    result: list[Tensor] = []
    widths = [int(below) + hidden + 1 for below in starts[:, 2]]
    for table, width in zip(torch.split(gradient, [4 * hidden * width for width in widths]), widths, strict=True):
        below, own, bias = torch.split(table.view(4 * hidden, width), [width - hidden - 1, hidden, 1], 1)
        result += [below, own, bias.squeeze(1)]
    return result


@kernel
def backward(
    cell: LSTMWeights,
    head: Array,
    tape: LSTMTape,
    gradient: LSTMGradient,
    scratch: LSTMScratch,
    columns: int,
    visited: IntArray,
) -> None:
    """Add the gradient from the blocks that are visited; there are ``columns`` columns in all."""
    steps, layers = tape.features.shape[0], tape.hidden.shape[1]
    for s in visited:
        filled = min(BLOCK, columns - s * BLOCK)
        scratch.grad_hidden[:] = 0.0
        scratch.grad_cell[:] = 0.0
        stop = steps
        while stop > 0:
            start = max(0, stop - CHUNK)
            for t in range(stop - 1, start - 1, -1):
                output_gradients(cell, head, tape, scratch, t, s)
                for n in range(layers - 1, -1, -1):
                    gate_gradients(cell, tape, scratch, n, (t, s, t - start), filled)
                    input_gradients(cell, scratch, n, t - start, filled)
            accumulate_weights(tape, gradient, scratch, s, start, stop, filled)
            stop = start


@kernel
def output_gradients(cell: LSTMWeights, head: Array, tape: LSTMTape, scratch: LSTMScratch, t: int, s: int) -> None:
    """Add the part of ∂/∂h of the top layer that comes from the outputs at step t."""
    layers, blocks, hidden = tape.hidden.shape[1:4]
    top, registers = pointer(scratch.grad_hidden, (layers - 1) * (hidden + 3) * BLOCK), cell.registers
    if tape.grad_moves.shape[0] > 0:
        weights, moves = pointer(head, 0), pointer(tape.grad_moves, (t * blocks + s) * BLOCK)
        for at in range(0, hidden * BLOCK, WIDTH * len(registers)):
            e = load(moves, at % BLOCK, registers, 1)
            store(top, at, fma(repeat(weights, at // BLOCK, registers), e, load(top, at, registers, 1)), 1)
    if tape.grad_top.shape[0] > 0:
        given = pointer(tape.grad_top, (t * blocks + s) * hidden * BLOCK)
        for at in range(0, hidden * BLOCK, WIDTH * len(registers)):
            store(top, at, load(top, at, registers, 1) + load(given, at, registers, 1), 1)


@kernel
def gate_gradients(
    cell: LSTMWeights, tape: LSTMTape, scratch: LSTMScratch, n: int, place: tuple[int, int, int], filled: int
) -> None:
    """Recompute a layer's gates and turn ∂/∂h and ∂/∂c into ∂/∂gates; ∂/∂c becomes that of step t − 1.

    ``place`` is step t, block s, and the step's place in the scratch.
    """
    t, s, slot = place
    hidden = tape.hidden.shape[3]
    below, _, own, content, above = _sources(tape, n, t, s)
    layer = layer_of(cell, n, below, own, hidden)
    grad_hidden = pointer(scratch.grad_hidden, n * (hidden + 3) * BLOCK)
    grad_cell = pointer(scratch.grad_cell, n * hidden * BLOCK)
    into = pointer(scratch.grad_gates, (n * CHUNK + slot) * 4 * hidden * BLOCK)
    row, registers = hidden * BLOCK, cell.registers
    earlier = tape.hidden.shape[1] * tape.hidden.shape[2] * row
    for j in range(hidden):
        for q in range(0, filled, WIDTH):  # what step t − 1 reads: the hardware does not prefetch a backward walk
            prefetch(own, j * BLOCK + q - earlier)
            prefetch(content, j * BLOCK + q - earlier)
        for q in range(0, filled, WIDTH * len(registers)):
            i, f, g, o = gates(layer, j, q, registers)
            at = j * BLOCK + q
            # h = o tanh c has been kept, which spares the hyperbolic tangent.
            h, grad_h = load(above, at, registers, 1), load(grad_hidden, at, registers, 1)
            c = h * o
            i, f = reciprocals(i, f)
            g, o = reciprocals(g, o)
            g = g + g - 1.0
            grad_c = fma(grad_h * o, 1.0 - c * c, load(grad_cell, at, registers, 1))
            grad_i, grad_f = grad_c * i, grad_c * f
            store(into, at, grad_i * g * (1.0 - i), 1)
            store(into, row + at, grad_f * load(content, at, registers, 1) * (1.0 - f), 1)
            store(into, 2 * row + at, grad_i * (1.0 - g * g), 1)
            store(into, 3 * row + at, grad_h * h * (1.0 - o), 1)
            store(grad_cell, at, grad_f, 1)


@kernel
def _sources(tape: LSTMTape, n: int, t: int, s: int):  # type: ignore[no-untyped-def]
    """Return where layer n finds the sources below it, how many they are, and its h_{t−1}, c_{t−1} and h_t."""
    layers, blocks, hidden = tape.hidden.shape[1:4]
    features = tape.features.shape[2]
    plane = blocks * hidden * BLOCK
    old = (t * layers + n) * plane + s * hidden * BLOCK
    new = old + layers * plane
    below, count = pointer(tape.features, (t * blocks + s) * features * BLOCK), features
    if n > 0:
        below, count = pointer(tape.hidden, new - plane), hidden
    return below, count, pointer(tape.hidden, old), pointer(tape.cell, old), pointer(tape.hidden, new)


@kernel
def input_gradients(cell: LSTMWeights, scratch: LSTMScratch, n: int, slot: int, filled: int) -> None:
    """Add ∂/∂gates' part of ∂/∂h to the layer below, and turn ∂/∂h_t into ∂/∂h_{t−1}; four sources at once."""
    hidden, below, registers = scratch.grad_cell.shape[1], cell.starts[n, 2], cell.registers
    errors = pointer(scratch.grad_gates, (n * CHUNK + slot) * 4 * hidden * BLOCK)
    skip = below if n == 0 and scratch.grad_features.shape[0] == 0 else 0
    for k in range(skip - skip % 4, below + hidden, 4):
        weights = pointer(cell.back, cell.starts[n, 1] + k * 4 * hidden)
        for q in range(0, filled, WIDTH * len(registers)):
            a = b = c = d = splat(0.0, load(errors, 0, registers, 1))
            for r in range(4 * hidden):
                e = load(errors, r * BLOCK + q, registers, 1)
                a = fma(repeat(weights, 4 * r, registers), e, a)
                b = fma(repeat(weights, 4 * r + 1, registers), e, b)
                c = fma(repeat(weights, 4 * r + 2, registers), e, c)
                d = fma(repeat(weights, 4 * r + 3, registers), e, d)
            _add_input_gradient(scratch, n, k, below, q, registers, a)
            _add_input_gradient(scratch, n, k + 1, below, q, registers, b)
            _add_input_gradient(scratch, n, k + 2, below, q, registers, c)
            _add_input_gradient(scratch, n, k + 3, below, q, registers, d)


@kernel
def _add_input_gradient(scratch: LSTMScratch, n: int, k: int, below: int, q: int, registers: Registers, value) -> None:  # type: ignore[no-untyped-def]
    """Store or add the error of source k of layer n where it belongs."""
    hidden = scratch.grad_cell.shape[1]
    own = pointer(scratch.grad_hidden, n * (hidden + 3) * BLOCK)
    if below <= k < below + hidden:
        store(own, (k - below) * BLOCK + q, value, 1)
    elif k < below and n > 0:
        under = pointer(scratch.grad_hidden, ((n - 1) * (hidden + 3) + k) * BLOCK)
        store(under, q, load(under, q, registers, 1) + value, 1)
    elif k < min(below, scratch.grad_features.shape[0]):
        store(pointer(scratch.grad_features, k * BLOCK), q, value, 1)


@kernel
def accumulate_weights(
    tape: LSTMTape, gradient: LSTMGradient, scratch: LSTMScratch, s: int, start: int, stop: int, filled: int
) -> None:
    """Add a block's products of ∂/∂gates and sources over some steps to the gradient."""
    layers, blocks, hidden = tape.hidden.shape[1:4]
    begin, whole, steps, ones = 0, layers * blocks * hidden * BLOCK, stop - start, Strided(pointer(scratch.ones, 0), 0)
    for n in range(layers):
        below, count, own, _, _ = _sources(tape, n, start, s)
        columns, rows = count + hidden + 1, 4 * hidden
        sink = pointer(gradient.layers, begin)
        errors = Strided(pointer(scratch.grad_gates, n * CHUNK * rows * BLOCK), rows * BLOCK)
        stride = blocks * count * BLOCK if n == 0 else whole
        outer(Strided(sink, columns), errors, Strided(below, stride), rows, count, steps, filled)
        outer(Strided(ahead(sink, count), columns), errors, Strided(own, whole), rows, hidden, steps, filled)
        outer(Strided(ahead(sink, count + hidden), columns), errors, ones, rows, 1, steps, filled)
        begin += rows * columns
    if tape.grad_moves.shape[0] > 0:
        top = pointer(tape.hidden, (start + 1) * whole + ((layers - 1) * blocks + s) * hidden * BLOCK)
        moves = Strided(pointer(tape.grad_moves, (start * blocks + s) * BLOCK), blocks * BLOCK)
        # The units are the rows here, so that four of their sums run at once.
        outer(Strided(pointer(gradient.head, 0), 1), Strided(top, whole), moves, hidden, 1, steps, filled)
        outer(Strided(pointer(gradient.head, hidden), 1), moves, ones, 1, 1, steps, filled)
