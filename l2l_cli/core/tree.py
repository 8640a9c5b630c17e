"""States as trees: nested NamedTuples, dicts and tensors, mapped and flattened by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor

Tree = TypeVar("Tree")


def tree_map(fn: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Apply ``fn`` to every tensor of a state and keep its structure; None, numbers and strings are unchanged.

    Raises:
        TypeError: A leaf is neither a tensor, a number, a string nor None.
    """
    return cast("Tree", _map(fn, tree))


def _map(fn: Callable[[Tensor], Tensor], tree: object) -> object:
    match tree:
        case Tensor():
            return fn(tree)
        case dict():
            return {key: _map(fn, value) for key, value in tree.items()}
        case tuple():
            parts = [_map(fn, value) for value in tree]
            return tuple(parts) if type(tree) is tuple else tree._make(parts)  # type: ignore[attr-defined]
        case None | bool() | int() | float() | str():
            return tree
    raise TypeError(f"a state holds tensors, NamedTuples and dicts, not {type(tree).__name__}")


def leaves(tree: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every tensor of a state, names joined by dots, in a fixed order."""
    items: Iterable[tuple[str, object]] = ()
    match tree:
        case Tensor():
            yield prefix, tree
        case dict():
            items = tree.items()
        case tuple() if type(tree) is tuple:
            items = ((str(index), value) for index, value in enumerate(tree))
        case tuple():
            items = tree._asdict().items()  # type: ignore[attr-defined]
    for name, value in items:
        yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))


def flatten(tree: object) -> dict[str, Tensor]:
    """Return every tensor of a state under its dotted name."""
    return dict(leaves(tree))


def unflatten(template: Tree, flat: Mapping[str, Tensor]) -> Tree:
    """Return ``template`` with each tensor replaced by the one of the same name in ``flat``.

    Raises:
        KeyError: ``flat`` lacks a tensor that the template has.
    """
    named = iter([name for name, _ in leaves(template)])
    return tree_map(lambda old: flat[next(named)].to(old.device), template)


def detach(tree: Tree) -> Tree:
    """Detach every tensor of a state from its graph."""
    return tree_map(Tensor.detach, tree)


def all_finite(tree: object) -> bool:
    """Return whether no floating-point tensor of a state holds an inf or a NaN."""
    return all(_finite(tensor) for _, tensor in leaves(tree) if tensor.is_floating_point())


def _finite(tensor: Tensor) -> bool:
    # The sum of a tensor with an inf or a NaN is not finite either, and takes a tenth of the time; but a sum of finite
    # numbers may overflow.
    return math.isfinite(tensor.sum()) or bool(torch.isfinite(tensor).all())
