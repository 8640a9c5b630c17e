"""One step of small LSTMs shared by coordinates, one for each kind of coordinate: the networks of MLHF.

Reference: ``optimizers.type_rnns.CoordinateRNN``.  All kinds are one call.  A block of coordinates is fetched into the
first-level cache, taken through all layers, and put back; for the backward pass its gates are computed again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.columns.lstm import Cell, climb
from l2l_cli.kernels.columns.lstm_backward import CHUNK, Gradient, Scratch, Tape, ask, collect, pull, slopes
from l2l_cli.kernels.columns.transfers import copy_in, copy_out
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import softplus
from l2l_cli.kernels.simd.registers import WIDTH, Array, IntArray, fma, load, pointer, repeat, store, zeros


class Networks(NamedTuple):
    """Weights of each kind's network, packed as in ``lstm.Cell``, and of its head (H + 1,); leading axis: the kind."""

    gates: Array
    bias: Array
    back: Array
    head: Array
    starts: NDArray[np.int64]
    part: tuple[int, ...]


class Step(NamedTuple):
    """What one step of C coordinates reads and writes.

    Attributes:
        runs: Of coordinates of one kind side by side: (first block, first coordinate, how many, kind) each.
        features: (K, C).
        hidden: h before the step, (layers, H, C).
        cell: c, alike.
        values: The answers, (C,).
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


class Errors(NamedTuple):
    """∂objective/∂(what a step answers) and, to be written, ∂objective/∂(what it was given).

    Attributes:
        of_sums: Of the head's answers before the softplus, (C,).
        of_next_hidden: (layers, H, C).
        of_next_cell: Alike.
        of_features: (K, C), or (0, 0): not wanted.
        of_hidden: (layers, H, C).
        of_cell: Alike.
    """

    of_sums: Array
    of_next_hidden: Array
    of_next_cell: Array
    of_features: Array
    of_hidden: Array
    of_cell: Array


class Room(NamedTuple):
    """One block as a tape of one step, and what its backward pass writes."""

    tape: Tape
    scratch: Scratch


def room(features: int, layers: int, hidden: int, dtype: Any) -> Room:
    """Return an empty room."""
    h, c = (zeros((2, layers, 1, hidden, BLOCK), dtype) for _ in range(2))
    tape = Tape(zeros((1, 1, features, BLOCK), dtype), h, c, zeros((1, BLOCK), dtype), zeros((0, 0, 0, 0), dtype))
    errors = zeros((layers, hidden + 3, BLOCK), dtype), zeros((layers, hidden, BLOCK), dtype)
    scratch = Scratch(*errors, zeros((layers, CHUNK, 4 * hidden, BLOCK), dtype), zeros((features, BLOCK), dtype))
    return Room(tape, scratch)


@kernel
def forward(networks: Networks, step: Step, place: Room, first: int, last: int) -> None:
    """Advance the blocks ``first`` … ``last`` − 1 by one step."""
    layers, hidden, columns = step.hidden.shape
    count, rows, part = step.features.shape[0], layers * hidden, networks.part
    features, sums = pointer(place.tape.features, 0), pointer(place.tape.of_moves, 0)
    own, above = pointer(place.tape.hidden, 0), pointer(place.tape.hidden, rows * BLOCK)
    content, kept = pointer(place.tape.cell, 0), pointer(place.tape.cell, rows * BLOCK)
    for s in range(first, last):
        kind, at, filled = _where(step.runs, s)
        copy_in(features, pointer(step.features, at), (1, 1, count), columns, filled)
        copy_in(own, pointer(step.hidden, at), (1, 1, rows), columns, filled)
        copy_in(content, pointer(step.cell, at), (1, 1, rows), columns, filled)
        top = climb(_cell(networks, kind), features, own, content, above, kept, hidden * BLOCK, hidden, filled)
        head = pointer(networks.head, kind * (hidden + 1))
        for q in range(0, filled, WIDTH * len(part)):
            value = repeat(head, hidden, part)
            for j in range(hidden):
                value = fma(repeat(head, j, part), load(top, j * BLOCK + q, part, 1), value)
            store(sums, q, softplus(value), 1)
        copy_out(pointer(step.values, at), sums, (1, 1, 1), columns, filled)
        copy_out(pointer(step.next_hidden, at), above, (1, 1, rows), columns, filled)
        copy_out(pointer(step.next_cell, at), kept, (1, 1, rows), columns, filled)


@kernel
def backward(
    networks: Networks, step: Step, errors: Errors, sink: Array, head_sink: Array, place: Room, first: int, last: int
) -> None:
    """Write the errors of the blocks ``first`` … ``last`` − 1, and add their gradient of the weights.

    Args:
        networks: Weights.
        step: As it was made.
        errors: Of it.
        sink: As ``Gradient.layers``; leading axis: the kind.
        head_sink: As ``Gradient.head``, alike.
        place: Room for a block.
        first: Of the blocks.
        last: The one after them.
    """
    layers, hidden, columns = step.hidden.shape
    rows, part, tape, scratch = layers * hidden, networks.part, place.tape, place.scratch
    for s in range(first, last):
        kind, at, filled = _where(step.runs, s)
        _recall(step, errors, place, at, filled, part)
        cell, gradient = _cell(networks, kind), Gradient(sink[kind], head_sink[kind])
        ask(cell, networks.head[kind], tape, scratch, 0, 0)
        for n in range(layers - 1, -1, -1):
            slopes(cell, tape, scratch, n, 0, 0, 0, filled)
            pull(cell, scratch, n, 0, filled)
        collect(tape, gradient, scratch, 0, 0, 1, filled)
        if errors.of_features.shape[0] > 0:
            source = pointer(scratch.of_features, 0)
            copy_out(pointer(errors.of_features, at), source, (1, 1, errors.of_features.shape[0]), columns, filled)
        copy_out(pointer(errors.of_cell, at), pointer(scratch.of_cell, 0), (1, 1, rows), columns, filled)
        for n in range(layers):
            into = pointer(errors.of_hidden, n * hidden * columns + at)
            copy_out(into, pointer(scratch.of_hidden, n * (hidden + 3) * BLOCK), (1, 1, hidden), columns, filled)


@kernel
def _recall(step: Step, errors: Errors, place: Room, at: int, filled: int, part: tuple[int, ...]) -> None:
    """Fetch a block as it was before and after its step, and what is asked of it."""
    layers, hidden, columns = step.hidden.shape
    rows, tape, scratch = layers * hidden, place.tape, place.scratch
    copy_in(pointer(tape.features, 0), pointer(step.features, at), (1, 1, step.features.shape[0]), columns, filled)
    copy_in(pointer(tape.hidden, 0), pointer(step.hidden, at), (1, 1, rows), columns, filled)
    copy_in(pointer(tape.hidden, rows * BLOCK), pointer(step.next_hidden, at), (1, 1, rows), columns, filled)
    copy_in(pointer(tape.cell, 0), pointer(step.cell, at), (1, 1, rows), columns, filled)
    copy_in(pointer(tape.of_moves, 0), pointer(errors.of_sums, at), (1, 1, 1), columns, filled)
    copy_in(pointer(scratch.of_cell, 0), pointer(errors.of_next_cell, at), (1, 1, rows), columns, filled)
    for n in range(layers):
        source = pointer(errors.of_next_hidden, n * hidden * columns + at)
        copy_in(pointer(scratch.of_hidden, n * (hidden + 3) * BLOCK), source, (1, 1, hidden), columns, filled)


@kernel
def _where(runs: IntArray, s: int):  # type: ignore[no-untyped-def]
    """Return the kind of block s, its first coordinate, and how many it has."""
    r = 0
    while r + 1 < runs.shape[0] and runs[r + 1, 0] <= s:
        r += 1
    done = (s - runs[r, 0]) * BLOCK
    return runs[r, 3], runs[r, 1] + done, min(BLOCK, runs[r, 2] - done)


@kernel
def _cell(networks: Networks, kind: int) -> Cell:
    """Return the weights of one kind."""
    return Cell(networks.gates[kind], networks.bias[kind], networks.back[kind], networks.starts, networks.part)
