"""The loops that all networks here are made of: rows times sources, and outer products, on registers of many seeds.

Every lane has its own matrix, so a weight is used once per product and loads limit the speed; the tile of eight rows
keeps as many sums in flight as the multipliers need.
"""

from __future__ import annotations

from typing import NamedTuple

from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import sigmoid
from l2l_cli.kernels.simd.registers import WIDTH, Array, Lanes, fma, load, splat, store
from l2l_cli.kernels.simd.shuffles import fold, spread

ANSWER, ONLINE, SEQUENCE, BATCH = range(4)
"""When weights move: never, after every step, after every sequence; BATCH leaves the gradient to the caller."""


class EpochData(NamedTuple):
    """The data of an epoch, and how the networks learn from them.

    Attributes:
        inputs: N sequences of T steps, (N, T, D, L), without y_{t−1}.
        targets: Targets, (N, T, L).
        rate: Learning rate with a negative sign, (1, L), by which ``SEQUENCE`` moves the weights.
        mode: ``ANSWER``, ``ONLINE``, ``SEQUENCE`` or ``BATCH``.
        half: Whether the loss is ½e² rather than e².
        errors: Sum of e² over each sequence, (N, L), each error taken before the weights move; to be written.
    """

    inputs: Array
    targets: Array
    rate: Array
    mode: int
    half: bool
    errors: Array


@kernel
def product(result: Array, matrix: Array, sources: Array, rows: int, positions: int, lanes: Lanes) -> None:
    """result[r] = Σ_p matrix[r, p] · sources[p]; positions must be padded, rows need not."""
    group = WIDTH // len(lanes)
    zero = spread(splat(0.0, lanes), WIDTH)
    whole = rows - rows % 8
    for r in range(0, whole, 8):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
        start = r * positions
        for p in range(0, positions, group):
            x = load(sources, p, WIDTH, lanes)
            at = start + p
            a0 = fma(load(matrix, at, WIDTH, lanes), x, a0)
            a1 = fma(load(matrix, at + positions, WIDTH, lanes), x, a1)
            a2 = fma(load(matrix, at + 2 * positions, WIDTH, lanes), x, a2)
            a3 = fma(load(matrix, at + 3 * positions, WIDTH, lanes), x, a3)
            a4 = fma(load(matrix, at + 4 * positions, WIDTH, lanes), x, a4)
            a5 = fma(load(matrix, at + 5 * positions, WIDTH, lanes), x, a5)
            a6 = fma(load(matrix, at + 6 * positions, WIDTH, lanes), x, a6)
            a7 = fma(load(matrix, at + 7 * positions, WIDTH, lanes), x, a7)
        store(result, r, fold(a0, lanes), lanes)
        store(result, r + 1, fold(a1, lanes), lanes)
        store(result, r + 2, fold(a2, lanes), lanes)
        store(result, r + 3, fold(a3, lanes), lanes)
        store(result, r + 4, fold(a4, lanes), lanes)
        store(result, r + 5, fold(a5, lanes), lanes)
        store(result, r + 6, fold(a6, lanes), lanes)
        store(result, r + 7, fold(a7, lanes), lanes)
    for r in range(whole, rows):
        store(result, r, dot(matrix, r * positions, sources, positions, lanes), lanes)


@kernel
def dot(matrix: Array, start: int, sources: Array, positions: int, lanes: Lanes):  # type: ignore[no-untyped-def]
    """Return Σ_p matrix[start + p] · sources[p] as a register of lanes."""
    group = WIDTH // len(lanes)
    even = spread(splat(0.0, lanes), WIDTH)
    odd = even
    pairs = positions - positions % (2 * group)
    for p in range(0, pairs, 2 * group):
        even = fma(load(matrix, start + p, WIDTH, lanes), load(sources, p, WIDTH, lanes), even)
        odd = fma(load(matrix, start + p + group, WIDTH, lanes), load(sources, p + group, WIDTH, lanes), odd)
    for p in range(pairs, positions, group):
        even = fma(load(matrix, start + p, WIDTH, lanes), load(sources, p, WIDTH, lanes), even)
    return fold(even + odd, lanes)


@kernel
def transposed_product(result: Array, matrix: Array, factors: Array, rows: int, positions: int, lanes: Lanes) -> None:
    """result[p] = Σ_r factors[r] · matrix[r, p]."""
    group = WIDTH // len(lanes)
    for p in range(0, positions, group):
        even = spread(splat(0.0, lanes), WIDTH)
        odd = even
        for r in range(0, rows - 1, 2):
            at = r * positions + p
            even = fma(spread(load(factors, r, lanes, lanes), WIDTH), load(matrix, at, WIDTH, lanes), even)
            odd = fma(
                spread(load(factors, r + 1, lanes, lanes), WIDTH), load(matrix, at + positions, WIDTH, lanes), odd
            )
        if rows % 2 == 1:
            last = spread(load(factors, rows - 1, lanes, lanes), WIDTH)
            even = fma(last, load(matrix, (rows - 1) * positions + p, WIDTH, lanes), even)
        store(result, p, even + odd, lanes)


@kernel
def add_scaled(sink: Array, start: int, factor, sources: Array, positions: int, lanes: Lanes) -> None:  # type: ignore[no-untyped-def]
    """sink[start + p] += factor · sources[p], for a register of lanes as factor."""
    scale = spread(factor, WIDTH)
    for p in range(0, positions, WIDTH // len(lanes)):
        new = fma(scale, load(sources, p, WIDTH, lanes), load(sink, start + p, WIDTH, lanes))
        store(sink, start + p, new, lanes)


@kernel
def squash(values: Array, positions: int, lanes: Lanes) -> None:
    """Apply the logistic function in place; the last register may reach into the array's padding."""
    for p in range(0, positions, WIDTH // len(lanes)):
        store(values, p, sigmoid(load(values, p, WIDTH, lanes)), lanes)


@kernel
def copy(target: Array, start: int, source: Array, positions: int, lanes: Lanes) -> None:
    """target[start + p] = source[p], and nothing beyond."""
    for p in range(positions):
        store(target, start + p, load(source, p, lanes, lanes), lanes)


@kernel
def descend(weights: Array, gradient: Array, rate: Array, registers: int, lanes: Lanes) -> None:
    """Add rate · gradient to the weights, ``registers`` whole registers, and zero the gradient; rate is (1, L)."""
    group = WIDTH // len(lanes)
    factor = spread(load(rate, 0, lanes, lanes), WIDTH)
    for index in range(registers):
        at = index * group
        new = fma(factor, load(gradient, at, WIDTH, lanes), load(weights, at, WIDTH, lanes))
        store(weights, at, new, lanes)
        store(gradient, at, spread(splat(0.0, lanes), WIDTH), lanes)
