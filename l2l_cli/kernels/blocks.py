"""How the state of a coordinatewise rule is laid out in memory: by blocks of coordinates, unit by unit.

A compiled rule takes a block through all its layers while the block is in the first-level cache; a window's states
keep this layout, so that nothing is rearranged between steps.  NumPy does the conversion at either end of a window:
torch would wake other threads for a copy of a few microseconds, and on a busy machine wait a thousand times longer.
"""

from __future__ import annotations

from torch import Tensor

BLOCK = 64
"""Number of coordinates in a block: four registers of 512 bits, so that sixteen sums are in flight."""


def blocks_of(coordinates: int) -> int:
    """Return the number of blocks that hold a number of coordinates."""
    return -(-coordinates // BLOCK)


def fill(target: Tensor, values: Tensor) -> None:
    """Write (..., H, C) into (..., B, H, BLOCK) in place; the padding stays as it is."""
    count = values.shape[-1]
    into, given, whole = target.numpy(), values.detach().numpy(), count - count % BLOCK
    if whole:
        blocks = given[..., :whole].reshape(*values.shape[:-1], -1, BLOCK)
        into[..., : whole // BLOCK, :, :] = blocks.swapaxes(-3, -2)
    if whole < count:
        into[..., whole // BLOCK, :, : count - whole] = given[..., whole:]


def unblocked(values: Tensor, coordinates: int) -> Tensor:
    """Return a copy of (..., B, H, BLOCK) as (..., H, C), without the padding."""
    result = values.new_empty(*values.shape[:-3], values.shape[-2], coordinates)
    into, given, whole = result.numpy(), values.numpy(), coordinates - coordinates % BLOCK
    if whole:
        blocks = into[..., :whole].reshape(*result.shape[:-1], -1, BLOCK)
        blocks[:] = given[..., : whole // BLOCK, :, :].swapaxes(-3, -2)
    if whole < coordinates:
        into[..., whole:] = given[..., whole // BLOCK, :, : coordinates - whole]
    return result
