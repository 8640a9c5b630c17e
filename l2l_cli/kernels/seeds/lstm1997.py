"""The truncated learning rule of 1997, compiled, many seeds side by side.

Reference: ``learners.lstm1997.LSTM1997`` with ``truncated=True``, whose gradient over a whole sequence this equals;
for the online rule, which automatic differentiation cannot express, a loop over the equations in the tests.
Source: Hochreiter and Schmidhuber 1997, appendix A.1; Hochreiter, Younger and Conwell 2001, §3.1.

The error that reaches a cell's state is known within the step, because no error flows back through recurrent inputs.
The gradient's other factor, ∂s_c/∂w, is carried forward as a trace:  trace(t) = trace(t − 1) + ∂(in · g)/∂w.
"""

from __future__ import annotations

from typing import NamedTuple

from l2l_cli.kernels.seeds.layers import (
    ANSWER,
    SEQUENCE,
    EpochData,
    add_scaled,
    copy,
    descend,
    dot,
    product,
    squash,
    transposed_product,
)
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import sigmoid
from l2l_cli.kernels.simd.registers import WIDTH, Array, Lanes, fma, load, padded, splat, store, zeros
from l2l_cli.kernels.simd.shuffles import spread


class LSTM1997Sizes(NamedTuple):
    """Hidden units, memory cells, units of the second layer, external inputs with y_{t−1} but without the bias."""

    hidden: int
    cells: int
    second: int
    external: int

    @property
    def units(self) -> int:
        """Units of the first layer: hidden, cells, input gates, output gates, in this order."""
        return self.hidden + 3 * self.cells

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, sources) of first, second and readout, as the reference learner's parameters have them."""
        sources = self.external + 1 + self.units + self.second
        return (self.units, sources), (self.second, self.units + 1), (1, (self.second or self.units) + 1)

    @property
    def operations(self) -> int:
        """Approximate number of multiply-adds in one step."""
        return 4 * sum(rows * sources for rows, sources in self.shapes)


class LSTM1997Networks(NamedTuple):
    """Arrays (rows, padded positions, L) or (padded positions, L) of one network per lane."""

    first: Array
    second: Array
    readout: Array
    first_sink: Array  # where rate · gradient goes: the weights themselves, or a sum to be added later
    second_sink: Array
    readout_sink: Array
    rate: Array  # (1, L): minus the learning rate online, else 1
    lower: Array  # sources of the first layer: inputs, y_{t−1}, 1, first and second layer at t − 1
    middle: Array  # sources of the second layer: first layer, 1
    upper: Array  # sources of the output: second layer, 1
    nets: Array  # net inputs, then activations, of the first layer
    above: Array  # the same for the second layer, later its errors
    error: Array  # ∂E/∂y of the first layer
    cell: Array  # s_c, y_c, h(s_c), ∂(in · g)/∂net of the cell and of the input gate: five rows
    trace: Array  # ∂s_c/∂w of the cells' weights, then of the input gates'


def network(sizes: LSTM1997Sizes, lanes: int, dtype: type, in_place: bool) -> LSTM1997Networks:
    """Allocate L networks of zeros; ``in_place`` makes the weights their own sinks."""
    widths = [padded(sources, lanes) for _, sources in sizes.shapes]
    first, second, readout = [
        zeros((rows, width, lanes), dtype) for (rows, _), width in zip(sizes.shapes, widths, strict=True)
    ]
    weights = first, second, readout
    first_sink, second_sink, readout_sink = weights if in_place else [zeros(value.shape, dtype) for value in weights]
    cells, units = padded(sizes.cells, lanes), padded(sizes.units + sizes.cells, lanes)
    net = LSTM1997Networks(
        *(first, second, readout),
        *(first_sink, second_sink, readout_sink),
        rate=zeros((1, lanes), dtype),
        lower=zeros((widths[0], lanes), dtype),
        middle=zeros((widths[1], lanes), dtype),
        upper=zeros((widths[2], lanes), dtype),
        nets=zeros((units + padded(1, lanes), lanes), dtype),
        above=zeros((padded(sizes.second, lanes), lanes), dtype),
        error=zeros((widths[1], lanes), dtype),
        cell=zeros((5, cells, lanes), dtype),
        trace=zeros((2 * sizes.cells, widths[0], lanes), dtype),
    )
    net.lower[sizes.external] = net.middle[sizes.units] = net.upper[sizes.second] = 1
    net.rate[:] = 1
    return net


