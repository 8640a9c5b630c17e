"""Copies of a block from rows of all C columns, ``stride`` numbers apart, into an array in the cache, and back."""

from __future__ import annotations

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.registers import WIDTH, load, splat, store


@kernel
def copy_in(target, source, rows: int, stride: int, filled: int) -> None:  # type: ignore[no-untyped-def]
    """Copy ``filled`` columns of rows into (rows, BLOCK), with zeros beyond the last column."""
    if filled < BLOCK:
        zero = splat(0.0, load(target, 0, WIDTH, 1))
        for at in range(0, rows * BLOCK, WIDTH):
            store(target, at, zero, 1)
    _copy(target, source, rows, (BLOCK, stride), filled)


@kernel
def copy_out(target, source, rows: int, stride: int, filled: int) -> None:  # type: ignore[no-untyped-def]
    """Copy ``filled`` columns of (rows, BLOCK) back."""
    _copy(target, source, rows, (stride, BLOCK), filled)


@kernel
def _copy(target, source, rows: int, strides: tuple[int, int], filled: int) -> None:  # type: ignore[no-untyped-def]
    whole = filled - filled % WIDTH
    for k in range(rows):
        into, at = k * strides[0], k * strides[1]
        for q in range(0, whole, WIDTH):
            store(target, into + q, load(source, at + q, WIDTH, 1), 1)
        for q in range(whole, filled):
            store(target, into + q, load(source, at + q, 1, 1), 1)
