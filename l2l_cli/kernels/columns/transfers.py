"""A block's way from rows of all C columns into an array of its own, which stays in the first-level cache, and back."""

from __future__ import annotations

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.registers import WIDTH, load, splat, store


@kernel
def copy_in(block, source, rows: int, stride: int, filled: int, part: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    """Copy ``filled`` columns of some rows, ``stride`` numbers apart, into a block, with zeros beyond the last."""
    if filled < BLOCK:
        zero = splat(0.0, load(block, 0, part, 1))
        for at in range(0, rows * BLOCK, WIDTH * len(part)):
            store(block, at, zero, 1)
    _copy(block, BLOCK, source, stride, rows, filled, part)


@kernel
def copy_out(target, block, rows: int, stride: int, filled: int, part: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    """Copy ``filled`` columns of some rows of a block to where the rows are ``stride`` numbers apart."""
    _copy(target, stride, block, BLOCK, rows, filled, part)


@kernel
def _copy(target, pitch: int, source, stride: int, rows: int, filled: int, part: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    """Copy rows that are ``pitch`` numbers apart in one place, and ``stride`` in the other."""
    for k in range(rows):
        whole = filled - filled % WIDTH
        for q in range(0, whole, WIDTH):
            store(target, k * pitch + q, load(source, k * stride + q, WIDTH, 1), 1)
        for q in range(whole, filled):
            store(target, k * pitch + q, load(source, k * stride + q, 1, 1), 1)
