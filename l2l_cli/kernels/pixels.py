"""Minibatches of images copied from a data set in one pass, which selects, shifts and converts them to numbers.

Reference: indexing followed by ``tasks.images.augment.shifted``.  Every step of every learner waits for its minibatch,
and as separate operations these would cost as much as fitting a small network to it.
"""

from __future__ import annotations

from torch import Tensor

from l2l_cli.kernels.simd.compiled import kernel


@kernel
def _copy(images, rows, out) -> None:  # type: ignore[no-untyped-def]
    for i in range(out.shape[0]):
        row = rows[i]
        for k in range(out.shape[1]):
            out[i, k] = images[row, k]


@kernel
def _copy_shifted(images, rows, shifts, out) -> None:  # type: ignore[no-untyped-def]
    count, channels, height, width = out.shape
    for i in range(count):
        row, down, right, flipped = rows[i], shifts[0, i], shifts[1, i], shifts[2, i]
        for c in range(channels):
            for y in range(height):
                line = y + down
                for x in range(width):
                    column = (width - 1 - x if flipped else x) + right
                    inside = 0 <= line < height and 0 <= column < width
                    out[i, c, y, x] = images[row, c, line, column] if inside else 0.0


def copy(images: Tensor, rows: Tensor, out: Tensor) -> None:
    """Write images (n, …), numbers of any type, at rows (m,) into ``out`` (m, …), on the CPU and contiguous."""
    _copy(images.flatten(1).numpy(), rows.numpy(), out.flatten(1).numpy())


def copy_shifted(images: Tensor, rows: Tensor, shifts: Tensor, out: Tensor) -> None:
    """Write images, each shifted and flipped, into ``out``, (m, channels, height, width); see ``copy``.

    Args:
        images: Data set, (n, channels, height, width).
        rows: Indices of the images, (m,).
        shifts: Offsets in pixels (down, right) at which each image is read, and whether it is flipped; integers (3, m).
        out: Memory of the result; pixels outside an image are 0.
    """
    _copy_shifted(images.numpy(), rows.numpy(), shifts.numpy(), out.numpy())
