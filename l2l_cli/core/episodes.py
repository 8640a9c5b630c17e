"""Where a state holds its episodes, and parts of it that hold some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from l2l_cli.core.tree import flatten, unflatten

Tree = TypeVar("Tree")


def episode_axes(one: object, two: object) -> dict[str, int]:
    """Return the axis of each tensor that holds the episodes, by the tensor's name in the state.

    It is the one that is twice as long in a state of ``two`` episodes as in one of ``one``; within it, what belongs to
    an episode lies together.  A tensor without such an axis is shared by all episodes, and left out.

    Raises:
        ValueError: Several axes of a tensor grow with the number of episodes, or one grows otherwise.
    """
    axes, other = {}, flatten(two)
    for name, value in flatten(one).items():
        grown = [axis for axis, pair in enumerate(zip(value.shape, other[name].shape, strict=True)) if pair[0] != pair[1]]
        if not grown:
            continue
        if len(grown) > 1 or other[name].shape[grown[0]] != 2 * value.shape[grown[0]]:
            raise ValueError(f"{name} has no axis of episodes: {[*value.shape]} for one, {[*other[name].shape]} for two")
        axes[name] = grown[0]
    return axes


def part(tensors: Mapping[str, Tensor], axes: Mapping[str, int], episodes: int, span: slice) -> dict[str, Tensor]:
    """Return copies of some of E episodes' tensors, by name; those without an axis of episodes as they are."""

    def cut(value: Tensor, axis: int) -> Tensor:
        each = value.shape[axis] // episodes
        return value.narrow(axis, span.start * each, (span.stop - span.start) * each).clone()

    return {name: cut(value, axes[name]) if name in axes else value for name, value in tensors.items()}


def part_of(tree: Tree, axes: Mapping[str, int], episodes: int, span: slice) -> Tree:
    """Return a state of some of its E episodes; see ``part``."""
    return unflatten(tree, part(flatten(tree), axes, episodes, span))
