"""A fully recurrent hidden layer under BPTT truncated after k steps and under exact RTRL, many seeds side by side.

Reference: ``learners.recurrent.Recurrent``; RTRL's gradient over a whole sequence equals full back-propagation's, and
that of BPTT(k) one in which every step's error goes back through the k last activations.
Source: Hochreiter, Younger and Conwell 2001, §3.1 and Table 1 (A: Elman, which is k = 1; B: k = 2, and RTRL);
Williams and Zipser 1989 for RTRL:  ∂h_k(t)/∂w_ij = f'_k · (Σ_m w_km ∂h_m(t − 1)/∂w_ij + δ_ki z_j(t)).
"""

from __future__ import annotations

from typing import NamedTuple

from l2l_cli.kernels.seeds.layers import (
    ANSWER,
    SEQUENCE,
    Lesson,
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
from l2l_cli.kernels.simd.registers import Array, Shape, fma, load, padded, splat, store, zeros
from l2l_cli.kernels.simd.shuffles import spread


class Sizes(NamedTuple):
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
        """Multiply-adds of one step, about."""
        weights = sum(rows * sources for rows, sources in self.shapes)
        return (1 + 2 * self.depth) * weights if self.depth else self.hidden**2 * self.shapes[0][1] * self.hidden


class Net(NamedTuple):
    """Arrays (rows, padded positions, L) or (padded positions, L) of one network per lane."""

    first: Array
    readout: Array
    first_sink: Array  # where rate · gradient goes: the weights themselves, or a sum to be added later
    readout_sink: Array
    rate: Array  # (1, L): −rate online, else 1
    sources: Array  # of the last k steps, newest first: inputs, y_{t−1}, 1, hidden layer at t − 1
    upper: Array  # sources of the output: hidden layer, 1
    nets: Array
    errors: Array  # ∂E/∂net of the last k steps, (k, hidden)
    back: Array  # ∂E/∂source
    slopes: Array  # f'_k · w_km, each in a whole register, (hidden, hidden, WIDTH)
    pull: Array  # rate · ∂E/∂h_k, each in a whole register
    trace: Array  # ∂h_k/∂w, one register of w after the other, each for all k: (registers of first, hidden, WIDTH)
    fresh: Array  # one register of each h_k's new trace


def network(sizes: Sizes, lanes: int, dtype: type, in_place: bool) -> Net:
    """Allocate L networks of zeros; ``in_place`` makes the weights their own sinks."""
    widths = [padded(sources, lanes) for _, sources in sizes.shapes]
    first, readout = [zeros((rows, width, lanes), dtype) for (rows, _), width in zip(sizes.shapes, widths, strict=True)]
    first_sink, readout_sink = (
        (first, readout) if in_place else (zeros(first.shape, dtype), zeros(readout.shape, dtype))
    )
    group, depth, exact = padded(1, lanes), max(1, sizes.depth), sizes.depth == 0
    hidden = sizes.hidden
    net = Net(
        *(first, readout),
        *(first_sink, readout_sink),
        rate=zeros((1, lanes), dtype),
        sources=zeros((depth, widths[0], lanes), dtype),
        upper=zeros((widths[1], lanes), dtype),
        nets=zeros((padded(hidden, lanes), lanes), dtype),
        errors=zeros((depth, padded(hidden, lanes), lanes), dtype),
        back=zeros((widths[0], lanes), dtype),
        slopes=zeros((hidden * exact, hidden, group, lanes), dtype),
        pull=zeros((hidden * exact, group, lanes), dtype),
        trace=zeros((hidden * exact * widths[0] // group, hidden, group, lanes), dtype),
        fresh=zeros((hidden * exact, group, lanes), dtype),
    )
    net.sources[:, sizes.external] = net.upper[hidden] = 1
    net.rate[:] = 1
    return net


@kernel
def epoch(net: Net, sizes: Sizes, lesson: Lesson, shape: Shape) -> None:
    """Present every sequence of the lesson once, each from a zero state; the networks are changed in place."""
    lanes = shape.lanes
    hidden, external, depth = sizes
    steps = lesson.targets.shape[1]
    gain = splat(1.0 if lesson.half else 2.0, lanes)
    for n in range(lesson.targets.shape[0]):
        net.sources[:, external - 1] = 0.0
        net.sources[:, external + 1 :] = 0.0
        net.trace[:] = 0.0
        total = splat(0.0, lanes)
        for t in range(steps):
            at = n * steps + t
            for i in range(external - 1):
                store(net.sources, i, load(lesson.inputs, at * (external - 1) + i, lanes, lanes), lanes)
            product(net.nets, net.first, net.sources, hidden, net.first.shape[1], shape)
            squash(net.nets, hidden, shape)
            copy(net.upper, 0, net.nets, hidden, shape)
            answer = sigmoid(dot(net.readout, 0, net.upper, net.upper.shape[0], shape))
            target = load(lesson.targets, at, lanes, lanes)
            error = answer - target
            total = fma(error, error, total)
            if lesson.mode != ANSWER:
                delta = gain * error * answer * (1.0 - answer)
                if depth > 0:
                    _back_propagate(net, sizes, delta, min(depth, t + 1), shape)
                else:
                    _learn_by_traces(net, sizes, delta, shape)
                rated = load(net.rate, 0, lanes, lanes) * delta
                add_scaled(net.readout_sink, 0, rated, net.upper, net.upper.shape[0], shape)
            for j in range(depth - 1, 0, -1):
                net.sources[j] = net.sources[j - 1]
            store(net.sources, external - 1, target, lanes)
            copy(net.sources, external + 1, net.upper, hidden, shape)
        store(lesson.errors, n, total, lanes)
        if lesson.mode == SEQUENCE:
            move(net, lesson.rate, shape)


@kernel
def move(net: Net, rate: Array, shape: Shape) -> None:
    """Add rate · gradient to the weights and forget the gradient."""
    descend(net.first, net.first_sink, rate, net.first.size // len(shape.wide), shape)
    descend(net.readout, net.readout_sink, rate, net.readout.size // len(shape.wide), shape)


@kernel
def _back_propagate(net: Net, sizes: Sizes, delta, reach: int, shape: Shape) -> None:  # type: ignore[no-untyped-def]
    """Carry the output's error through the last ``reach`` hidden activations, then learn from each."""
    _, lanes = shape
    hidden, external, _ = sizes
    width, stride = net.first.shape[1], net.errors.shape[1]
    for u in range(hidden):
        y = load(net.upper, u, lanes, lanes)
        store(net.errors, u, delta * load(net.readout, u, lanes, lanes) * y * (1.0 - y), lanes)
    for j in range(1, reach):
        transposed_product(net.back, net.first, net.errors[j - 1], hidden, width, shape)
        for u in range(hidden):
            y = load(net.sources, (j - 1) * width + external + 1 + u, lanes, lanes)
            store(net.errors, j * stride + u, load(net.back, external + 1 + u, lanes, lanes) * y * (1.0 - y), lanes)
    rate = load(net.rate, 0, lanes, lanes)
    for j in range(reach):
        for u in range(hidden):
            factor = rate * load(net.errors, j * stride + u, lanes, lanes)
            add_scaled(net.first_sink, u * width, factor, net.sources[j], width, shape)


@kernel
def _learn_by_traces(net: Net, sizes: Sizes, delta, shape: Shape) -> None:  # type: ignore[no-untyped-def]
    """Advance ∂h/∂w by one step and learn the hidden layer's weights from ∂E/∂w = Σ_k ∂E/∂h_k · ∂h_k/∂w."""
    wide, lanes = shape
    hidden, external, _ = sizes
    group = len(wide) // len(lanes)
    width = net.first.shape[1]
    rate = load(net.rate, 0, lanes, lanes)
    for k in range(hidden):
        y = load(net.upper, k, lanes, lanes)
        store(net.pull, k * group, spread(rate * delta * load(net.readout, k, lanes, lanes), wide), lanes)
        for m in range(hidden):
            slope = y * (1.0 - y) * load(net.first, k * width + external + 1 + m, lanes, lanes)
            store(net.slopes, (m * hidden + k) * group, spread(slope, wide), lanes)
    for i in range(hidden):
        y = load(net.upper, i, lanes, lanes)
        direct = spread(y * (1.0 - y), wide)
        for p in range(0, width, group):
            at = i * width + p
            traces = at * hidden
            _mix(net, hidden, traces, group, shape)
            own = fma(direct, load(net.sources, p, wide, lanes), load(net.fresh, i * group, wide, lanes))
            store(net.fresh, i * group, own, lanes)
            total = load(net.first_sink, at, wide, lanes)
            for k in range(hidden):
                trace = load(net.fresh, k * group, wide, lanes)
                store(net.trace, traces + k * group, trace, lanes)
                total = fma(load(net.pull, k * group, wide, lanes), trace, total)
            store(net.first_sink, at, total, lanes)


@kernel
def _mix(net: Net, hidden: int, at: int, group: int, shape: Shape) -> None:
    """fresh[k] = Σ_m slopes[m, k] · trace[m] for one register of weights, 10 rows at a time."""
    wide, lanes = shape
    whole = hidden - hidden % 10
    row = hidden * group
    for k in range(0, whole, 10):
        a0 = splat(0.0, wide)
        a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a0
        for m in range(hidden):
            x = load(net.trace, at + m * group, wide, lanes)
            w = k * group + m * row
            a0 = fma(load(net.slopes, w + 0 * group, wide, lanes), x, a0)
            a1 = fma(load(net.slopes, w + 1 * group, wide, lanes), x, a1)
            a2 = fma(load(net.slopes, w + 2 * group, wide, lanes), x, a2)
            a3 = fma(load(net.slopes, w + 3 * group, wide, lanes), x, a3)
            a4 = fma(load(net.slopes, w + 4 * group, wide, lanes), x, a4)
            a5 = fma(load(net.slopes, w + 5 * group, wide, lanes), x, a5)
            a6 = fma(load(net.slopes, w + 6 * group, wide, lanes), x, a6)
            a7 = fma(load(net.slopes, w + 7 * group, wide, lanes), x, a7)
            a8 = fma(load(net.slopes, w + 8 * group, wide, lanes), x, a8)
            a9 = fma(load(net.slopes, w + 9 * group, wide, lanes), x, a9)
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
        a0 = splat(0.0, wide)
        for m in range(hidden):
            x = load(net.trace, at + m * group, wide, lanes)
            a0 = fma(load(net.slopes, k * group + m * row, wide, lanes), x, a0)
        store(net.fresh, k * group, a0, lanes)
