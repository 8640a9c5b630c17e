"""Vector registers as values for Numba: one operation below is one instruction on 16 numbers.

Left to itself, LLVM unrolls a loop over eight lanes before it looks for vectors, and arrays that may overlap keep it
from finding them afterwards.  Here the vector is a type, so that nothing is left to chance.

A register holds G consecutive positions of L *lanes*, L · G = ``WIDTH``.  Lanes are independent runs (seeds); the
positions of a row are what a product sums over.  Every array is C-contiguous with the lane axis last, so that
``load`` at position p reads p … p + G − 1 of all lanes.  Few lanes keep a large network in the first-level cache,
many lanes spare a small one its horizontal sums; the same kernel serves both, because L and the dtype are read off a
``Shape`` that is part of its signature.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import overload, register_model
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

WIDTH = 16
"""Numbers in a register: 512 bits of float32.  Narrower machines take two or four instructions for one."""


class Shape(NamedTuple):
    """Zeros whose Numba type tells a kernel its registers: ``wide`` holds ``WIDTH`` numbers, ``lanes`` L of them."""

    wide: tuple[Any, ...]
    lanes: tuple[Any, ...]


def shape_of(lanes: int, dtype: Any) -> Shape:
    """Return the shape for L lanes, a power of two up to ``WIDTH``."""
    if lanes < 1 or WIDTH % lanes:
        raise ValueError(f"lanes must divide {WIDTH}, and {lanes} does not")
    zero = np.dtype(dtype).type(0)
    return Shape((zero,) * WIDTH, (zero,) * lanes)


def padded(positions: int, lanes: int) -> int:
    """Return the number of positions that fill whole registers."""
    group = WIDTH // lanes
    return -(-positions // group) * group


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros that start on a cache line: a register loaded across two lines costs double."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    result: Array = raw[start : start + size].view(kind).reshape(shape)
    return result


def _intrinsic(function: Callable[..., Any]) -> Any:
    """Numba hands the first argument over itself, so callers pass one fewer: the result is not typed."""
    return numba_intrinsic(function)


class Vec(types.Type):
    """Numba's type of one register: ``lanes`` numbers of ``dtype``."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vec({dtype} x {lanes})")

    @property
    def bits(self) -> int:
        """Of one number."""
        return int(self.dtype.bitwidth)

    @property
    def llvm(self) -> Any:
        """The type in the instructions."""
        return ir.VectorType(ir.FloatType() if self.bits == 32 else ir.DoubleType(), self.lanes)

    def full(self, value: float) -> Any:
        """A constant in all lanes."""
        return ir.Constant(self.llvm, [value] * self.lanes)


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vec: Vec) -> None:
        super().__init__(manager, vec, vec.llvm)  # type: ignore[no-untyped-call]


def _place(context: Any, builder: Any, kind: Any, array: Any, position: Any, lanes: Any, vec: Vec) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    start = builder.mul(position, ir.Constant(position.type, lanes.count))
    return builder.bitcast(builder.gep(data, [start]), vec.llvm.as_pointer())


@_intrinsic
def load(typing: Any, array: Any, position: Any, like: Any, lanes: Any) -> Any:
    """Return the register that starts at a position; ``like`` says how long it is."""
    vec = Vec(like.dtype, like.count)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], args[0], args[1], lanes, vec)
        return builder.load(place, align=vec.bits // 8)

    return vec(array, types.intp, like, lanes), code


@_intrinsic
def store(typing: Any, array: Any, position: Any, value: Any, lanes: Any) -> Any:
    """Write a register from a position on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], args[0], args[1], lanes, value)
        builder.store(args[2], place, align=value.bits // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value, lanes), code


@_intrinsic
def splat(typing: Any, number: Any, like: Any) -> Any:
    """Return a register that holds one number everywhere; ``like`` is a register or a tuple."""
    vec = like if isinstance(like, Vec) else Vec(like.dtype, like.count)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = context.cast(builder, args[0], signature.args[0], vec.dtype)
        first = builder.insert_element(vec.full(0.0), value, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, vec.full(0.0), _mask([0] * vec.lanes))

    return vec(number, like), code


@_intrinsic
def spread(typing: Any, value: Any, like: Any) -> Any:
    """Return the L lanes G times over, as factors of G positions."""
    vec = Vec(like.dtype, like.count)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        order = list(range(value.lanes)) * (vec.lanes // value.lanes)
        return builder.shuffle_vector(args[0], value.full(0.0), _mask(order))

    return vec(value, like), code


@_intrinsic
def fold(typing: Any, value: Any, like: Any) -> Any:
    """Return the sum over the G positions, lane by lane."""
    vec = Vec(like.dtype, like.count)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, size = args[0], value.lanes
        while size > vec.lanes:
            size //= 2
            low, high = _mask(list(range(size))), _mask(list(range(size, 2 * size)))
            halves = [builder.shuffle_vector(total, Vec(vec.dtype, 2 * size).full(0.0), mask) for mask in (low, high)]
            total = builder.fadd(*halves)
        return total

    return vec(value, like), code


def _mask(order: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)


def _call(builder: Any, name: str, vec: Vec, *args: Any) -> Any:
    full_name = f"llvm.{name}.v{vec.lanes}f{vec.bits}"
    function = builder.module.globals.get(full_name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(vec.llvm, [vec.llvm] * len(args)), full_name)
    return builder.call(function, args)


@_intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a · b + c."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "fma", a, *args)

    return a(a, a, a), code


# Where e^r is cut: the remainder on |r| ≤ ½ ln 2 is below half a unit in the last place.
_TERMS = {32: 7, 64: 13}
# Beyond these the logistic function is 0 or 1 to the last bit, and 2^n stays a normal number.
_CLAMP = {32: 87.0, 64: 700.0}
_LN2 = {32: (0.693359375, -2.12194440e-4), 64: (0.693147180369123816490, 1.90821492927058770002e-10)}


@_intrinsic
def sigmoid(typing: Any, a: Any) -> Any:
    """Return 1 / (1 + e^−a): 2^n by the exponent's bits, the rest by a polynomial.

    A NaN stays a NaN.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        clamp, terms, (high, low) = _CLAMP[a.bits], _TERMS[a.bits], _LN2[a.bits]
        x = builder.fneg(args[0])
        for sign, compare in ((1, ">"), (-1, "<")):
            x = builder.select(builder.fcmp_ordered(compare, x, a.full(sign * clamp)), a.full(sign * clamp), x)
        n = _call(builder, "rint", a, builder.fmul(x, a.full(1 / math.log(2))))
        r = _call(builder, "fma", a, n, a.full(-low), _call(builder, "fma", a, n, a.full(-high), x))
        e = a.full(1 / math.factorial(terms))
        for k in range(terms - 1, -1, -1):
            e = _call(builder, "fma", a, e, r, a.full(1 / math.factorial(k)))
        mantissa, bias = (23, 127) if a.bits == 32 else (52, 1023)
        whole = ir.VectorType(ir.IntType(a.bits), a.lanes)
        power = builder.add(builder.fptosi(n, whole), ir.Constant(whole, [bias] * a.lanes))
        power = builder.shl(power, ir.Constant(whole, [mantissa] * a.lanes))
        e = builder.fmul(e, builder.bitcast(power, a.llvm))
        return builder.fdiv(a.full(1.0), builder.fadd(a.full(1.0), e))

    return a(a), code


def _operator(symbol: Any, instruction: str) -> None:
    """Give registers an arithmetic operator, with a number on either side too."""

    @_intrinsic
    def both(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
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
