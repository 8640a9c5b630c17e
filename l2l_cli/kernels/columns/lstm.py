"""LSTM layers over blocks of columns that share their weights: coordinates of a learned rule, or episodes side by side.

Reference: ``optimizers.lstm_cell.LSTMCell`` and ``torch.nn.LSTM``; gates in the order input, forget, cell, output.  A
register holds one activation of several columns: four gates of one unit are summed at once, and squashed while they are
still in registers.  No activations except h and c are written to memory.

With a the pre-activation of a gate, σ(a) = 1 / (1 + 2^z) for z = −a / log 2, and tanh a = (2 − d) / d for
d = 1 + 2^2z.  Packed weights include these factors of a, so that their sums are the exponents of two; c and h are each
put over one denominator, so that each takes one reciprocal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import one_plus_power, reciprocal
from l2l_cli.kernels.simd.registers import (
    SIXTEEN_AT_ONCE,
    WIDTH,
    Array,
    Registers,
    ahead,
    fma,
    load,
    pointer,
    prefetch,
    repeat,
    store,
)

_LOG2E = 1.0 / math.log(2.0)
TANH = -2.0 * _LOG2E
"""The exponent of two in tanh's denominator per unit of its argument."""


class LSTMWeights(NamedTuple):
    """Weights, packed so that each inner loop reads them in order.

    Attributes:
        gates: Weights ``in_powers`` of each layer, (H, K + H, 4): by unit, by source (what is below, then h_{t−1}), by
            gate.
        bias: Biases ``in_powers`` of each layer, (H, 4).
        back: Weights themselves, for the backward pass, (⌈(K + H) / 4⌉, 4H, 4): by four sources at once, padded with
            zeros; by gate, then unit.
        starts: Place of each layer in ``gates`` and in ``back``, and its number K of sources below, (layers, 3).
        registers: Registers that one sum fills; see ``registers_for``.
    """

    gates: Array
    bias: Array
    back: Array
    starts: NDArray[np.int64]
    registers: Registers


