"""Which blocks of coordinates a backward pass visits: all that matter, or an unbiased sample of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from l2l_cli.kernels.blocks import BLOCK


class Visits(NamedTuple):
    """Indices of blocks in ascending order, (V,), and the factor on each one's gradient, (V,)."""

    blocks: Tensor
    factors: Tensor


def all_that_matter(grad_moves: Tensor) -> Tensor:
    """Return the blocks (V,) whose ``grad_moves``, (T, B · BLOCK), are not 0: the others add nothing to a gradient."""
    return _sizes(grad_moves).nonzero()[:, 0]


def sample(grad_moves: Tensor, share: float, rng: Generator) -> Visits:
    """Draw ``share`` of the blocks that matter, without replacement, so that the gradient is unbiased.

    A block is visited with a probability p that grows with the norm of its ``grad_moves``, to which its part of the
    gradient is about proportional, and then counts 1 / p times (Horvitz and Thompson 1952).  The sampling is
    systematic: one uniform number for all blocks.

    Args:
        grad_moves: ∂objective/∂moves, (T, B · BLOCK).
        share: Share of the blocks, in (0, 1].
        rng: Generator of the draw.
    """
    sizes = _sizes(grad_moves).double()
    matter = sizes > 0
    wanted = share * int(matter.sum())
    # A tenth of the weight is uniform over blocks, which keeps 1 / p bounded where the norm misjudges a block.
    chances = _inclusion(torch.where(matter, 0.9 * sizes + 0.1 * sizes.sum() / matter.sum().clamp(min=1), 0.0), wanted)
    ends = chances.cumsum(0) + torch.rand((), generator=rng, dtype=torch.float64, device="cpu")
    starts = torch.cat([ends[:1] - chances[:1], ends[:-1]])
    blocks = (ends.floor() > starts.floor()).nonzero()[:, 0]
    return Visits(blocks, (1.0 / chances[blocks]).to(grad_moves.dtype))


def _sizes(grad_moves: Tensor) -> Tensor:
    """Return the norm of each block, (B,)."""
    return grad_moves.view(len(grad_moves), -1, BLOCK).square().sum((0, 2)).sqrt()


def _inclusion(weights: Tensor, wanted: float) -> Tensor:
    """Return probabilities proportional to weights (B,), but none above 1, that sum to ``wanted``."""
    certain = torch.zeros_like(weights, dtype=torch.bool)
    while True:
        left = wanted - int(certain.sum())
        rest = weights.masked_fill(certain, 0.0)
        total = float(rest.sum())
        chances = torch.where(certain, 1.0, rest * (left / total) if total > 0 else rest)
        above = chances > 1.0
        if not bool(above.any()):
            return chances
        certain |= above
