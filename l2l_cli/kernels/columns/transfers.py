"""Some blocks' way from rows of all C columns into arrays of their own, which stay in the cache, and back.

``shape`` is that of the blocks, (layers, blocks, rows), BLOCK columns each; in memory of all columns the rows of all
layers follow each other, ``stride`` numbers apart.
"""

from __future__ import annotations

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.registers import WIDTH, load, splat, store


@kernel
def copy_in(target, source, shape: tuple[int, int, int], stride: int, filled: int) -> None:  # type: ignore[no-untyped-def]
    """Copy ``filled`` columns of all rows into blocks, with zeros beyond the last column."""
    layers, blocks, rows = shape
    if filled < blocks * BLOCK:
        zero = splat(0.0, load(target, 0, WIDTH, 1))
        for at in range(0, layers * blocks * rows * BLOCK, WIDTH):
            store(target, at, zero, 1)
    whole = filled - filled % WIDTH
    for n in range(layers):
        for k in range(rows):
            row = (n * rows + k) * stride
            for q in range(0, whole, WIDTH):
                at = ((n * blocks + q // BLOCK) * rows + k) * BLOCK + q % BLOCK
                store(target, at, load(source, row + q, WIDTH, 1), 1)
            for q in range(whole, filled):
                at = ((n * blocks + q // BLOCK) * rows + k) * BLOCK + q % BLOCK
                store(target, at, load(source, row + q, 1, 1), 1)


@kernel
def copy_out(target, source, shape: tuple[int, int, int], stride: int, filled: int) -> None:  # type: ignore[no-untyped-def]
    """Copy ``filled`` columns of blocks back to all rows."""
    layers, blocks, rows = shape
    whole = filled - filled % WIDTH
    for n in range(layers):
        for k in range(rows):
            row = (n * rows + k) * stride
            for q in range(0, whole, WIDTH):
                at = ((n * blocks + q // BLOCK) * rows + k) * BLOCK + q % BLOCK
                store(target, row + q, load(source, at, WIDTH, 1), 1)
            for q in range(whole, filled):
                at = ((n * blocks + q // BLOCK) * rows + k) * BLOCK + q % BLOCK
                store(target, row + q, load(source, at, 1, 1), 1)
