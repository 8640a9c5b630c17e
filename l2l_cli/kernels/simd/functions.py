"""Functions of registers, element by element: the logistic function, tanh, the natural logarithm.

LLVM vectorises calls of the C library's functions only where it is linked with one of the vector libraries, so they
are written out here: shifts of exponent bits, and polynomials that interpolate at Chebyshev points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.polynomial import Chebyshev, Polynomial

from l2l_cli.kernels.simd.registers import (
    SIXTEEN_AT_ONCE,
    WIDTH,
    Context,
    Intrinsic,
    NumbaFunction,
    NumbaType,
    Vec,
    call,
    intrinsic,
    mask,
)

_MANTISSA = {32: 23, 64: 52}
# Beyond these powers of two the logistic function is 0 or 1 to the last bit, and 2^n stays a normal number.
_CLAMP = {32: 125.5, 64: 1000.0}
# Beyond these it is 0 or 1 to 5e-13, and the product of three numbers 1 + 2^n stays normal.
_CLAMP_OF_THREE = {32: 41.5, 64: 340.0}
# Numbers of terms after which the remainder is below a unit in the last place.
_EXP_TERMS = {32: 5, 64: 12}
_LOG_TERMS = {32: 7, 64: 17}
_SOFT_TERMS = {32: 8, 64: 17}


def _coefficients(function: Callable[[Any], Any], degree: int, low: float, high: float) -> list[float]:
    """Return the interpolating polynomial's coefficients, constant first."""
    fitted = Chebyshev.interpolate(function, degree, [low, high])
    return [float(value) for value in fitted.convert(kind=Polynomial).coef]


