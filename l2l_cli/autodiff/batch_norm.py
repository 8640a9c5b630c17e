"""Batch normalisation whose backward pass is a linear map, with a transpose that is as cheap as the map itself.

To differentiate a backward pass, torch expands batch normalisation into a dozen operations on whole activations.
Most of them serve second derivatives, which a Jacobian product does not need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

from l2l_cli.core.types import Context

_backward = torch.ops.aten.native_batch_norm_backward


class LinearNormalisation(TorchFunctionMode):
    """While this mode is active, the backward pass of batch normalisation (in training mode) counts as linear.

    The backward pass itself stays the same.  Its derivative is exact with respect to the vector that it is applied to,
    and treats everything else as constant, so that the batch's statistics need no graph.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Replace ``torch.nn.functional.batch_norm``."""
        named = dict(zip(_ARGUMENTS, args, strict=False)) | (kwargs or {}) if func is batch_norm else {}
        if not named.get("training") or named["running_mean"] is not None:
            return func(*args, **(kwargs or {}))
        inputs, weight, bias = named["input"], named.get("weight"), named.get("bias")
        weight = inputs.new_ones(inputs.shape[1]) if weight is None else weight
        bias = inputs.new_zeros(inputs.shape[1]) if bias is None else bias
        return _Normalise.apply(inputs, weight, bias, named.get("eps", 1e-5))[0]  # type: ignore[no-untyped-call]


_ARGUMENTS = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
"""The parameters of ``torch.nn.functional.batch_norm``, in order."""


class _Normalise(torch.autograd.Function):
    """(inputs, γ, β, ε) -> outputs, and the mean and inverse standard deviation of each channel."""

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        outputs, mean, scale = torch.native_batch_norm(inputs, weight, bias, None, None, True, 0.0, eps)
        return outputs, mean, scale

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(inputs[0], inputs[1], *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.eps = inputs[3]

    @staticmethod
    def backward(ctx: Context, w: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        return *_Reverse.apply(w, *ctx.saved_tensors, ctx.eps), None  # type: ignore[no-untyped-call]


class _Reverse(torch.autograd.Function):
    """w -> Jᵀ·w for inputs, scale γ and offset β; it is linear in w, and its part for the inputs is symmetric."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        w: Tensor, inputs: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor, Tensor] = _backward(
            w, inputs, weight, None, None, mean, scale, True, eps, [True, True, True]
        )
        return gradients

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: object) -> None:
        ctx.save_for_backward(*inputs[1:5])
        ctx.eps = inputs[5]

    @staticmethod
    def backward(ctx: Context, v: Tensor, v_weight: Tensor, v_bias: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, scale = ctx.saved_tensors
        through = _backward(v, inputs, weight, None, None, mean, scale, True, ctx.eps, [True, False, False])[0]
        slope = (scale * v_weight).to(v.dtype)
        shape = [1, -1] + [1] * (inputs.dim() - 2)
        # β's change + γ's change · (inputs − mean) · scale, without a temporary tensor for the last two factors.
        moved = torch.addcmul(through + (v_bias - mean * slope).view(shape), inputs, slope.view(shape))
        return moved, None, None, None, None, None
