"""One step of the coordinatewise LSTM: gradients in, parameters and memory out, a block of coordinates at a time.

Reference: ``optimizers.coordinatewise_lstm.CoordinatewiseLSTM``.
Source: Andrychowicz et al. 2016, §2.1, appendix A.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.columns.lstm import Cell, climb
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import at_least, at_most, log_size
from l2l_cli.kernels.simd.registers import WIDTH, Array, fma, load, pointer, repeat, splat, store
from l2l_cli.kernels.weights import Mode

GIVEN, IDENTITY, LOG_AND_SIGN = map(int, Mode)


class Rule(NamedTuple):
    """A learned rule.

    Attributes:
        cell: Its layers.
        head: (H + 1,): weights and bias of the displacement, output scale included.
        shown: What features are: a ``Mode``.
        constant: That of the ``Presentation``.
    """

    cell: Cell
    head: Array
    shown: int
    constant: float


class Step(NamedTuple):
    """What one step over B blocks reads and writes; coordinates beyond the last are padding.

    Attributes:
        gradient: (B · BLOCK,); not read if features are ``GIVEN``.
        features: (B, F, BLOCK).
        hidden: h before the step, (layers, B, H, BLOCK).
        cell: c before the step, alike.
        next_hidden: h after it.
        next_cell: c after it.
        params: θ before the step, (B · BLOCK,).
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
def forward(rule: Rule, step: Step, first: int, last: int) -> None:
    """Advance the blocks ``first`` … ``last`` − 1 by one step."""
    _, blocks, hidden, _ = step.hidden.shape
    head, part = pointer(rule.head, 0), rule.cell.part
    for s in range(first, last):
        _show(rule, step, s)
        below = pointer(step.features, s * step.features.shape[1] * BLOCK)
        at = s * hidden * BLOCK
        own, content = pointer(step.hidden, at), pointer(step.cell, at)
        above, kept = pointer(step.next_hidden, at), pointer(step.next_cell, at)
        top = climb(rule.cell, below, own, content, above, kept, blocks * hidden * BLOCK, hidden, BLOCK)
        for q in range(0, BLOCK, WIDTH * len(part)):
            move = repeat(head, hidden, part)
            for j in range(hidden):
                move = fma(repeat(head, j, part), load(top, j * BLOCK + q, part, 1), move)
            store(step.next_params, s * BLOCK + q, load(step.params, s * BLOCK + q, part, 1) + move, 1)


@kernel
def _show(rule: Rule, step: Step, s: int) -> None:
    """Make a block's features of its gradient."""
    if rule.shown == GIVEN:
        return
    part, into = rule.cell.part, pointer(step.features, s * step.features.shape[1] * BLOCK)
    for q in range(0, BLOCK, WIDTH * len(part)):
        gradient = load(step.gradient, s * BLOCK + q, part, 1)
        if rule.shown == IDENTITY:
            store(into, q, rule.constant * gradient, 1)
        else:  # both branches of appendix A meet at e^−p
            one = splat(1.0, gradient)
            store(into, q, at_least((1.0 / rule.constant) * log_size(gradient), splat(-1.0, one)), 1)
            direction = at_most(at_least(np.exp(rule.constant) * gradient, splat(-1.0, one)), one)
            store(into, BLOCK + q, direction, 1)
