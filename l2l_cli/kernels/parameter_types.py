"""Networks shared by the coordinates of one parameter type, on the CPU: kernels, and threads over the blocks.

Reference: ``optimizers.type_rnns.ParameterTypeRNNs``, in values and derivatives (of weights, states and features).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l2l_cli.kernels.blocks import BLOCK, blocks_of
from l2l_cli.kernels.columns.coordinate_rnn import (
    RNNBlock,
    RNNGradients,
    RNNStep,
    RNNWeights,
    backward,
    forward,
    rnn_block,
)
from l2l_cli.kernels.columns.lstm import LSTMWeights, arranged, in_powers
from l2l_cli.kernels.columns.lstm_backward import LSTMGradient, by_weight
from l2l_cli.kernels.memory_pool import Recycler
from l2l_cli.kernels.simd.compiled import announce
from l2l_cli.kernels.threads import thread_group

Answer = tuple[Tensor, Tensor, Tensor]
"""Outputs (E, D), and the next h and c, (layers, H, E, D) each."""


class ParameterTypeKernels:
    """Steps the networks of all types in one call.

    The memory of the states is reused: for 10⁶ coordinates, each network would allocate 64 MB at every step.
    """

    def __init__(self) -> None:
        self._recycler = Recycler()
        self._blocks: dict[Any, list[RNNBlock]] = {}

    def __call__(
        self,
        features: Tensor,
        hidden: Tensor,
        cell: Tensor,
        spans: Sequence[slice],
        weights: Sequence[Sequence[Tensor]],
    ) -> Answer:
        """Return outputs and the next states.

        Args:
            features: Features, (K, E, D).
            hidden: h before the step, (layers, H, E, D).
            cell: c, of the same shape.
            spans: Place of each parameter type among the D coordinates.
            weights: Parameters of each type's network: input weights, hidden weights and bias of each layer in turn,
                and those of the head.
        """
        flat = [value for own in weights for value in own]
        found: Answer = _RNNStepFunction.apply(self, spans, features, hidden, cell, *flat)  # type: ignore[no-untyped-call]
        return found

    def forward(
        self, spans: Sequence[slice], features: Tensor, hidden: Tensor, cell: Tensor, weights: Sequence[Tensor]
    ) -> Answer:
        """Make a step without recording it."""
        announce(forward, "coordinatewise network")
        values = torch.empty_like(features[0])
        after = [self._recycler.empty_like(value) for value in (hidden, cell)]
        networks, step = _packed(weights, len(spans), hidden), _step(spans, features, hidden, cell, values, *after)
        self._each(step, lambda block, first, last, _: forward(networks, step, block, first, last))
        return values, after[0], after[1]

    def backward(
        self,
        spans: Sequence[slice],
        given: tuple[Tensor, Tensor, Tensor],
        answer: Answer,
        errors: Sequence[Tensor],
        weights: Sequence[Tensor],
        with_features: bool,
    ) -> list[Tensor | None]:
        """Return ∂objective/∂features, if it is wanted, ∂/∂hidden, ∂/∂cell, and ∂/∂weights."""
        announce(backward, "coordinatewise network's backward")
        values, hidden = answer[0], given[1]
        grad_sums = errors[0] * -torch.expm1(-values)  # the derivative of the softplus, computed from its value
        asked = [value.contiguous() for value in errors[1:]]
        found = [torch.empty_like(value) for value in given]
        networks, step = _packed(weights, len(spans), hidden), _step(spans, *given, *answer)
        grad_features = _rows(found[0]) if with_features else np.zeros((0, 0), found[0].numpy().dtype)
        grad_hidden, grad_cell = map(_columns, found[1:])
        table = RNNGradients(
            _flat(grad_sums), _columns(asked[0]), _columns(asked[1]), grad_features, grad_hidden, grad_cell
        )
        units, group = hidden.shape[1], thread_group(torch.get_num_threads())
        size = sum(4 * units * (int(below) + units + 1) for below in networks.starts[:, 2])
        sinks = [
            LSTMGradient(*(np.zeros((len(spans), width), grad_features.dtype) for width in (size, units + 1)))
            for _ in range(group.threads)
        ]
        self._each(step, lambda block, first, last, k: backward(networks, step, table, sinks[k], block, first, last))
        whole, grad_heads = (torch.from_numpy(np.sum(parts, 0)) for parts in zip(*sinks, strict=True))
        grad_weights: list[Tensor] = []
        for own, head in zip(whole, grad_heads, strict=True):
            grad_weights += [*by_weight(own, networks.starts, units), head[None, :-1], head[-1:]]
        return [found[0] if with_features else None, *found[1:], *grad_weights]

    def _each(self, step: RNNStep, work: Callable[[RNNBlock, int, int, int], None]) -> None:
        """Process all blocks, each thread in its own ``RNNBlock``."""
        group, (layers, units, _) = thread_group(torch.get_num_threads()), step.hidden.shape
        blocks = self._blocks.setdefault((len(step.features), layers, units, step.hidden.dtype), [])
        blocks += [
            rnn_block(len(step.features), layers, units, step.hidden.dtype) for _ in range(group.threads - len(blocks))
        ]
        *_, (first, _, count, _) = step.runs
        group.each(first + blocks_of(count), lambda k, begin, end: work(blocks[k], begin, end, k))


class _RNNStepFunction(torch.autograd.Function):
    """One step as a function of features, states and weights."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: ParameterTypeKernels,
        spans: Sequence[slice],
        features: Tensor,
        hidden: Tensor,
        cell: Tensor,
        *weights: Tensor,
    ) -> Answer:
        given = features.contiguous(), hidden.contiguous(), cell.contiguous()
        answer = kernels.forward(spans, *given, weights)
        ctx.kernels, ctx.spans = kernels, spans
        ctx.save_for_backward(*given, *answer, *weights)
        return answer

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *errors: Tensor) -> Any:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[2]
        found = ctx.kernels.backward(ctx.spans, saved[:3], saved[3:6], errors, saved[6:], wanted)
        return None, None, *found


