"""Vector registers as values for Numba: one operation below is one instruction on 16 numbers.

Left to itself, LLVM unrolls a loop over eight lanes before it looks for vectors, and arrays that may overlap keep it
from finding them afterwards.  Here the vector is a type, so that nothing is left to chance.

A register holds G consecutive positions of L *lanes*, L · G = ``WIDTH``.  Lanes are independent runs (seeds); the
positions of a row are what a product sums over.  Every array is C-contiguous with the lane axis last, so that
``load`` at position p reads p … p + G − 1 of all lanes.  Few lanes keep a large network in the first-level cache,
and with many lanes, a small one needs no horizontal sums; the same kernel serves both.

A register's length must be known when a kernel is compiled.  It is an integer constant, or a tuple of zeros of which
only the length matters, since that is part of a tuple's Numba type and so of a kernel's signature: ``Registers`` counts
whole registers, ``Lanes`` counts lanes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import overload, register_model
from numpy import typing as npt

Array = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

WIDTH = 16
"""How many numbers a register holds: 512 bits of float32.  Narrower machines take two or four instructions for it."""


def _has(feature: str) -> bool:
    """Return whether compiled code may use one of the processor's features."""
    chosen = config.CPU_FEATURES  # type: ignore[attr-defined]  # set by the environment, as when a kernel is tried for another machine
    if chosen is not None:
        return f"+{feature}" in chosen.split(",")
    return bool(llvm.get_host_cpu_features().get(feature, False))


SIXTEEN_AT_ONCE = _has("avx512f") and _has("avx512dq")
"""Whether an instruction takes 16 numbers of 32 bits, with 32 registers to choose from; else at most 8, with 16."""


# Numba and llvmlite have no types for mypy; these names say what they are.
Context = Any
NumbaType = Any
NumbaFunction = Any
Intrinsic = tuple[NumbaType, Callable[..., ir.Value]]
"""The definition of a Numba intrinsic: its signature, and a function that writes its instructions."""

Registers = tuple[int, ...]
"""One zero for each register that a kernel takes at once, ``WIDTH`` numbers each."""

Lanes = tuple[Any, ...]
"""One zero, of the arrays' type, for each lane."""


def lanes_of(count: int, dtype: npt.DTypeLike) -> Lanes:
    """Return L lanes, a power of two up to ``WIDTH``.

    Raises:
        ValueError: The number of lanes is not such a power.
    """
    if count < 1 or WIDTH % count:
        raise ValueError(f"lanes must divide {WIDTH}, and {count} does not")
    return (np.dtype(dtype).type(0),) * count


