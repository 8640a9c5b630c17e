"""States as trees: nested NamedTuples, dicts and tensors, mapped and flattened by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

Tree = TypeVar("Tree")


def tree_map(fn: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Apply ``fn`` to every tensor of a state, keeping its shape; None and numbers stay.

    Raises:
        TypeError: A leaf is neither a tensor, a number, a string nor None.
    """
    return _map(fn, tree)  # type: ignore[no-any-return]


def _map(fn: Callable[[Tensor], Tensor], tree: Any) -> Any:
    match tree:
        case Tensor():
            return fn(tree)
        case dict():
            return {key: _map(fn, value) for key, value in tree.items()}
        case tuple() if hasattr(tree, "_fields"):
            return type(tree)(*(_map(fn, value) for value in tree))
        case tuple():
            return tuple(_map(fn, value) for value in tree)
        case None | bool() | int() | float() | str():
            return tree
    raise TypeError(f"a state holds tensors, NamedTuples and dicts, not {type(tree).__name__}")


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every tensor of a state, names joined by dots, in a fixed order."""
    if isinstance(tree, Tensor):
        yield prefix, tree
        return
    items: Iterator[tuple[str, Any]] = iter(())
    if isinstance(tree, dict):
        items = iter(tree.items())
    elif isinstance(tree, tuple):
        names = getattr(tree, "_fields", None) or tuple(map(str, range(len(tree))))
        items = iter(zip(names, tree, strict=True))
    for name, value in items:
        yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))


def flatten(tree: Any) -> dict[str, Tensor]:
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
    """Cut every tensor of a state from the graph that made it."""
    return tree_map(Tensor.detach, tree)


def all_finite(tree: Any) -> bool:
    """Say whether no floating-point tensor of a state holds an inf or a NaN."""
    return all(_finite(tensor) for _, tensor in leaves(tree) if tensor.is_floating_point())


def _finite(tensor: Tensor) -> bool:
    # An inf or a NaN shows in the sum, which takes a tenth of the time; so may an overflow of finite numbers.
    return math.isfinite(tensor.sum()) or bool(torch.isfinite(tensor).all())
