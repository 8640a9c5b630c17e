"""A coordinatewise LSTM unrolled on the CPU: its kernels, their buffers, and threads over the blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from l2l_cli.kernels.blocks import BLOCK, blocked
from l2l_cli.kernels.columns.coordinatewise import Rule, Step, forward
from l2l_cli.kernels.columns.lstm import pack
from l2l_cli.kernels.columns.lstm_backward import Tape, Workspace
from l2l_cli.kernels.memory_pool import Arena, Recycler
from l2l_cli.kernels.simd.compiled import announce
from l2l_cli.kernels.simd.registers import zeros
from l2l_cli.kernels.threads import team
from l2l_cli.kernels.weights import Weights


def packed(weights: Weights, columns: int) -> Rule:
    """Return weights as kernels read them."""
    layers = [[value.detach().numpy() for value in layer] for layer in weights.layers]
    head = weights.output_scale * torch.cat([value.detach().flatten() for value in weights.head])
    return Rule(pack(layers, columns), head.numpy(), int(weights.presentation.mode), weights.presentation.value)


def apply(
    weights: Weights,
    grad: Tensor,
    features: Tensor | None,
    memory: tuple[Tensor, Tensor],
    params: Tensor,
    recycler: Recycler,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return h, c and θ after one step; nothing is kept for a backward pass.

    Args:
        weights: φ.
        grad: (C,).
        features: (F, C), if they are given.
        memory: h and c, (layers, B, H, BLOCK) each.
        params: θ, (C,).
        recycler: Where the next h and c come from: 10⁶ coordinates have 320 MB of them, new at every step.
    """
    hidden, cell = (value.contiguous() for value in memory)
    result = [recycler.empty_like(value) for value in (hidden, cell)]
    flat = [blocked(value[None]).view(-1) for value in (grad, params)]
    after = torch.empty_like(flat[1])
    blocks = hidden.shape[1]
    shown = blocked(features) if features is not None else hidden.new_empty(blocks, weights.features, BLOCK)
    tensors = (flat[0], shown, hidden, cell, *result, flat[1], after)
    rule, step = packed(weights, blocks * BLOCK), Step(*(value.numpy() for value in tensors))
    announce(forward, "coordinatewise LSTM")
    team(torch.get_num_threads()).each(blocks, lambda _, first, last: forward(rule, step, first, last))
    return result[0], result[1], after[: params.numel()]


class Unroll:
    """T steps of C coordinates, forward step by step and then all the way back.

    Args:
        arena: Where the buffers below are, until somebody else takes it up.

    Attributes:
        params: θ before and after every step, (T + 1, B · BLOCK).
        gradients: What the rule is shown, (T, B · BLOCK); the caller's to fill, row by row.
        features: (T, B, F, BLOCK); the caller's to fill if they are given.
        hidden: (T + 1, layers, B, H, BLOCK).
        cell: Alike.
        adjoint: ∂objective/∂moves, (T, B · BLOCK); the caller's to fill before ``backward``.
    """

    params: Tensor
    gradients: Tensor
    features: Tensor
    hidden: Tensor
    cell: Tensor
    adjoint: Tensor

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._workspace = Workspace()
        self._shape: tuple[object, ...] = ()

    def begin(self, weights: Weights, memory: tuple[Tensor, Tensor], params: Tensor, steps: int) -> None:
        """Take up φ, h and c of (layers, B, H, BLOCK) and θ of (C,)."""
        self._allocate(weights, memory[0], steps)
        self._weights, self._rule = weights, packed(weights, memory[0].shape[1] * BLOCK)
        self.hidden[0], self.cell[0] = memory
        self._count = params.numel()
        self.params[0, : self._count] = params

    def advance(self, t: int) -> None:
        """Make step t."""
        rule, step = self._rule, self._steps[t]
        crew = team(torch.get_num_threads())
        crew.each(step.hidden.shape[1], lambda _, first, last: forward(rule, step, first, last))

    def backward(self, visited: Tensor | None = None) -> list[Tensor]:
        """Return ∂objective/∂φ: of each layer's three tensors in turn, of the head's weight and of its bias.

        Args:
            visited: Numbers of the blocks whose adjoint is not zero, (V,); None is all.
        """
        order = None if visited is None else visited.numpy()
        layers, head = self._workspace.gradient(self._rule.cell, self._rule.head, self._tape, self._count, order)
        head = self._weights.output_scale * head
        return [*layers, head[None, :-1], head[-1:]]

    def _allocate(self, weights: Weights, hidden: Tensor, steps: int) -> None:
        shape = (steps, weights.features, hidden.shape, hidden.dtype)
        self._arena.turns += 1
        if self._arena.holder is self and shape == self._shape:
            return
        announce(forward, "coordinatewise LSTM")
        self._arena.holder, self._shape, dtype = self, shape, hidden.numpy().dtype
        columns, take = hidden.shape[1] * BLOCK, self._arena.take
        features = take("features", (steps, hidden.shape[1], weights.features, BLOCK), dtype)
        h, c = (take(name, (steps + 1, *hidden.shape), dtype) for name in ("h", "c"))
        gradients, adjoint = (take(name, (steps, columns), dtype) for name in ("gradients", "adjoint"))
        params = take("params", (steps + 1, columns), dtype)
        for shown in (features, gradients, adjoint):
            shown[:] = 0.0  # the padding, which nobody writes, may hold another model's numbers
        self._tape = Tape(features, h, c, adjoint, zeros((0, 0, 0, 0), dtype))
        self._steps = [
            Step(gradients[t], features[t], h[t], c[t], h[t + 1], c[t + 1], params[t], params[t + 1])
            for t in range(steps)
        ]
        self.features, self.hidden, self.cell = map(torch.from_numpy, (features, h, c))
        self.gradients, self.adjoint, self.params = map(torch.from_numpy, (gradients, adjoint, params))
