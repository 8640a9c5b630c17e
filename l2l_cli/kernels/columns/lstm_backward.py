"""Back-propagation through time for ``columns.lstm``: from ∂objective/∂(its answers) to ∂objective/∂(its weights).

Features and the state before the first step count as data: nothing is pulled back to them.  A block goes through all
its steps by itself.  Only h and c have been kept: its gates are computed again, which costs less than fetching them
from memory.  Their errors stay in cache for ``CHUNK`` steps, after which the products with the sources, summed over
steps and columns, are added to the gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.columns.lstm import Cell, gates
from l2l_cli.kernels.columns.outer_products import outer, total
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import sigmoid_and_inverse
from l2l_cli.kernels.simd.registers import (
    WIDTH,
    Array,
    IntArray,
    ahead,
    fma,
    load,
    pointer,
    repeat,
    splat,
    store,
    zeros,
)
from l2l_cli.kernels.threads import team

CHUNK = 4
"""Steps whose errors are kept at once: 2 · 4 · 80 · 64 numbers are 160 KiB, a part of a second-level cache."""


class Tape(NamedTuple):
    """What T steps over B blocks leave behind, and what their backward pass is given.

    Attributes:
        features: (T, B, F, BLOCK).
        hidden: h of every layer, at first that before the first step, (T + 1, layers, B, H, BLOCK).
        cell: c, alike.
        of_moves: ∂objective/∂(a head's answers), (T, B · BLOCK), or (0, 0): there is no head.
        of_top: ∂objective/∂(the last layer's h), (T, B, H, BLOCK), or (0, 0, 0, 0): only by the head.
    """

    features: Array
    hidden: Array
    cell: Array
    of_moves: Array
    of_top: Array


class Gradient(NamedTuple):
    """∂objective/∂weights: for each layer in turn (4H, K + H + 1), bias last; and of the head (H + 1,)."""

    layers: Array
    head: Array


class Scratch(NamedTuple):
    """Room for one block.

    Attributes:
        of_hidden: ∂/∂h, (layers, H + 3, BLOCK): sources go by fours.
        of_cell: ∂/∂c, (layers, H, BLOCK).
        of_gates: ∂/∂gates, (layers, CHUNK, 4H, BLOCK).
        of_features: ∂/∂features, (F, BLOCK), or (0, BLOCK): features are data.
    """

    of_hidden: Array
    of_cell: Array
    of_gates: Array
    of_features: Array


class Workspace:
    """Back-propagates on as many threads as torch may use; their rooms are kept from one time to the next."""

    def __init__(self) -> None:
        self._rooms: list[Scratch] = []

    def gradient(
        self, cell: Cell, head: Array, tape: Tape, columns: int, visited: IntArray | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Return ∂objective/∂(input weights, hidden weights, bias) of each layer in turn, and of the head (H + 1,).

        Args:
            cell: Weights.
            head: (H + 1,), or (0,) if there is none.
            tape: Of the forward pass, with what is asked of it filled in.
            columns: How many there are, padding left out.
            visited: Numbers of the blocks that are asked for anything; None is all.
        """
        crew, dtype = team(torch.get_num_threads()), tape.hidden.dtype
        _, layers, blocks, hidden, _ = tape.hidden.shape
        while len(self._rooms) < crew.threads:
            self._rooms.append(
                Scratch(
                    zeros((layers, hidden + 3, BLOCK), dtype),
                    zeros((layers, hidden, BLOCK), dtype),
                    zeros((layers, CHUNK, 4 * hidden, BLOCK), dtype),
                    zeros((0, BLOCK), dtype),
                )
            )
        widths = [int(below) + hidden + 1 for below in cell.starts[:, 2]]
        parts = [
            Gradient(np.zeros(4 * hidden * sum(widths), dtype), np.zeros(hidden + 1, dtype))
            for _ in range(crew.threads)
        ]
        order = np.arange(blocks) if visited is None else visited
        crew.each(
            len(order),
            lambda k, first, last: backward(cell, head, tape, parts[k], self._rooms[k], columns, order[first:last]),
        )
        whole, of_head = (torch.from_numpy(np.sum(values, 0)) for values in zip(*parts, strict=True))
        return by_weight(whole, cell.starts, hidden), of_head


def by_weight(gradient: Tensor, starts: IntArray, hidden: int) -> list[Tensor]:
    """Return ∂objective/∂(input weights, hidden weights, bias) of each layer in turn, of a ``Gradient.layers``."""
    result: list[Tensor] = []
    widths = [int(below) + hidden + 1 for below in starts[:, 2]]
    for table, width in zip(torch.split(gradient, [4 * hidden * width for width in widths]), widths, strict=True):
        below, own, bias = torch.split(table.view(4 * hidden, width), [width - hidden - 1, hidden, 1], 1)
        result += [below, own, bias.squeeze(1)]
    return result


@kernel
def backward(
    cell: Cell, head: Array, tape: Tape, gradient: Gradient, room: Scratch, columns: int, visited: IntArray
) -> None:
    """Add the gradient of the blocks that are visited, of ``columns`` in all."""
    steps, layers = tape.features.shape[0], tape.hidden.shape[1]
    for s in visited:
        filled = min(BLOCK, columns - s * BLOCK)
        room.of_hidden[:] = 0.0
        room.of_cell[:] = 0.0
        stop = steps
        while stop > 0:
            start = max(0, stop - CHUNK)
            for t in range(stop - 1, start - 1, -1):
                ask(cell, head, tape, room, t, s)
                for n in range(layers - 1, -1, -1):
                    slopes(cell, tape, room, n, t, s, t - start, filled)
                    pull(cell, room, n, t - start, filled)
            collect(tape, gradient, room, s, start, stop, filled)
            stop = start


@kernel
def ask(cell: Cell, head: Array, tape: Tape, room: Scratch, t: int, s: int) -> None:
    """Add what is asked of the top layer's h at step t."""
    layers, blocks, hidden = tape.hidden.shape[1:4]
    top, part = pointer(room.of_hidden, (layers - 1) * (hidden + 3) * BLOCK), cell.part
    if tape.of_moves.shape[0] > 0:
        weights, moves = pointer(head, 0), pointer(tape.of_moves, (t * blocks + s) * BLOCK)
        for at in range(0, hidden * BLOCK, WIDTH * len(part)):
            e = load(moves, at % BLOCK, part, 1)
            store(top, at, fma(repeat(weights, at // BLOCK, part), e, load(top, at, part, 1)), 1)
    if tape.of_top.shape[0] > 0:
        given = pointer(tape.of_top, (t * blocks + s) * hidden * BLOCK)
        for at in range(0, hidden * BLOCK, WIDTH * len(part)):
            store(top, at, load(top, at, part, 1) + load(given, at, part, 1), 1)


@kernel
def slopes(cell: Cell, tape: Tape, room: Scratch, n: int, t: int, s: int, slot: int, filled: int) -> None:
    """Compute a layer's gates again and turn ∂/∂h and ∂/∂c into ∂/∂gates; ∂/∂c becomes that of step t − 1."""
    hidden = tape.hidden.shape[3]
    below, count, own, content, above = _sources(tape, n, t, s)
    weights, bias = pointer(cell.gates, cell.starts[n, 0]), pointer(cell.bias, n * 4 * hidden)
    of_hidden = pointer(room.of_hidden, n * (hidden + 3) * BLOCK)
    of_cell = pointer(room.of_cell, n * hidden * BLOCK)
    into = pointer(room.of_gates, (n * CHUNK + slot) * 4 * hidden * BLOCK)
    row, part = hidden * BLOCK, cell.part
    for j in range(hidden):
        for q in range(0, filled, WIDTH * len(part)):
            i, f, g, o = gates(weights, bias, j, ahead(below, q), count, ahead(own, q), hidden, part)
            at = j * BLOCK + q
            o, inverse = sigmoid_and_inverse(o)
            # h = o tanh c has been kept, which spares the hyperbolic tangent.
            c, of_h = load(above, at, part, 1) * inverse, load(of_hidden, at, part, 1)
            of_c = load(of_cell, at, part, 1) + of_h * o * (1.0 - c * c)
            store(into, at, of_c * g * i * (1.0 - i), 1)
            store(into, row + at, of_c * load(content, at, part, 1) * f * (1.0 - f), 1)
            store(into, 2 * row + at, of_c * i * (1.0 - g * g), 1)
            store(into, 3 * row + at, of_h * c * o * (1.0 - o), 1)
            store(of_cell, at, of_c * f, 1)


@kernel
def _sources(tape: Tape, n: int, t: int, s: int):  # type: ignore[no-untyped-def]
    """Return where layer n finds what is below it, how many those are, and its h_{t−1}, c_{t−1} and h_t."""
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
def pull(cell: Cell, room: Scratch, n: int, slot: int, filled: int) -> None:
    """Carry ∂/∂gates to what is below, to be added there, and to h_{t−1}, which ∂/∂h becomes; four sources at once."""
    hidden, below, part = room.of_cell.shape[1], cell.starts[n, 2], cell.part
    errors = pointer(room.of_gates, (n * CHUNK + slot) * 4 * hidden * BLOCK)
    skip = below if n == 0 and room.of_features.shape[0] == 0 else 0
    for k in range(skip - skip % 4, below + hidden, 4):
        weights = pointer(cell.back, cell.starts[n, 1] + k * 4 * hidden)
        for q in range(0, filled, WIDTH * len(part)):
            a = b = c = d = splat(0.0, load(errors, 0, part, 1))
            for r in range(4 * hidden):
                e = load(errors, r * BLOCK + q, part, 1)
                a = fma(repeat(weights, 4 * r, part), e, a)
                b = fma(repeat(weights, 4 * r + 1, part), e, b)
                c = fma(repeat(weights, 4 * r + 2, part), e, c)
                d = fma(repeat(weights, 4 * r + 3, part), e, d)
            _deliver(room, n, k, below, q, part, a)
            _deliver(room, n, k + 1, below, q, part, b)
            _deliver(room, n, k + 2, below, q, part, c)
            _deliver(room, n, k + 3, below, q, part, d)


@kernel
def _deliver(room: Scratch, n: int, k: int, below: int, q: int, part: tuple[int, ...], value) -> None:  # type: ignore[no-untyped-def]
    """Put the error of source k of layer n where it belongs."""
    hidden = room.of_cell.shape[1]
    own = pointer(room.of_hidden, n * (hidden + 3) * BLOCK)
    if below <= k < below + hidden:
        store(own, (k - below) * BLOCK + q, value, 1)
    elif k < below and n > 0:
        under = pointer(room.of_hidden, ((n - 1) * (hidden + 3) + k) * BLOCK)
        store(under, q, load(under, q, part, 1) + value, 1)
    elif k < min(below, room.of_features.shape[0]):
        store(pointer(room.of_features, k * BLOCK), q, value, 1)


@kernel
def collect(tape: Tape, gradient: Gradient, room: Scratch, s: int, start: int, stop: int, filled: int) -> None:
    """Add a block's products of ∂/∂gates and sources over some steps to the gradient."""
    layers, blocks, hidden = tape.hidden.shape[1:4]
    begin, whole = 0, layers * blocks * hidden * BLOCK
    for n in range(layers):
        below, count, own, _, _ = _sources(tape, n, start, s)
        columns = count + hidden + 1
        errors = pointer(room.of_gates, n * CHUNK * 4 * hidden * BLOCK)
        sink = pointer(gradient.layers, begin)
        stride = blocks * count * BLOCK if n == 0 else whole
        rows, steps = 4 * hidden, stop - start
        outer(sink, columns, errors, rows * BLOCK, rows, steps, below, stride, count, filled)
        outer(ahead(sink, count), columns, errors, rows * BLOCK, rows, steps, own, whole, hidden, filled)
        total(ahead(sink, count + hidden), columns, errors, rows * BLOCK, rows, steps, filled)
        begin += 4 * hidden * columns
    if tape.of_moves.shape[0] > 0:
        top = pointer(tape.hidden, (start + 1) * whole + ((layers - 1) * blocks + s) * hidden * BLOCK)
        moves, pace = pointer(tape.of_moves, (start * blocks + s) * BLOCK), blocks * BLOCK
        outer(pointer(gradient.head, 0), 0, moves, pace, 1, stop - start, top, whole, hidden, filled)
        total(pointer(gradient.head, hidden), 0, moves, pace, 1, stop - start, filled)
