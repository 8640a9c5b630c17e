"""Compiled passes as functions that torch differentiates, with buffers that hold only the last pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]


def differentiable(
    forward: Callable[[], Outputs],
    backward: Callable[[Tensor], Sequence[Tensor]],
    passes: Callable[[], object],
    inputs: Sequence[Tensor],
) -> Outputs:
    """Return what ``forward`` returns: the first output as a function of the inputs, the others as constants.

    Args:
        forward: Forward pass, kept in buffers.
        backward: Backward pass, from the objective's gradient with respect to the first output to those of the inputs.
        passes: Function that counts the passes through the buffers so far.
        inputs: Tensors with respect to which the first output is differentiated.
    """
    outputs: Outputs = _Pass.apply(forward, backward, passes, *inputs)  # type: ignore[no-untyped-call]
    return outputs


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, forward: Callable[[], Outputs], *rest: Any) -> Outputs:
        ctx.back, ctx.passes = rest[:2]
        outputs = forward()
        ctx.number = ctx.passes()
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.number != ctx.passes():
            raise RuntimeError(
                "these buffers were overwritten by a later window; call backward() before starting the next one"
            )
        return None, None, None, *ctx.back(grad)
