"""The axes of a state's tensors that hold its episodes, and states reduced to some of their episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from l2l_cli.core.tree import flatten, unflatten

Tree = TypeVar("Tree")

Pieces = Mapping[str, Sequence[int]]
"""Number of entries of one episode in each piece of an axis, by a dotted part of the names of the tensors with it."""


class EpisodeAxis(NamedTuple):
    """The axis of a tensor that holds the episodes: a row of pieces, in each of which an episode is contiguous.

    ``pieces`` gives the number of entries of one episode in each piece.
    """

    axis: int
    pieces: tuple[int, ...]

    def shape(self, shape: Sequence[int], episodes: int) -> list[int]:
        """Return the shape for E episodes of a tensor whose shape for another number of episodes is ``shape``."""
        changed = list(shape)
        changed[self.axis] = episodes * sum(self.pieces)
        return changed

    def cut(self, value: Tensor, span: slice) -> Tensor:
        """Return a copy of some episodes of a tensor."""
        episodes = value.shape[self.axis] // sum(self.pieces)
        kept = [
            piece.narrow(self.axis, span.start * size, (span.stop - span.start) * size)
            for piece, size in zip(self._split(value, episodes), self.pieces, strict=True)
        ]
        return torch.cat(kept, self.axis)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Concatenate the tensors of consecutive spans of episodes."""
        split = [self._split(part, part.shape[self.axis] // sum(self.pieces)) for part in parts]
        return torch.cat([piece for pieces in zip(*split, strict=True) for piece in pieces], self.axis)

    def _split(self, value: Tensor, episodes: int) -> Sequence[Tensor]:
        return torch.split(value, [episodes * size for size in self.pieces], self.axis)


Axes = Mapping[str, EpisodeAxis]


def episode_axes(one: object, two: object, pieces: Pieces) -> dict[str, EpisodeAxis]:
    """Return the episode axis of each tensor of a state, by the tensor's name.

    It is the axis that is twice as long in a state of ``two`` episodes as in a state of ``one``.  A tensor without such
    an axis is shared by all episodes and left out.

    Args:
        one: State of one episode.
        two: State of two episodes.
        pieces: Pieces of the axes that consist of several.

    Raises:
        ValueError: Several axes of a tensor grow with the number of episodes, or one grows but does not double.
    """
    axes, other = {}, flatten(two)
    for name, value in flatten(one).items():
        grown = [
            axis for axis, (short, long) in enumerate(zip(value.shape, other[name].shape, strict=True)) if short != long
        ]
        if not grown:
            continue
        size = value.shape[grown[0]]
        if len(grown) > 1 or other[name].shape[grown[0]] != 2 * size:
            raise ValueError(
                f"{name} has no axis of episodes: {[*value.shape]} for one, {[*other[name].shape]} for two"
            )
        known = [tuple(sizes) for part, sizes in pieces.items() if f".{part}." in f".{name}." and sum(sizes) == size]
        axes[name] = EpisodeAxis(grown[0], known[0] if known else (size,))
    return axes


def part(tensors: Mapping[str, Tensor], axes: Axes, span: slice) -> dict[str, Tensor]:
    """Return tensors by name, reduced to a span of episodes where they have an episode axis."""
    return {name: axes[name].cut(value, span) if name in axes else value for name, value in tensors.items()}


def part_of(tree: Tree, axes: Axes, span: slice) -> Tree:
    """Return a state reduced to a span of its episodes; see ``part``."""
    return unflatten(tree, part(flatten(tree), axes, span))