def registers_for(columns: int) -> Registers:
    """Return how many columns are summed at once, as zeros that stand for ``WIDTH`` each.

    With four gates, a source and a weight, these fill the registers; of a single half-empty block, only half is summed.
    """
    if not SIXTEEN_AT_ONCE:
        return (0,)
    return (0,) * (2 if columns <= BLOCK // 2 else BLOCK // WIDTH)


def pack(layers: Sequence[Sequence[Array]], columns: int) -> LSTMWeights:
    """Pack weights; see ``arranged``."""
    result = arranged(layers, columns)
    return result._replace(gates=in_powers(result.gates), bias=in_powers(result.bias))


def in_powers(weights: Array) -> Array:
    """Return weights (..., 4 · n), gate by gate, whose sums are the exponents of two in the denominators."""
    factors = np.array([-_LOG2E, -_LOG2E, TANH, -_LOG2E], weights.dtype)
    result: Array = (weights.reshape(-1, 4) * factors).reshape(weights.shape)
    return result


def arranged(layers: Sequence[Sequence[Array]], columns: int) -> LSTMWeights:
    """Return weights in the order in which ``LSTMWeights`` has them, but not yet ``in_powers``.

    Args:
        layers: Tensors of each layer: (4H, K) input weights, (4H, H) hidden weights and (4H,) biases.
        columns: Number of columns that there will be.
    """
    gates, back, starts, begin = [], [], [], [0, 0]
    for below, own, _ in layers:
        rows, sources = own.shape[0], below.shape[1] + own.shape[1]
        weights = np.zeros((rows, sources + -sources % 4), own.dtype)
        weights[:, : below.shape[1]], weights[:, below.shape[1] : sources] = below, own
        gates.append(weights[:, :sources].reshape(4, rows // 4, sources).transpose(1, 2, 0).ravel())
        back.append(weights.reshape(rows, -1, 4).transpose(1, 0, 2).ravel())
        starts.append((*begin, below.shape[1]))
        begin = [begin[0] + rows * sources, begin[1] + weights.size]
    bias = np.concatenate([values.reshape(4, -1).T.ravel() for _, _, values in layers])
    return LSTMWeights(
        np.concatenate(gates), bias, np.concatenate(back), np.array(starts, np.int64), registers_for(columns)
    )


class LSTMLayer(NamedTuple):
    """Pointers to the weights, biases and sources that the gates of a layer are computed from.

    Attributes:
        weights: Weights, (H, K + H, 4).
        bias: Biases, (H, 4).
        below: Sources below, (K, BLOCK).
        sources: Number K of sources below.
        own: h_{t−1}, (H, BLOCK).
        hidden: Number H of units.
    """

    weights: object
    bias: object
    below: object
    sources: int
    own: object
    hidden: int


class BlockStates(NamedTuple):
    """Pointers to the states of a block before and after a step.

    Attributes:
        own: h_{t−1} of the first layer, (H, BLOCK).
        above: h_t, to be written.
        plane: Distance in numbers between the layers of these two.
        content: c_{t−1}, a row every ``pitch`` numbers, as in the next three.
        kept: c_t, to be written.
        copy: Second place of h_t, which may be ``above``.
        coming: Next block's h_{t−1}, which is fetched ahead of its use.
        far_plane: Distance in numbers between the layers of these four.
        pitch: Distance in numbers between their rows.
    """

    own: object
    above: object
    plane: int
    content: object
    kept: object
    copy: object
    coming: object
    far_plane: int
    pitch: int


@kernel
def forward_layers(cell: LSTMWeights, below, states: BlockStates, hidden: int, filled: int):  # type: ignore[no-untyped-def]
    """Take a block with features (K, BLOCK) through all layers for one step; return where the last one's h_t begins.

    ``filled`` is the number of columns that matter; more may be written.
    """
    for n in range(cell.starts.shape[0]):
        own, above = ahead(states.own, n * states.plane), ahead(states.above, n * states.plane)
        layer = layer_of(cell, n, below, own, hidden)
        for j in range(hidden):
            row = n * states.far_plane + j * states.pitch
            for q in range(0, filled, WIDTH):
                prefetch(states.content, row + BLOCK + q)
                prefetch(states.coming, row + q)
            for q in range(0, filled, WIDTH * len(cell.registers)):
                i, f, g, o = gates(layer, j, q, cell.registers)
                # c / f + tanh / i over one denominator, as is h: two reciprocals in place of five.
                both, content = i * g, load(states.content, row + q, cell.registers, 1)
                c = fma(content, both, (2.0 - g) * f) * reciprocal(both * f)
                store(states.kept, row + q, c, 1)
                below_c = one_plus_power(TANH * c)
                h = (2.0 - below_c) * reciprocal(o * below_c)
                store(above, j * BLOCK + q, h, 1)
                store(states.copy, row + q, h, 1)
        below = above
    return below


@kernel
def layer_of(cell: LSTMWeights, n: int, below, own, hidden: int):  # type: ignore[no-untyped-def]
    """Return layer n on its sources."""
    weights, bias = pointer(cell.gates, cell.starts[n, 0]), pointer(cell.bias, n * 4 * hidden)
    return LSTMLayer(weights, bias, below, cell.starts[n, 2], own, hidden)


@kernel
def gates(layer: LSTMLayer, j: int, q: int, registers: Registers):  # type: ignore[no-untyped-def]
    """Return the denominators in the gates of unit j, for the columns from q on.

    That is 1 / σ(i), 1 / σ(f), a = 1 + e^−2g with tanh g = (2 − a) / a, and 1 / σ(o).
    """
    w, bias, hidden = ahead(layer.weights, 4 * j * (layer.sources + layer.hidden)), layer.bias, layer.hidden
    four = (
        repeat(bias, 4 * j, registers),
        repeat(bias, 4 * j + 1, registers),
        repeat(bias, 4 * j + 2, registers),
        repeat(bias, 4 * j + 3, registers),
    )
    four = _add(w, ahead(layer.below, q), layer.sources, four, registers)
    i, f, g, o = _add(ahead(w, 4 * layer.sources), ahead(layer.own, q), hidden, four, registers)
    return one_plus_power(i), one_plus_power(f), one_plus_power(g), one_plus_power(o)


@kernel
def _add(weights, sources, count: int, four, registers: Registers):  # type: ignore[no-untyped-def]
    """Return the four sums with ``count`` sources added."""
    i, f, g, o = four
    for k in range(count):
        x = load(sources, k * BLOCK, registers, 1)
        i = fma(repeat(weights, 4 * k, registers), x, i)
        f = fma(repeat(weights, 4 * k + 1, registers), x, f)
        g = fma(repeat(weights, 4 * k + 2, registers), x, g)
        o = fma(repeat(weights, 4 * k + 3, registers), x, o)
    return i, f, g, o


@kernel
def reciprocals(a: Any, b: Any) -> Any:
    """Return 1 / a and 1 / b, both ``one_plus_power``, by one reciprocal."""
    both = reciprocal(a * b)
    return both * b, both * a