def padded(positions: int, lanes: int) -> int:
    """Return the number of positions that fill whole registers."""
    group = WIDTH // lanes
    return -(-positions // group) * group


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return zeros that start on a cache line: a register loaded across two lines costs double."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    result: Array = raw[start : start + size].view(kind).reshape(shape)
    return result


def intrinsic(function: Callable[..., Any]) -> NumbaFunction:
    """Return a Numba intrinsic; untyped, since Numba adds the first argument and callers pass one fewer."""
    return numba_intrinsic(prefer_literal=True)(function)


def count_of(length: NumbaType) -> int:
    """Return how many numbers a length stands for: a constant, ``Registers`` or ``Lanes``."""
    if isinstance(length, types.Literal):
        return int(length.literal_value)
    return int(length.count) * (WIDTH if isinstance(length.dtype, types.Integer) else 1)


class Vec(types.Type):
    """Numba's type of one register: ``lanes`` numbers of ``dtype``."""

    def __init__(self, dtype: NumbaType, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vec({dtype} x {lanes})")

    @property
    def bits(self) -> int:
        """Number of bits of one number."""
        return int(self.dtype.bitwidth)

    @property
    def llvm(self) -> ir.Type:
        """The type in the instructions."""
        return ir.VectorType(ir.FloatType() if self.bits == 32 else ir.DoubleType(), self.lanes)

    def full(self, value: float) -> ir.Constant:
        """Return a constant in all lanes."""
        return ir.Constant(self.llvm, [value] * self.lanes)


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager: Context, vec: Vec) -> None:
        super().__init__(manager, vec, vec.llvm)  # type: ignore[no-untyped-call]


@intrinsic
def pointer(typing: Context, array: NumbaType, position: NumbaType) -> Intrinsic:
    """Return a pointer to a number of a C-contiguous array.

    Numba counts references to an array, even in a loop's innermost call, but not those to a pointer.
    """
    if array.layout != "C":
        raise TypingError(f"kernels read C-contiguous arrays, not {array}")

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return _element(context, builder, signature.args[0], args[0], args[1])

    kind = types.CPointer(array.dtype)  # type: ignore[no-untyped-call]
    return kind(array, types.intp), code


@intrinsic
def ahead(typing: Context, place: NumbaType, count: NumbaType) -> Intrinsic:
    """Return the pointer ``count`` numbers further on."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return builder.gep(args[0], [args[1]])

    return place(place, types.intp), code


def _element(context: Context, builder: ir.IRBuilder, kind: NumbaType, place: ir.Value, position: ir.Value) -> ir.Value:
    data = place if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, place).data
    return builder.gep(data, [position])


def _place(
    context: Context,
    builder: ir.IRBuilder,
    kind: NumbaType,
    place: ir.Value,
    position: ir.Value,
    lanes: NumbaType,
    vec: Vec,
) -> ir.Value:
    start = builder.mul(position, ir.Constant(position.type, count_of(lanes)))
    return builder.bitcast(_element(context, builder, kind, place, start), vec.llvm.as_pointer())


@intrinsic
def load(typing: Context, array: NumbaType, position: NumbaType, length: NumbaType, lanes: NumbaType) -> Intrinsic:
    """Return the register of a length that starts at a position of an array or pointer; positions hold all lanes."""
    vec = Vec(array.dtype, count_of(length))

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        place = _place(context, builder, signature.args[0], args[0], args[1], lanes, vec)
        return builder.load(place, align=vec.bits // 8)

    return vec(array, types.intp, length, lanes), code


@intrinsic
def store(typing: Context, array: NumbaType, position: NumbaType, value: NumbaType, lanes: NumbaType) -> Intrinsic:
    """Write a register from a position on."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        place = _place(context, builder, signature.args[0], args[0], args[1], lanes, value)
        builder.store(args[2], place, align=value.bits // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value, lanes), code


@intrinsic
def prefetch(typing: Context, array: NumbaType, position: NumbaType) -> Intrinsic:
    """Fetch a cache line of an array or pointer ahead of its use; a place beyond the end does no harm."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = builder.bitcast(_element(context, builder, signature.args[0], args[0], args[1]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte] + 3 * [number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        builder.call(function, [place, *(ir.Constant(number, value) for value in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def repeat(typing: Context, array: NumbaType, position: NumbaType, length: NumbaType) -> Intrinsic:
    """Return a register of a length that holds one number of an array or pointer everywhere."""
    vec = Vec(array.dtype, count_of(length))

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        value = builder.load(_element(context, builder, signature.args[0], args[0], args[1]))
        return _repeated(builder, vec, value)

    return vec(array, types.intp, length), code


@intrinsic
def splat(typing: Context, number: NumbaType, like: NumbaType) -> Intrinsic:
    """Return a register that holds one number everywhere; ``like`` is another such register, or ``Lanes``."""
    vec = like if isinstance(like, Vec) else Vec(like.dtype, count_of(like))

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return _repeated(builder, vec, context.cast(builder, args[0], signature.args[0], vec.dtype))

    return vec(number, like), code


def _repeated(builder: ir.IRBuilder, vec: Vec, value: ir.Value) -> ir.Value:
    first = builder.insert_element(vec.full(0.0), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, vec.full(0.0), mask([0] * vec.lanes))


def mask(order: list[int]) -> ir.Constant:
    """Return the constant that says which numbers of two registers a shuffle takes."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)


def call(builder: ir.IRBuilder, name: str, vec: Vec, *args: ir.Value) -> ir.Value:
    """Call one of LLVM's own functions on registers."""
    full_name = f"llvm.{name}.v{vec.lanes}f{vec.bits}"
    function = builder.module.globals.get(full_name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(vec.llvm, [vec.llvm] * len(args)), full_name)
    return builder.call(function, args)


@intrinsic
def fma(typing: Context, a: NumbaType, b: NumbaType, c: NumbaType) -> Intrinsic:
    """Return a · b + c."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return call(builder, "fma", a, *args)

    return a(a, a, a), code


def _operator(symbol: Callable[..., object], instruction: str) -> None:
    """Give registers an arithmetic operator, also with a plain number on either side."""

    @intrinsic
    def both(typing: Context, a: NumbaType, b: NumbaType) -> Intrinsic:
        def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
            return getattr(builder, instruction)(*args)

        return a(a, b), code

    @overload(symbol)
    def choose(a, b):  # type: ignore[no-untyped-def]
        if isinstance(a, Vec) and isinstance(b, Vec):
            return lambda a, b: both(a, b)
        if isinstance(a, Vec) and isinstance(b, types.Float):
            return lambda a, b: both(a, splat(b, a))
        if isinstance(a, types.Float) and isinstance(b, Vec):
            return lambda a, b: both(splat(a, b), b)
        return None


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")
