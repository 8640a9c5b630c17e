"""Repeated calls of a user's method, to check that it does the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from l2l_cli.core.global_draws import Draws
from l2l_cli.core.tree import flatten, tree_map
from l2l_cli.meta.contracts.refusal import DRAWS, LineWatch, calling, refuse

Result = TypeVar("Result")


def differing(one: object, other: object) -> list[str]:
    """Return the names of the tensors that differ between two states, in shape or in value."""
    first, second = flatten(one), flatten(other)
    if first.keys() != second.keys():
        return sorted(first.keys() ^ second.keys())
    return [name for name, value in first.items() if not _equal(value, second[name])]


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_cuda and one.is_floating_point():  # where sums may be taken in another order
        return torch.allclose(one, other, rtol=1e-5, atol=1e-7, equal_nan=True)
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def copied(tree: Result) -> Result:
    """Return a copy of a state or of another tree of tensors."""
    return tree_map(lambda value: value.detach().clone(), tree)


def drawn(number: int) -> Draws:
    """Return one of several streams of draws from the global generators."""
    return Draws(number, "contract")


def repeated(owner: object, method: str, call: Callable[[], Result], cure: str) -> Result:
    """Return what a method returns, after checking that it depends on neither global generators nor earlier calls.

    Args:
        owner: Object whose method is called.
        method: Name of the method.
        call: Function that calls it and returns a tree of tensors.
        cure: Clause that says where its random numbers should come from.

    Raises:
        ContractError: The method returns something else when it is called again, or seeds the global generator.
    """
    with calling(owner, method):
        with drawn(0):
            first, state = copied(call()), torch.default_generator.get_state()
        with drawn(1):
            second, other = copied(call()), torch.default_generator.get_state()
        if torch.equal(state, other):
            refuse(owner, method, "seeds torch's global generator, from which dropout and others draw", cure)
        if not (names := differing(first, second)):
            return first
        watch = LineWatch(DRAWS)
        with drawn(0), watch:
            again = copied(call())
    if watch.places:
        draws = f"draws from torch's global generator: {', '.join(watch.places)}"
    elif not differing(first, again):
        draws = "draws from a global generator, of torch, NumPy or Python"
    else:
        named = ", ".join(name for name in names if name) or "what it returns"
        draws = f"returns something else when it is called again with the same arguments ({named} differs)"
    refuse(owner, method, draws, cure)


@contextmanager
def without_dropout(*modules: nn.Module) -> Iterator[None]:
    """Switch dropout off: it draws from the global generator, which is seeded for it."""
    parts = [part for module in modules for part in module.modules() if part.training]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True
