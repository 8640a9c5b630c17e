"""Batch normalisation whose backward pass is a linear map with a transpose as cheap as itself.

For the derivative of a backward pass torch writes batch normalisation out in a dozen operations on whole activations.
Most of them serve second derivatives, which a Jacobian product does not need.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

_backward = torch.ops.aten.native_batch_norm_backward


class LinearNormalisation(TorchFunctionMode):
    """While it is entered, batch normalisation in training mode counts as constant in its own backward pass.

    What a backward pass computes stays the same.  Its derivative is exact in the vector that it is given, and
    disregards all else; nothing is kept of the batch's statistics.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take the place of ``torch.nn.functional.batch_norm``."""
        if func is not batch_norm:
            return func(*args, **(kwargs or {}))
        return _normalised(*args, **(kwargs or {}))


def _normalised(
    inputs: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training or running_mean is not None:
        return batch_norm(inputs, running_mean, running_var, weight, bias, training, momentum, eps)
    channels = inputs.shape[1]
    weight = inputs.new_ones(channels) if weight is None else weight
    bias = inputs.new_zeros(channels) if bias is None else bias
    outputs: Tensor = _Normalise.apply(inputs, weight, bias, eps)[0]  # type: ignore[no-untyped-call]
    return outputs


class _Normalise(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        outputs, mean, scale = torch.native_batch_norm(inputs, weight, bias, None, None, True, 0.0, eps)
        return outputs, mean, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], inputs[1], *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.eps = inputs[3]

    @staticmethod
    def backward(ctx: Any, w: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        return *_Reverse.apply(w, *ctx.saved_tensors, ctx.eps), None  # type: ignore[no-untyped-call]


class _Reverse(torch.autograd.Function):
    """w -> Jᵀ·w for inputs, scale γ and offset β; in w it is linear, and in the inputs' part its own transpose."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        w: Tensor, inputs: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = _backward(
            w, inputs, weight, None, None, mean, scale, True, eps, [True, True, True]
        )
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[1:5])
        ctx.eps = inputs[5]

    @staticmethod
    def backward(ctx: Any, v: Tensor, v_weight: Tensor, v_bias: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, scale = ctx.saved_tensors
        through = _backward(v, inputs, weight, None, None, mean, scale, True, ctx.eps, [True, False, False])[0]
        slope = (scale * v_weight).to(v.dtype)
        shape = [1, -1] + [1] * (inputs.dim() - 2)
        # β's change + γ's change · (inputs − mean) · scale, without another activation for the last two factors.
        moved = torch.addcmul(through + (v_bias - mean * slope).view(shape), inputs, slope.view(shape))
        return moved, None, None, None, None, None
