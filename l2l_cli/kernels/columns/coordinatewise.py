"""One step of the coordinatewise LSTM: gradients in, parameters and memory out, a block of coordinates at a time.

Reference: ``optimizers.coordinatewise_lstm.CoordinatewiseLSTM``.
Source: Andrychowicz et al. 2016, §2.1, appendix A.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.columns.lstm import BlockStates, LSTMWeights, forward_layers
from l2l_cli.kernels.columns.transfers import copy_in, copy_out
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import at_least, at_most, log_size
from l2l_cli.kernels.simd.registers import WIDTH, Array, fma, load, pointer, repeat, splat, store
from l2l_cli.kernels.weights import Mode

GIVEN, IDENTITY, LOG_AND_SIGN = map(int, Mode)


class PackedRule(NamedTuple):
    """A learned rule.

    Attributes:
        cell: Its layers.
        head: Weights and bias of the displacement, (H + 1,), output scale included.
        shown: Mode of the features, a ``Mode``.
        constant: Constant of the ``Presentation``.
    """

    cell: LSTMWeights
    head: Array
    shown: int
    constant: float


class RuleStep(NamedTuple):
    """The arrays that one step reads and writes: B blocks, or rows of all C coordinates.

    Attributes:
        gradient: Gradient, (B · BLOCK,) with padding, or (C,); not read if features are ``GIVEN``.
        features: Features, (B, F, BLOCK), or (F, C), or (0, 0) if rows are used and features are not given.
        hidden: h before the step, (layers, B, H, BLOCK) or (layers, H, C).
        cell: c before the step, of the same shape.
        next_hidden: h after it.
        next_cell: c after it.
        params: θ before the step, shaped as the gradient.
        next_params: θ after it.
    """

    gradient: Array
    features: Array
    hidden: Array
    cell: Array
    next_hidden: Array
    next_cell: Array
    params: Array
    next_params: Array


@kernel
def forward(rule: PackedRule, step: RuleStep, first: int, last: int) -> None:
    """Advance the blocks ``first`` … ``last`` − 1 by one step."""
    _, blocks, hidden, _ = step.hidden.shape
    plane = blocks * hidden * BLOCK
    for s in range(first, last):
        at = s * hidden * BLOCK
        own, above = pointer(step.hidden, at), pointer(step.next_hidden, at)
        content, kept = pointer(step.cell, at), pointer(step.next_cell, at)
        _advance(rule, step, s, BlockStates(own, above, plane, content, kept, above, own, plane, BLOCK))


@kernel
def _advance(rule: PackedRule, step: RuleStep, s: int, states: BlockStates) -> None:
    """Take block s through the layers, and move its coordinates."""
    hidden, head, registers = step.hidden.shape[2], pointer(rule.head, 0), rule.cell.registers
    _show(rule, step, s)
    below = pointer(step.features, s * step.features.shape[1] * BLOCK)
    top = forward_layers(rule.cell, below, states, hidden, BLOCK)
    for q in range(0, BLOCK, WIDTH * len(registers)):
        move = repeat(head, hidden, registers)
        for j in range(hidden):
            move = fma(repeat(head, j, registers), load(top, j * BLOCK + q, registers, 1), move)
        store(step.next_params, s * BLOCK + q, load(step.params, s * BLOCK + q, registers, 1) + move, 1)


@kernel
def forward_columns(rule: PackedRule, step: RuleStep, block: RuleStep, first: int, last: int) -> None:
    """Advance the blocks ``first`` … ``last`` − 1 of rows of all columns by one step, through one block's arrays.

    For a whole block, c is read from these rows and c and h are written to them directly: rows lie far apart in memory,
    but waiting for them costs nothing while the next unit is computed.
    """
    layers, hidden, columns = step.hidden.shape
    rows, plane = layers * hidden, hidden * BLOCK
    own, above = pointer(block.hidden, 0), pointer(block.next_hidden, 0)
    near, out = pointer(block.cell, 0), pointer(block.next_cell, 0)
    for s in range(first, last):
        at = s * BLOCK
        filled = min(BLOCK, columns - at)
        copy_in(pointer(block.gradient, 0), pointer(step.gradient, at), 1, columns, filled)
        if rule.shown == GIVEN:
            copy_in(pointer(block.features, 0), pointer(step.features, at), step.features.shape[0], columns, filled)
        copy_in(own, pointer(step.hidden, at), rows, columns, filled)
        copy_in(pointer(block.params, 0), pointer(step.params, at), 1, columns, filled)
        content, kept, copy = pointer(step.cell, at), pointer(step.next_cell, at), pointer(step.next_hidden, at)
        coming = pointer(step.hidden, at + BLOCK)
        states = BlockStates(own, above, plane, content, kept, copy, coming, hidden * columns, columns)
        if filled < BLOCK:
            copy_in(near, content, rows, columns, filled)
            states = BlockStates(own, above, plane, near, out, above, own, plane, BLOCK)
        _advance(rule, block, 0, states)
        if filled < BLOCK:
            copy_out(copy, above, rows, columns, filled)
            copy_out(kept, out, rows, columns, filled)
        copy_out(pointer(step.next_params, at), pointer(block.next_params, 0), 1, columns, filled)


@kernel
def _show(rule: PackedRule, step: RuleStep, s: int) -> None:
    """Compute a block's features from its gradient."""
    if rule.shown == GIVEN:
        return
    registers, into = rule.cell.registers, pointer(step.features, s * step.features.shape[1] * BLOCK)
    for q in range(0, BLOCK, WIDTH * len(registers)):
        gradient = load(step.gradient, s * BLOCK + q, registers, 1)
        if rule.shown == IDENTITY:
            store(into, q, rule.constant * gradient, 1)
        else:  # both branches of appendix A meet at e^−p
            one = splat(1.0, gradient)
            store(into, q, at_least((1.0 / rule.constant) * log_size(gradient), splat(-1.0, one)), 1)
            direction = at_most(at_least(np.exp(rule.constant) * gradient, splat(-1.0, one)), one)
            store(into, BLOCK + q, direction, 1)