@kernel
def epoch(net: LSTM1997Networks, sizes: LSTM1997Sizes, data: EpochData, lanes: Lanes) -> None:
    """Present every sequence of the data once, each from a zero state; the networks are changed in place."""
    hidden, cells, second, external = sizes
    steps = data.targets.shape[1]
    gain = splat(1.0 if data.half else 2.0, lanes)
    for n in range(data.targets.shape[0]):
        _reset(net, sizes)
        total = splat(0.0, lanes)
        for t in range(steps):
            at = n * steps + t
            for i in range(external - 1):
                store(net.lower, i, load(data.inputs, at * (external - 1) + i, lanes, lanes), lanes)
            _first_layer(net, sizes, lanes)
            answer = _layers_above(net, sizes, lanes)
            target = load(data.targets, at, lanes, lanes)
            error = answer - target
            total = fma(error, error, total)
            if data.mode != ANSWER:
                delta = gain * error * answer * (1.0 - answer)
                _learn_above(net, sizes, delta, lanes)
                _learn_first(net, sizes, lanes)
            store(net.lower, external - 1, target, lanes)
            copy(net.lower, external + 1, net.middle, hidden + 3 * cells, lanes)
            if second > 0:
                copy(net.lower, external + 1 + hidden + 3 * cells, net.upper, second, lanes)
        store(data.errors, n, total, lanes)
        if data.mode == SEQUENCE:
            move(net, data.rate, lanes)