def _step(
    spans: Sequence[slice], features: Tensor, hidden: Tensor, cell: Tensor, values: Tensor, *after: Tensor
) -> RNNStep:
    """Return a step's memory as kernels read it."""
    episodes, size = values.shape
    runs, first = [], 0
    for episode in range(episodes):
        for type_, span in enumerate(spans):
            runs.append((first, episode * size + span.start, span.stop - span.start, type_))
            first += blocks_of(span.stop - span.start)
    before, content, above, kept = (_columns(value) for value in (hidden, cell, *after))
    return RNNStep(np.array(runs, np.int64), _rows(features), before, content, _flat(values), above, kept)


def _packed(weights: Sequence[Tensor], types: int, like: Tensor) -> RNNWeights:
    """Return the weights of all types as kernels read them.

    Where ``arranged`` puts a weight depends only on its index.  So ``arranged`` is called once on the numbers 1, 2, …
    (0 is its padding); then one ``take`` packs the weights of all types at every step, instead of a dozen small copies
    for each type.
    """
    layers, units = like.shape[:2]
    table = torch.cat([value.detach().flatten() for value in weights]).view(types, -1)
    order = _order(weights[0].shape[1], layers, units)
    values = functional.pad(table, (1, 0)).numpy()  # the padding of a packed cell is number 0
    gates, bias, back = (np.take(values, numbers.astype(np.int64), 1) for numbers in order[:3])
    gates, bias = in_powers(gates), in_powers(bias)
    return RNNWeights(gates, bias, back, np.ascontiguousarray(values[:, -units - 1 :]), order.starts, order.registers)


@cache
def _order(inputs: int, layers: int, units: int) -> LSTMWeights:
    """Return a packed network that holds each weight's place in the flat vector, counted from 1, and 0 as padding."""
    numbered, begin = [], 1
    for below in [inputs] + [units] * (layers - 1):
        parts = []
        for shape in ((4 * units, below), (4 * units, units), (4 * units,)):
            parts.append(np.arange(begin, begin + math.prod(shape), dtype=np.float64).reshape(shape))
            begin += math.prod(shape)
        numbered.append(parts)
    return arranged(numbered, BLOCK)


def _rows(value: Tensor) -> np.ndarray[Any, Any]:
    """Return (K, E, D) as (K, C)."""
    return value.numpy().reshape(len(value), -1)


def _columns(value: Tensor) -> np.ndarray[Any, Any]:
    """Return (layers, H, E, D) as (layers, H, C)."""
    return value.numpy().reshape(*value.shape[:2], -1)


def _flat(value: Tensor) -> np.ndarray[Any, Any]:
    """Return (E, D) as (C,)."""
    return value.numpy().reshape(-1)
