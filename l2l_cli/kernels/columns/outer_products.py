"""Products of errors and sources, summed over steps and over the columns of a block: the gradients of weights."""

from __future__ import annotations

from typing import NamedTuple

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.registers import SIXTEEN_AT_ONCE, ahead, fma, load, splat, store
from l2l_cli.kernels.simd.shuffles import fold, piece, sums

LENGTH = 16 if SIXTEEN_AT_ONCE else 8
"""Number of columns in one register: a constant, since sixteen longer sums would not fit into the registers."""


class Strided(NamedTuple):
    """A pointer to rows, and the distance in numbers from one row of the sum, or from one step's rows, to the next."""

    place: object
    pace: int


@kernel
def outer(sink: Strided, errors: Strided, sources: Strided, rows: int, count: int, steps: int, filled: int) -> None:
    """sink[r, k] += Σ errors[t, r] · sources[t, k] over steps and columns."""
    columns = sink.pace
    for r in range(0, rows - rows % 4, 4):
        four = Strided(ahead(errors.place, r * BLOCK), errors.pace)
        for k in range(0, count - count % 4, 4):
            into = Strided(ahead(sink.place, r * columns + k), columns)
            _tile(into, four, Strided(ahead(sources.place, k * BLOCK), sources.pace), steps, filled)
        for k in range(count - count % 4, count):
            into = Strided(ahead(sink.place, r * columns + k), columns)
            _column(into, four, Strided(ahead(sources.place, k * BLOCK), sources.pace), steps, filled)
    for r in range(rows - rows % 4, rows):
        for k in range(count):
            result = splat(0.0, load(errors.place, 0, LENGTH, 1))
            for t in range(steps):
                for q in range(0, filled, LENGTH):
                    e = load(errors.place, t * errors.pace + r * BLOCK + q, LENGTH, 1)
                    result = fma(e, load(sources.place, t * sources.pace + k * BLOCK + q, LENGTH, 1), result)
            _add_sum(sink.place, r * columns + k, result)


@kernel
def _tile(into: Strided, four: Strided, matching: Strided, steps: int, filled: int) -> None:
    """Four rows by four columns of ``outer``: sixteen sums for eight loads."""
    (sink, columns), (errors, pace), (source, stride) = into, four, matching
    zero = splat(0.0, load(errors, 0, LENGTH, 1))
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = zero
    for t in range(steps):
        for q in range(0, filled, LENGTH):
            e = t * pace + q
            a = load(errors, e, LENGTH, 1)
            b = load(errors, e + BLOCK, LENGTH, 1)
            c = load(errors, e + 2 * BLOCK, LENGTH, 1)
            d = load(errors, e + 3 * BLOCK, LENGTH, 1)
            f = t * stride + q
            x = load(source, f, LENGTH, 1)
            a0, b0, c0, d0 = fma(a, x, a0), fma(b, x, b0), fma(c, x, c0), fma(d, x, d0)
            x = load(source, f + BLOCK, LENGTH, 1)
            a1, b1, c1, d1 = fma(a, x, a1), fma(b, x, b1), fma(c, x, c1), fma(d, x, d1)
            x = load(source, f + 2 * BLOCK, LENGTH, 1)
            a2, b2, c2, d2 = fma(a, x, a2), fma(b, x, b2), fma(c, x, c2), fma(d, x, d2)
            x = load(source, f + 3 * BLOCK, LENGTH, 1)
            a3, b3, c3, d3 = fma(a, x, a3), fma(b, x, b3), fma(c, x, c3), fma(d, x, d3)
    found = sums((a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3))
    _add(sink, 0, piece(found, 0, 4))
    _add(sink, columns, piece(found, 4, 4))
    _add(sink, 2 * columns, piece(found, 8, 4))
    _add(sink, 3 * columns, piece(found, 12, 4))


@kernel
def _column(into: Strided, four: Strided, source: Strided, steps: int, filled: int) -> None:
    """Four rows by one column of ``outer``: four sums, so that no addition waits for the one before."""
    (sink, columns), (errors, pace) = into, four
    a = b = c = d = splat(0.0, load(errors, 0, LENGTH, 1))
    for t in range(steps):
        for q in range(0, filled, LENGTH):
            e, x = t * pace + q, load(source.place, t * source.pace + q, LENGTH, 1)
            a = fma(load(errors, e, LENGTH, 1), x, a)
            b = fma(load(errors, e + BLOCK, LENGTH, 1), x, b)
            c = fma(load(errors, e + 2 * BLOCK, LENGTH, 1), x, c)
            d = fma(load(errors, e + 3 * BLOCK, LENGTH, 1), x, d)
    _add_sum(sink, 0, a)
    _add_sum(sink, columns, b)
    _add_sum(sink, 2 * columns, c)
    _add_sum(sink, 3 * columns, d)


@kernel
def _add(sink, at: int, value) -> None:  # type: ignore[no-untyped-def]
    """Add four numbers to four."""
    store(sink, at, load(sink, at, 4, 1) + value, 1)


@kernel
def _add_sum(sink, at: int, value) -> None:  # type: ignore[no-untyped-def]
    """Add the sum of a register to one number."""
    store(sink, at, load(sink, at, 1, 1) + fold(value, 1), 1)