@kernel
def move(net: LSTM1997Networks, rate: Array, lanes: Lanes) -> None:
    """Add rate · gradient to the weights and forget the gradient."""
    descend(net.first, net.first_sink, rate, net.first.size // WIDTH, lanes)
    descend(net.second, net.second_sink, rate, net.second.size // WIDTH, lanes)
    descend(net.readout, net.readout_sink, rate, net.readout.size // WIDTH, lanes)


@kernel
def _reset(net: LSTM1997Networks, sizes: LSTM1997Sizes) -> None:
    """Zero activations, y_0, carousels and traces; the bias stays."""
    external = sizes[3]
    net.lower[external - 1 : external] = 0.0
    net.lower[external + 1 :] = 0.0
    net.cell[0] = 0.0
    net.trace[:] = 0.0


@kernel
def _first_layer(net: LSTM1997Networks, sizes: LSTM1997Sizes, lanes: Lanes) -> None:
    """Advance the first layer from ``lower`` to ``middle``."""
    hidden, cells, _, _ = sizes
    units = hidden + 3 * cells
    product(net.nets, net.first, net.lower, units, net.lower.shape[0], lanes)
    squash(net.nets, units, lanes)
    # The last register of a block reaches into the next; what it computes there lands in padding, or is overwritten.
    stride = net.cell.shape[1]
    for c in range(0, cells, WIDTH // len(lanes)):
        raw = load(net.nets, hidden + c, WIDTH, lanes)
        into = load(net.nets, hidden + cells + c, WIDTH, lanes)
        out = load(net.nets, hidden + 2 * cells + c, WIDTH, lanes)
        g = 4.0 * raw - 2.0
        state = fma(into, g, load(net.cell, c, WIDTH, lanes))
        h = 2.0 * sigmoid(state) - 1.0
        store(net.cell, c, state, lanes)
        store(net.cell, stride + c, out * h, lanes)
        store(net.cell, 2 * stride + c, h, lanes)
        store(net.cell, 3 * stride + c, 4.0 * raw * (1.0 - raw) * into, lanes)
        store(net.cell, 4 * stride + c, g * into * (1.0 - into), lanes)
    copy(net.middle, 0, net.nets, units, lanes)
    copy(net.middle, hidden, net.cell[1], cells, lanes)


@kernel
def _layers_above(net: LSTM1997Networks, sizes: LSTM1997Sizes, lanes: Lanes):  # type: ignore[no-untyped-def]
    """Advance the second layer, if there is one, and return the answer."""
    second = sizes[2]
    if second == 0:
        return sigmoid(dot(net.readout, 0, net.middle, net.middle.shape[0], lanes))
    product(net.above, net.second, net.middle, second, net.middle.shape[0], lanes)
    squash(net.above, second, lanes)
    copy(net.upper, 0, net.above, second, lanes)
    return sigmoid(dot(net.readout, 0, net.upper, net.upper.shape[0], lanes))


@kernel
def _learn_above(net: LSTM1997Networks, sizes: LSTM1997Sizes, delta, lanes: Lanes) -> None:  # type: ignore[no-untyped-def]
    """Back-propagate the output's error to the first layer's activations, and learn the weights above these."""
    second = sizes[2]
    rate = load(net.rate, 0, lanes, lanes)
    width = net.middle.shape[0]
    if second == 0:
        factor = spread(delta, WIDTH)
        for p in range(0, width, WIDTH // len(lanes)):
            store(net.error, p, factor * load(net.readout, p, WIDTH, lanes), lanes)
        add_scaled(net.readout_sink, 0, rate * delta, net.middle, width, lanes)
        return
    for k in range(second):
        y = load(net.upper, k, lanes, lanes)
        store(net.above, k, delta * load(net.readout, k, lanes, lanes) * y * (1.0 - y), lanes)
    transposed_product(net.error, net.second, net.above, second, width, lanes)
    for k in range(second):
        add_scaled(net.second_sink, k * width, rate * load(net.above, k, lanes, lanes), net.middle, width, lanes)
    add_scaled(net.readout_sink, 0, rate * delta, net.upper, net.upper.shape[0], lanes)


@kernel
def _learn_first(net: LSTM1997Networks, sizes: LSTM1997Sizes, lanes: Lanes) -> None:
    """Advance the traces and learn the first layer's weights: the truncated rule itself."""
    hidden, cells, _, _ = sizes
    rate = load(net.rate, 0, lanes, lanes)
    width, stride = net.lower.shape[0], net.cell.shape[1]
    for u in range(hidden):
        y = load(net.middle, u, lanes, lanes)
        add_scaled(
            net.first_sink, u * width, rate * load(net.error, u, lanes, lanes) * y * (1.0 - y), net.lower, width, lanes
        )
    for c in range(cells):
        into = load(net.nets, hidden + cells + c, lanes, lanes)
        out = load(net.nets, hidden + 2 * cells + c, lanes, lanes)
        h = load(net.cell, 2 * stride + c, lanes, lanes)
        error = rate * load(net.error, hidden + c, lanes, lanes)
        # A gate's activation is also a source of the layer above: that path is one-step, like a hidden unit's.
        by_into = rate * load(net.error, hidden + cells + c, lanes, lanes) * into * (1.0 - into)
        by_out = (error * h + rate * load(net.error, hidden + 2 * cells + c, lanes, lanes)) * out * (1.0 - out)
        by_state = error * out * 0.5 * (1.0 - h * h)
        _learn_cell(net, c, hidden, cells, width, (by_state, by_into, by_out), lanes)


@kernel
def _learn_cell(net: LSTM1997Networks, c: int, hidden: int, cells: int, width: int, errors, lanes: Lanes) -> None:  # type: ignore[no-untyped-def]
    """Learn the weights of one cell and its gates, whose errors are (of s_c, of the input gate, of the output gate)."""
    stride = net.cell.shape[1]
    by_cell = spread(load(net.cell, 3 * stride + c, lanes, lanes), WIDTH)
    by_gate = spread(load(net.cell, 4 * stride + c, lanes, lanes), WIDTH)
    by_state, by_into, by_out = spread(errors[0], WIDTH), spread(errors[1], WIDTH), spread(errors[2], WIDTH)
    cell_trace = c * width
    gate_trace = cell_trace + cells * width
    content = (hidden + c) * width
    into = content + cells * width
    out = into + cells * width
    for p in range(0, width, WIDTH // len(lanes)):
        x = load(net.lower, p, WIDTH, lanes)
        cell = fma(by_cell, x, load(net.trace, cell_trace + p, WIDTH, lanes))
        gate = fma(by_gate, x, load(net.trace, gate_trace + p, WIDTH, lanes))
        store(net.trace, cell_trace + p, cell, lanes)
        store(net.trace, gate_trace + p, gate, lanes)
        store(net.first_sink, content + p, fma(by_state, cell, load(net.first_sink, content + p, WIDTH, lanes)), lanes)
        direct = fma(by_into, x, load(net.first_sink, into + p, WIDTH, lanes))
        store(net.first_sink, into + p, fma(by_state, gate, direct), lanes)
        store(net.first_sink, out + p, fma(by_out, x, load(net.first_sink, out + p, WIDTH, lanes)), lanes)
