"""Max-pooling that keeps the positions of its maxima for the backward pass, not its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torch.overrides import TorchFunctionMode

from l2l_cli.core.types import Context

_forward, _backward = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices_backward
_DEFAULTS: dict[str, Any] = dict.fromkeys(("input", "kernel_size", "stride"))
_DEFAULTS |= {"padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
"""The parameters of ``torch.nn.functional.max_pool2d``, in order."""


class LeanPooling(TorchFunctionMode):
    """While this mode is active, two-dimensional max-pooling keeps only the positions of its maxima.

    torch keeps the inputs too, four times as many numbers for windows of 2 × 2, but reads only their shape.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Replace ``torch.nn.functional.max_pool2d``."""
        if func is not max_pool2d:
            return func(*args, **(kwargs or {}))
        named = _DEFAULTS | dict(zip(_DEFAULTS, args, strict=False)) | (kwargs or {})
        inputs, size, stride, *others, return_indices = named.values()
        windows = (size, size if stride is None else stride, *others)
        outputs, positions = _Pool.apply(inputs, windows)  # type: ignore[no-untyped-call]
        return (outputs, positions) if return_indices else outputs


class _Pool(torch.autograd.Function):
    """(inputs, windows) -> the maxima and their positions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, windows: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        maxima: tuple[Tensor, Tensor] = _forward(inputs, *windows)
        return maxima

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.layout = (inputs[0].shape, inputs[0].stride())
        ctx.windows = inputs[1]

    @staticmethod
    def backward(ctx: Context, w: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        return _Return.apply(w, *ctx.saved_tensors, ctx.layout, ctx.windows), None  # type: ignore[no-untyped-call]


class _Return(torch.autograd.Function):
    """w -> w at the positions of the maxima, 0 elsewhere."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, positions: Tensor, layout: tuple[Any, Any], windows: tuple[Any, ...]) -> Tensor:
        unread = w.new_empty_strided(*layout)  # stands for the inputs; on a CPU its pages are never touched
        gradient: Tensor = _backward(w, unread, *windows, positions)
        return gradient

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: object) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Context, v: Tensor) -> tuple[Tensor | None, ...]:
        (positions,) = ctx.saved_tensors
        return v.flatten(-2).gather(-1, positions.flatten(-2)).view_as(positions), None, None, None
