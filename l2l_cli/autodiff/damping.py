"""Damped derivatives: values pass unchanged, derivatives are multiplied by a factor or limited in norm."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Context, Params
from l2l_cli.core.vectors import per_episode

Tree = TypeVar("Tree")


def damped(tree: Tree, factor: float) -> Tree:
    """Return a state, or a tensor, with the same values, through which derivatives pass multiplied by a factor."""
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


def limited(params: Params, limit: float | None) -> Params:
    """Return parameters (E, ...) with the same values, through which each episode's derivative has a bounded norm.

    Args:
        params: Parameters of E episodes.
        limit: Largest norm of the derivative of one episode's own objective, where the common objective is their mean;
            a longer derivative is shortened, and one that is not finite becomes zero.  None sets no limit.
    """
    wanted = [name for name, value in params.items() if value.requires_grad]
    if limit is None or not wanted or not torch.is_grad_enabled():
        return params
    found = _Limited.apply(limit, *(params[name] for name in wanted))  # type: ignore[no-untyped-call]
    return params | dict(zip(wanted, found, strict=True))


class _Limited(torch.autograd.Function):
    """The identity of several tensors, whose joint derivative is shortened for each episode."""

    @staticmethod
    def forward(ctx: Context, limit: float, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.limit = limit
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(ctx: Context, *errors: Tensor) -> tuple[Tensor | None, ...]:
        largest = ctx.limit / len(errors[0])
        # Scaled by the largest entry, since the square of 10²⁰ overflows float32.
        top = torch.stack([error.flatten(1).abs().amax(1) for error in errors]).amax(0).clamp(min=1e-30)
        squares = [(error / per_episode(top, error)).square().flatten(1).sum(1) for error in errors]
        norm = top * torch.stack(squares).sum(0).sqrt()
        factor, finite = (largest / norm).clamp(max=1.0), norm.isfinite()
        shortened = [
            torch.where(per_episode(finite, error), error * per_episode(factor, error), 0.0) for error in errors
        ]
        return None, *shortened
