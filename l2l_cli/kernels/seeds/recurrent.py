"""A fully recurrent hidden layer under BPTT truncated after k steps and under exact RTRL, many seeds side by side.

Reference: ``learners.logistic_network.Recurrent``; RTRL's gradient over a whole sequence equals that of full
back-propagation, and that of BPTT(k) one in which every step's error goes back through the last k activations.
Source: Hochreiter, Younger and Conwell 2001, §3.1 and Table 1 (A: Elman, which is k = 1; B: k = 2, and RTRL);
Williams and Zipser 1989 for RTRL:  ∂h_k(t)/∂w_ij = f'_k · (Σ_m w_km ∂h_m(t − 1)/∂w_ij + δ_ki z_j(t)).
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


class RecurrentSizes(NamedTuple):
    """Hidden units, external inputs with y_{t−1} but without the bias, and BPTT's depth k; 0 is RTRL."""

    hidden: int
    external: int
    depth: int

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, sources) of hidden and readout, as the reference learner's parameters have them."""
        return (self.hidden, self.external + 1 + self.hidden), (1, self.hidden + 1)

    @property
    def operations(self) -> int:
        """Approximate number of multiply-adds in one step."""
        weights = sum(rows * sources for rows, sources in self.shapes)
        return (1 + 2 * self.depth) * weights if self.depth else self.hidden**2 * self.shapes[0][1] * self.hidden


class RecurrentNetworks(NamedTuple):
    """Arrays (rows, padded positions, L) or (padded positions, L) of one network per lane."""

    first: Array
    readout: Array
    first_sink: Array  # where rate · gradient goes: the weights themselves, or a sum to be added later
    readout_sink: Array
    rate: Array  # (1, L): minus the learning rate online, else 1
    sources: Array  # of the last k steps, newest first: inputs, y_{t−1}, 1, hidden layer at t − 1
    upper: Array  # sources of the output: hidden layer, 1
    nets: Array
    errors: Array  # ∂E/∂net of the last k steps, (k, hidden)
    back: Array  # ∂E/∂source
    recurrent_gradients: Array  # f'_k · w_km, each in a whole register, (hidden, hidden, WIDTH)
    grad_hidden: Array  # rate · ∂E/∂h_k, each in a whole register
    trace: Array  # ∂h_k/∂w, one register of w after the other, each for all k: (registers of first, hidden, WIDTH)
    fresh: Array  # one register of each h_k's new trace


