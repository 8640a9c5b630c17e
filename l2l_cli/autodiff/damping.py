"""Derivatives that count less than whole: a value goes on as it is, its derivative times a factor."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Context

Tree = TypeVar("Tree")


def damped(tree: Tree, factor: float) -> Tree:
    """Return a state, or a tensor, with the same values, through whose tensors derivatives flow times a factor."""
    if factor == 1.0 or not torch.is_grad_enabled():
        return tree
    return tree_map(lambda value: _once(value, factor), tree)


def _once(value: Tensor, factor: float) -> Tensor:
    if not value.requires_grad or factor == 0.0:
        return value.detach()
    found: Tensor = _Damped.apply(value, factor)  # type: ignore[no-untyped-call]
    return found


class _Damped(torch.autograd.Function):
    """The identity, whose derivative is a factor."""

    @staticmethod
    def forward(ctx: Context, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Context, *errors: Tensor) -> tuple[Tensor, None]:
        return errors[0] * ctx.factor, None
