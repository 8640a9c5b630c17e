"""Registers taken apart and put together: sums over neighbours, parts, repetitions."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils

from l2l_cli.kernels.simd.registers import Context, Intrinsic, NumbaType, Vec, count_of, intrinsic, mask


@intrinsic
def width_of(typing: Context, register: NumbaType) -> Intrinsic:
    """Return how many numbers a register holds."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return ir.Constant(ir.IntType(64), register.lanes)

    return types.int64(register), code


@intrinsic
def spread(typing: Context, value: NumbaType, length: NumbaType) -> Intrinsic:
    """Return the L lanes repeated G times, as factors of G positions."""
    vec = Vec(value.dtype, count_of(length))

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        order = list(range(value.lanes)) * (vec.lanes // value.lanes)
        return builder.shuffle_vector(args[0], value.full(0.0), mask(order))

    return vec(value, length), code


@intrinsic
def fold(typing: Context, value: NumbaType, length: NumbaType) -> Intrinsic:
    """Return the sum over the G positions, lane by lane."""
    vec = Vec(value.dtype, count_of(length))

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        total, size = args[0], value.lanes
        while size > vec.lanes:
            size //= 2
            low, high = mask(list(range(size))), mask(list(range(size, 2 * size)))
            halves = [builder.shuffle_vector(total, Vec(vec.dtype, 2 * size).full(0.0), mask) for mask in (low, high)]
            total = builder.fadd(*halves)
        return total

    return vec(value, length), code


@intrinsic
def sums(typing: Context, values: NumbaType) -> Intrinsic:
    """Return a register of the sums over each of several registers, whose number is a multiple of their length.

    All are summed at once: halves of two registers are added as one, and so on, one addition per sum in place of four.
    """

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        vec = values.dtype
        found, width = cgutils.unpack_tuple(builder, args[0]), vec.lanes  # type: ignore[no-untyped-call]
        while width > 1:
            order = [k for k in range(2 * vec.lanes) if k % width < width // 2]
            low, high = mask(order), mask([k + width // 2 for k in order])
            pairs = zip(found[::2], found[1::2], strict=True)
            found = [
                builder.fadd(builder.shuffle_vector(a, b, low), builder.shuffle_vector(a, b, high)) for a, b in pairs
            ]
            width //= 2
        while len(found) > 1:
            whole = mask(list(range(2 * found[0].type.count)))
            found = [builder.shuffle_vector(a, b, whole) for a, b in zip(found[::2], found[1::2], strict=True)]
        return found[0]

    return Vec(values.dtype.dtype, values.count)(values), code


@intrinsic
def piece(typing: Context, value: NumbaType, start: NumbaType, count: NumbaType) -> Intrinsic:
    """Return ``count`` numbers of a register from ``start`` on, both constants."""
    vec = Vec(value.dtype, count_of(count))

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        order = list(range(start.literal_value, start.literal_value + vec.lanes))
        return builder.shuffle_vector(args[0], value.full(0.0), mask(order))

    return vec(value, start, count), code