def network(sizes: RecurrentSizes, lanes: int, dtype: type, in_place: bool) -> RecurrentNetworks:
    """Allocate L networks of zeros; ``in_place`` makes the weights their own sinks."""
    widths = [padded(sources, lanes) for _, sources in sizes.shapes]
    first, readout = [zeros((rows, width, lanes), dtype) for (rows, _), width in zip(sizes.shapes, widths, strict=True)]
    first_sink, readout_sink = (
        (first, readout) if in_place else (zeros(first.shape, dtype), zeros(readout.shape, dtype))
    )
    group, depth, exact = padded(1, lanes), max(1, sizes.depth), sizes.depth == 0
    hidden = sizes.hidden
    net = RecurrentNetworks(
        *(first, readout),
        *(first_sink, readout_sink),
        rate=zeros((1, lanes), dtype),
        sources=zeros((depth, widths[0], lanes), dtype),
        upper=zeros((widths[1], lanes), dtype),
        nets=zeros((padded(hidden, lanes), lanes), dtype),
        errors=zeros((depth, padded(hidden, lanes), lanes), dtype),
        back=zeros((widths[0], lanes), dtype),
        recurrent_gradients=zeros((hidden * exact, hidden, group, lanes), dtype),
        grad_hidden=zeros((hidden * exact, group, lanes), dtype),
        trace=zeros((hidden * exact * widths[0] // group, hidden, group, lanes), dtype),
        fresh=zeros((hidden * exact, group, lanes), dtype),
    )
    net.sources[:, sizes.external] = net.upper[hidden] = 1
    net.rate[:] = 1
    return net


@kernel
def epoch(net: RecurrentNetworks, sizes: RecurrentSizes, data: EpochData, lanes: Lanes) -> None:
    """Present every sequence of the data once, each from a zero state; the networks are changed in place."""
    hidden, external, depth = sizes
    steps = data.targets.shape[1]
    gain = splat(1.0 if data.half else 2.0, lanes)
    for n in range(data.targets.shape[0]):
        net.sources[:, external - 1] = 0.0
        net.sources[:, external + 1 :] = 0.0
        net.trace[:] = 0.0
        total = splat(0.0, lanes)
        for t in range(steps):
            at = n * steps + t
            for i in range(external - 1):
                store(net.sources, i, load(data.inputs, at * (external - 1) + i, lanes, lanes), lanes)
            product(net.nets, net.first, net.sources, hidden, net.first.shape[1], lanes)
            squash(net.nets, hidden, lanes)
            copy(net.upper, 0, net.nets, hidden, lanes)
            answer = sigmoid(dot(net.readout, 0, net.upper, net.upper.shape[0], lanes))
            target = load(data.targets, at, lanes, lanes)
            error = answer - target
            total = fma(error, error, total)
            if data.mode != ANSWER:
                delta = gain * error * answer * (1.0 - answer)
                if depth > 0:
                    _back_propagate(net, sizes, delta, min(depth, t + 1), lanes)
                else:
                    _learn_by_traces(net, sizes, delta, lanes)
                rated = load(net.rate, 0, lanes, lanes) * delta
                add_scaled(net.readout_sink, 0, rated, net.upper, net.upper.shape[0], lanes)
            for j in range(depth - 1, 0, -1):
                net.sources[j] = net.sources[j - 1]
            store(net.sources, external - 1, target, lanes)
            copy(net.sources, external + 1, net.upper, hidden, lanes)
        store(data.errors, n, total, lanes)
        if data.mode == SEQUENCE:
            move(net, data.rate, lanes)


@kernel
def move(net: RecurrentNetworks, rate: Array, lanes: Lanes) -> None:
    """Add rate · gradient to the weights and forget the gradient."""
    descend(net.first, net.first_sink, rate, net.first.size // WIDTH, lanes)
    descend(net.readout, net.readout_sink, rate, net.readout.size // WIDTH, lanes)


@kernel
def _back_propagate(net: RecurrentNetworks, sizes: RecurrentSizes, delta, reach: int, lanes: Lanes) -> None:  # type: ignore[no-untyped-def]
    """Carry the output's error through the last ``reach`` hidden activations, then learn from each."""
    hidden, external, _ = sizes
    width, stride = net.first.shape[1], net.errors.shape[1]
    for u in range(hidden):
        y = load(net.upper, u, lanes, lanes)
        store(net.errors, u, delta * load(net.readout, u, lanes, lanes) * y * (1.0 - y), lanes)
    for j in range(1, reach):
        transposed_product(net.back, net.first, net.errors[j - 1], hidden, width, lanes)
        for u in range(hidden):
            y = load(net.sources, (j - 1) * width + external + 1 + u, lanes, lanes)
            store(net.errors, j * stride + u, load(net.back, external + 1 + u, lanes, lanes) * y * (1.0 - y), lanes)
    rate = load(net.rate, 0, lanes, lanes)
    for j in range(reach):
        for u in range(hidden):
            factor = rate * load(net.errors, j * stride + u, lanes, lanes)
            add_scaled(net.first_sink, u * width, factor, net.sources[j], width, lanes)


@kernel
def _learn_by_traces(net: RecurrentNetworks, sizes: RecurrentSizes, delta, lanes: Lanes) -> None:  # type: ignore[no-untyped-def]
    """Advance ∂h/∂w by one step and learn the hidden layer's weights from ∂E/∂w = Σ_k ∂E/∂h_k · ∂h_k/∂w."""
    hidden, external, _ = sizes
    group = WIDTH // len(lanes)
    width = net.first.shape[1]
    rate = load(net.rate, 0, lanes, lanes)
    for k in range(hidden):
        y = load(net.upper, k, lanes, lanes)
        store(net.grad_hidden, k * group, spread(rate * delta * load(net.readout, k, lanes, lanes), WIDTH), lanes)
        for m in range(hidden):
            slope = y * (1.0 - y) * load(net.first, k * width + external + 1 + m, lanes, lanes)
            store(net.recurrent_gradients, (m * hidden + k) * group, spread(slope, WIDTH), lanes)
    for i in range(hidden):
        y = load(net.upper, i, lanes, lanes)
        direct = spread(y * (1.0 - y), WIDTH)
        for p in range(0, width, group):
            at = i * width + p
            traces = at * hidden
            _mix(net, hidden, traces, group, lanes)
            own = fma(direct, load(net.sources, p, WIDTH, lanes), load(net.fresh, i * group, WIDTH, lanes))
            store(net.fresh, i * group, own, lanes)
            total = load(net.first_sink, at, WIDTH, lanes)
            for k in range(hidden):
                trace = load(net.fresh, k * group, WIDTH, lanes)
                store(net.trace, traces + k * group, trace, lanes)
                total = fma(load(net.grad_hidden, k * group, WIDTH, lanes), trace, total)
            store(net.first_sink, at, total, lanes)


@kernel
def _mix(net: RecurrentNetworks, hidden: int, at: int, group: int, lanes: Lanes) -> None:
    """fresh[k] = Σ_m recurrent_gradients[m, k] · trace[m] for one register of weights, 10 rows at a time."""
    whole = hidden - hidden % 10
    row = hidden * group
    for k in range(0, whole, 10):
        a0 = spread(splat(0.0, lanes), WIDTH)
        a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a0
        for m in range(hidden):
            x = load(net.trace, at + m * group, WIDTH, lanes)
            w = k * group + m * row
            a0 = fma(load(net.recurrent_gradients, w + 0 * group, WIDTH, lanes), x, a0)
            a1 = fma(load(net.recurrent_gradients, w + 1 * group, WIDTH, lanes), x, a1)
            a2 = fma(load(net.recurrent_gradients, w + 2 * group, WIDTH, lanes), x, a2)
            a3 = fma(load(net.recurrent_gradients, w + 3 * group, WIDTH, lanes), x, a3)
            a4 = fma(load(net.recurrent_gradients, w + 4 * group, WIDTH, lanes), x, a4)
            a5 = fma(load(net.recurrent_gradients, w + 5 * group, WIDTH, lanes), x, a5)
            a6 = fma(load(net.recurrent_gradients, w + 6 * group, WIDTH, lanes), x, a6)
            a7 = fma(load(net.recurrent_gradients, w + 7 * group, WIDTH, lanes), x, a7)
            a8 = fma(load(net.recurrent_gradients, w + 8 * group, WIDTH, lanes), x, a8)
            a9 = fma(load(net.recurrent_gradients, w + 9 * group, WIDTH, lanes), x, a9)
        store(net.fresh, (k + 0) * group, a0, lanes)
        store(net.fresh, (k + 1) * group, a1, lanes)
        store(net.fresh, (k + 2) * group, a2, lanes)
        store(net.fresh, (k + 3) * group, a3, lanes)
        store(net.fresh, (k + 4) * group, a4, lanes)
        store(net.fresh, (k + 5) * group, a5, lanes)
        store(net.fresh, (k + 6) * group, a6, lanes)
        store(net.fresh, (k + 7) * group, a7, lanes)
        store(net.fresh, (k + 8) * group, a8, lanes)
        store(net.fresh, (k + 9) * group, a9, lanes)
    for k in range(whole, hidden):
        a0 = spread(splat(0.0, lanes), WIDTH)
        for m in range(hidden):
            x = load(net.trace, at + m * group, WIDTH, lanes)
            a0 = fma(load(net.recurrent_gradients, k * group + m * row, WIDTH, lanes), x, a0)
        store(net.fresh, k * group, a0, lanes)
