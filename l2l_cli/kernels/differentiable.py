"""Compiled passes as functions that torch differentiates, from buffers that hold the last pass alone."""

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
    """Return what ``forward`` returns: first a function of the inputs, then constants.

    Args:
        forward: Pass forward, kept in buffers.
        backward: Pass back, from the objective's gradient in the first output to those in the inputs.
        passes: Count of the passes through the buffers so far.
        inputs: What is differentiated.
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