def _horner(builder: ir.IRBuilder, vec: Vec, coefficients: list[float], x: ir.Value) -> ir.Value:
    value = vec.full(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = call(builder, "fma", vec, value, x, vec.full(coefficient))
    return value


def _whole(vec: Vec) -> ir.Type:
    """Return the type of integers of the same width."""
    return ir.VectorType(ir.IntType(vec.bits), vec.lanes)


def _integer(vec: Vec, value: int) -> ir.Constant:
    return ir.Constant(_whole(vec), [value] * vec.lanes)


def _power(builder: ir.IRBuilder, vec: Vec, x: ir.Value, clamp: float) -> ir.Value:
    """Return 2^x, with x limited to ± the clamp: the whole part by the exponent's bits, the rest by a polynomial."""
    for sign, compare in ((1, ">"), (-1, "<")):
        limit = vec.full(sign * clamp)
        x = builder.select(builder.fcmp_ordered(compare, x, limit), limit, x)
    n = call(builder, "rint", vec, x)
    rest = builder.fsub(x, n)
    value = _horner(builder, vec, _coefficients(np.exp2, _EXP_TERMS[vec.bits], -0.5, 0.5), rest)
    shift = builder.shl(builder.fptosi(n, _whole(vec)), _integer(vec, _MANTISSA[vec.bits]))
    return builder.bitcast(builder.add(builder.bitcast(value, _whole(vec)), shift), vec.llvm)


def _power_by_16(builder: ir.IRBuilder, vec: Vec, x: ir.Value, clamp: float) -> ir.Value:
    """Return 2^x, with x at most the clamp, by AVX-512's own instructions for exponents, in two thirds of the time."""
    limit = vec.full(clamp)
    x = builder.select(builder.fcmp_ordered(">", x, limit), limit, x)
    every, exact = ir.Constant(ir.IntType(16), -1), ir.Constant(ir.IntType(32), 4)
    down = ir.Constant(ir.IntType(32), 1)
    rest = _by_16(builder, vec, "mask.reduce.ps.512", [x], [down, _NONE, every, exact])  # x minus its whole part
    value = _horner(builder, vec, _coefficients(np.exp2, _EXP_TERMS[32], 0.0, 1.0), rest)
    return _by_16(builder, vec, "mask.scalef.ps.512", [value, x], [_NONE, every, exact])


def _has_own(vec: Vec) -> bool:
    """Return whether AVX-512 has its own instructions for such registers."""
    return SIXTEEN_AT_ONCE and vec.bits == 32 and vec.lanes % WIDTH == 0


def _one_plus_power(builder: ir.IRBuilder, vec: Vec, x: ir.Value, clamp: float) -> ir.Value:
    """Return 1 + 2^x; a NaN stays a NaN."""
    power = _power_by_16 if _has_own(vec) else _power
    return builder.fadd(power(builder, vec, x, clamp), vec.full(1.0))


def _reciprocal(builder: ir.IRBuilder, vec: Vec, x: ir.Value) -> ir.Value:
    """Return 1 / x for x from 1 to 2^126; dividing 16 numbers would keep the division unit busy for 16 cycles."""
    if vec.bits == 64:
        return builder.fdiv(vec.full(1.0), x)
    if _has_own(vec):
        guess = _by_16(builder, vec, "rcp14.ps.512", [x], [_NONE, ir.Constant(ir.IntType(16), -1)])
        error = call(builder, "fma", vec, builder.fneg(x), guess, vec.full(1.0))
        return call(builder, "fma", vec, guess, error, guess)
    # The exponent's bits negated, with the constant that leaves the smallest error, 12 %; each round cubes it.
    guess = builder.bitcast(builder.sub(_integer(vec, 0x7EF311C7), builder.bitcast(x, _whole(vec))), vec.llvm)
    for _ in range(2):
        error = call(builder, "fma", vec, builder.fneg(x), guess, vec.full(1.0))
        guess = call(builder, "fma", vec, guess, call(builder, "fma", vec, error, error, error), guess)
    return guess


def _logistic(builder: ir.IRBuilder, vec: Vec, x: ir.Value, rate: float) -> ir.Value:
    """Return 1 / (1 + e^(−rate · x)); a NaN stays a NaN."""
    power = builder.fmul(x, vec.full(-rate / math.log(2)))
    return _reciprocal(builder, vec, _one_plus_power(builder, vec, power, _CLAMP[vec.bits]))


_NONE = ir.Constant(ir.VectorType(ir.FloatType(), WIDTH), [0.0] * WIDTH)
"""What AVX-512's instructions put where a mask leaves a number out; here the masks leave out none."""


def _by_16(builder: ir.IRBuilder, vec: Vec, name: str, values: list[ir.Value], constants: list[ir.Value]) -> ir.Value:
    """Apply one of AVX-512's instructions to registers, 16 numbers at a time."""
    part = ir.VectorType(ir.FloatType(), WIDTH)
    kind = ir.FunctionType(part, [part] * len(values) + [value.type for value in constants])
    name = f"llvm.x86.avx512.{name}"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    found = []
    for start in range(0, vec.lanes, WIDTH):
        order = mask(list(range(start, start + WIDTH)))
        pieces = [builder.shuffle_vector(value, vec.full(0.0), order) for value in values]
        found.append(builder.call(function, [*pieces, *constants]))
    while len(found) > 1:
        whole = mask(list(range(2 * found[0].type.count)))
        found = [builder.shuffle_vector(a, b, whole) for a, b in zip(found[::2], found[1::2], strict=True)]
    return found[0]


@intrinsic
def sigmoid(typing: Context, a: NumbaType) -> Intrinsic:
    """Return 1 / (1 + e^−a)."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return _logistic(builder, a, args[0], 1.0)

    return a(a), code


@intrinsic
def tanh(typing: Context, a: NumbaType) -> Intrinsic:
    """Return the hyperbolic tangent, 2 σ(2a) − 1."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return call(builder, "fma", a, a.full(2.0), _logistic(builder, a, args[0], 2.0), a.full(-1.0))

    return a(a), code


@intrinsic
def one_plus_power(typing: Context, a: NumbaType) -> Intrinsic:
    """Return 1 + 2^a, the denominator of σ(−a log 2), limited so that the product of three is finite."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return _one_plus_power(builder, a, args[0], _CLAMP_OF_THREE[a.bits])

    return a(a), code


@intrinsic
def reciprocal(typing: Context, a: NumbaType) -> Intrinsic:
    """Return 1 / a, for a from 1 to 2^126."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return _reciprocal(builder, a, args[0])

    return a(a), code


@intrinsic
def inverse_root(typing: Context, a: NumbaType) -> Intrinsic:
    """Return 1 / √a for normal numbers; a root and a division would keep their unit busy for thirty cycles."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        if a.bits == 64 or not _has_own(a):
            return builder.fdiv(a.full(1.0), call(builder, "sqrt", a, args[0]))
        guess = _by_16(builder, a, "rsqrt14.ps.512", [args[0]], [_NONE, ir.Constant(ir.IntType(16), -1)])
        error = call(
            builder, "fma", a, builder.fneg(builder.fmul(args[0], guess)), guess, a.full(1.0)
        )  # 1 − a · guess²
        return call(builder, "fma", a, builder.fmul(guess, a.full(0.5)), error, guess)

    return a(a), code


@intrinsic
def log_size(typing: Context, a: NumbaType) -> Intrinsic:
    """Return log |a| for normal numbers; for zero and subnormal ones, a value below all those of normal ones."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        mantissa = _MANTISSA[a.bits]
        bits = builder.and_(builder.bitcast(args[0], _whole(a)), _integer(a, (1 << (a.bits - 1)) - 1))
        # Counted from √½: the remaining factor lies between √½ and √2, around the logarithm's zero.
        half = int(np.sqrt(0.5).astype(f"f{a.bits // 8}").view(f"i{a.bits // 8}"))
        exponent = builder.ashr(builder.sub(bits, _integer(a, half)), _integer(a, mantissa))
        rest = builder.bitcast(builder.sub(bits, builder.shl(exponent, _integer(a, mantissa))), a.llvm)
        ratio = builder.fdiv(builder.fsub(rest, a.full(1.0)), builder.fadd(rest, a.full(1.0)))
        # log x = 2 artanh((x − 1) / (x + 1)), by its series.
        series = [2.0 / (2 * k + 1) for k in range(_LOG_TERMS[a.bits])]
        value = builder.fmul(ratio, _horner(builder, a, series, builder.fmul(ratio, ratio)))
        return call(builder, "fma", a, builder.sitofp(exponent, a.llvm), a.full(math.log(2)), value)

    return a(a), code


@intrinsic
def softplus(typing: Context, a: NumbaType) -> Intrinsic:
    """Return log(1 + e^a), accurate to the last digits even where it is tiny."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        size = call(builder, "fabs", a, args[0])
        power = _power(builder, a, builder.fmul(size, a.full(-1.0 / math.log(2))), _CLAMP[a.bits])
        # log(1 + y) = 2 artanh(y / (2 + y)), by its series; y is e^−|a|.
        ratio = builder.fdiv(power, builder.fadd(power, a.full(2.0)))
        series = [2.0 / (2 * k + 1) for k in range(_SOFT_TERMS[a.bits])]
        value = builder.fmul(ratio, _horner(builder, a, series, builder.fmul(ratio, ratio)))
        positive = builder.select(builder.fcmp_ordered("<", args[0], a.full(0.0)), a.full(0.0), args[0])
        return builder.fadd(positive, value)

    return a(a), code


def _limit(name: str, compare: str, text: str) -> NumbaFunction:
    def limit(typing: Context, a: NumbaType, b: NumbaType) -> Intrinsic:
        def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
            return builder.select(builder.fcmp_ordered(compare, *args), args[1], args[0])

        return a(a, b), code

    limit.__name__, limit.__doc__ = name, text
    return intrinsic(limit)


at_least = _limit("at_least", "<", "Return a, but no less than b; a NaN in a stays.")
at_most = _limit("at_most", ">", "Return a, but no more than b; a NaN in a stays.")


@intrinsic
def where_positive(typing: Context, a: NumbaType, b: NumbaType) -> Intrinsic:
    """Return b where a > 0, and elsewhere 0."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return builder.select(builder.fcmp_ordered(">", args[0], a.full(0.0)), args[1], a.full(0.0))

    return a(a, b), code
