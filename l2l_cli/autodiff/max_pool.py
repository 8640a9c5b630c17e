"""Maximum pooling that remembers where its maxima were, and nothing of what it was given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torch.overrides import TorchFunctionMode

_forward, _backward = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices_backward


class LeanPooling(TorchFunctionMode):
    """While it is entered, two-dimensional maximum pooling keeps the places of its maxima alone.

    torch keeps the inputs too, four times as many numbers at windows of 2 × 2, and reads no more than their shape.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take the place of ``torch.nn.functional.max_pool2d``."""
        if func is not max_pool2d:
            return func(*args, **(kwargs or {}))
        return _pooled(*args, **(kwargs or {}))


def _pooled(
    inputs: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    windows = (kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)
    found = _Pool.apply(inputs, windows)  # type: ignore[no-untyped-call]
    return found if return_indices else found[0]


class _Pool(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, windows: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = _forward(inputs, *windows)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.layout = (inputs[0].shape, inputs[0].stride())
        ctx.windows = inputs[1]

    @staticmethod
    def backward(ctx: Any, w: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        return _Return.apply(w, *ctx.saved_tensors, ctx.layout, ctx.windows), None  # type: ignore[no-untyped-call]


class _Return(torch.autograd.Function):
    """w -> w at the places of the maxima, 0 elsewhere."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, places: Tensor, layout: tuple[Any, Any], windows: tuple[Any, ...]) -> Tensor:
        unread = w.new_empty_strided(*layout)  # stands for the inputs; on a CPU its pages are never touched
        found: Tensor = _backward(w, unread, *windows, places)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        return v.flatten(-2).gather(-1, places.flatten(-2)).view_as(places), None, None, None
