"""A coordinatewise LSTM unrolled on the CPU: its kernels, their buffers, and threads over the blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from l2l_cli.kernels.blocks import BLOCK, blocks_of, fill
from l2l_cli.kernels.columns.coordinatewise import PackedRule, RuleStep, forward, forward_columns
from l2l_cli.kernels.columns.least_squares import LeastSquares, WindowRows, blocks_of_whole_episodes, unroll
from l2l_cli.kernels.columns.lstm import pack
from l2l_cli.kernels.columns.lstm_backward import LSTMTape, Workspace
from l2l_cli.kernels.memory_pool import Arena, Recycler
from l2l_cli.kernels.simd.compiled import announce
from l2l_cli.kernels.simd.registers import zeros
from l2l_cli.kernels.threads import thread_group
from l2l_cli.kernels.weights import Weights

FEW = 16
"""Number of blocks whose step takes one thread less time than returning to torch and back, about 60 µs."""


def packed(weights: Weights, columns: int) -> PackedRule:
    """Return weights as kernels read them."""
    layers = [[value.detach().numpy() for value in layer] for layer in weights.layers]
    head = weights.output_scale * torch.cat([value.detach().flatten() for value in weights.head])
    return PackedRule(pack(layers, columns), head.numpy(), int(weights.presentation.mode), weights.presentation.value)


class SingleSteps:
    """Makes steps that keep nothing for a backward pass."""

    def __init__(self) -> None:
        # Without it, the states of 10⁶ coordinates would be 320 MB of fresh memory at every step.
        self._recycler = Recycler()
        self._blocks: dict[tuple[object, ...], list[RuleStep]] = {}

    def step(
        self, weights: Weights, grad: Tensor, features: Tensor | None, memory: tuple[Tensor, Tensor], params: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return h, c and θ after one step.

        Args:
            weights: φ.
            grad: ∇, (C,).
            features: Features (F, C), if they are given.
            memory: h and c, (layers, H, C) each.
            params: θ, (C,).
        """
        hidden, cell = (value.contiguous() for value in memory)
        after = [*(self._recycler.empty_like(value) for value in (hidden, cell)), torch.empty_like(params)]
        shown = hidden.new_empty(0, 0) if features is None else features.contiguous()
        tensors = grad.contiguous(), shown, hidden, cell, *after[:2], params.contiguous(), after[2]
        count = blocks_of(params.numel())
        rule, step = packed(weights, count * BLOCK), RuleStep(*(value.detach().numpy() for value in tensors))
        announce(forward_columns, "coordinatewise LSTM")
        group = thread_group(torch.get_num_threads())
        blocks = self._blocks_of(weights, hidden, group.threads)
        group.each(count, lambda k, first, last: forward_columns(rule, step, blocks[k], first, last))
        return after[0], after[1], after[2]

    def _blocks_of(self, weights: Weights, hidden: Tensor, threads: int) -> list[RuleStep]:
        """Return one block for each thread."""
        layers, units, dtype = len(weights.layers), weights.hidden, hidden.numpy().dtype
        blocks = self._blocks.setdefault((weights.features, layers, units, dtype), [])
        while len(blocks) < threads:
            gradient, params, next_params = (zeros((BLOCK,), dtype) for _ in range(3))
            h, c, next_h, next_c = (zeros((layers, 1, units, BLOCK), dtype) for _ in range(4))
            features = zeros((1, weights.features, BLOCK), dtype)
            blocks.append(RuleStep(gradient, features, h, c, next_h, next_c, params, next_params))
        return blocks


class LSTMWindow:
    """T steps of C coordinates, forward step by step and then all the way back.

    The buffers hold the last window, and have room for the largest model so far.

    Attributes:
        params: θ before and after every step, (T + 1, B · BLOCK).
        gradients: Gradients that the rule receives, (T, B · BLOCK); the caller fills them, row by row.
        features: Features (T, B, F, BLOCK); the caller fills them if they are given.
        hidden: h before and after every step, (T + 1, layers, B, H, BLOCK).
        cell: c, of the same shape.
        grad_moves: ∂objective/∂moves, (T, B · BLOCK); the caller fills it before ``backward``.
    """

    params: Tensor
    gradients: Tensor
    features: Tensor
    hidden: Tensor
    cell: Tensor
    grad_moves: Tensor

    def __init__(self) -> None:
        self._arena = Arena()
        self._workspace = Workspace()
        self._shape: tuple[object, ...] = ()

    def begin(
        self, weights: Weights, memory: tuple[Tensor, Tensor], params: Tensor, steps: int, record: bool = True
    ) -> None:
        """Begin with φ, h and c of (layers, H, C) and θ of (C,).

        Without ``record`` nothing can be differentiated: one row of each buffer serves all steps, or two rows if the
        buffer also has one for the state before the first step.
        """
        self._count = params.numel()
        self._allocate(weights, memory[0], steps if record else 1)
        self._weights, self._rule = weights, packed(weights, self.params.shape[1])
        for value, given in zip((self.hidden[0], self.cell[0]), memory, strict=True):
            fill(value, given)
        self.params[0, : self._count] = params

    def advance(self, t: int) -> None:
        """Make step t."""
        rule, step = self._rule, self._steps[t % len(self._steps)]
        group = thread_group(torch.get_num_threads())
        group.each(step.hidden.shape[1], lambda _, first, last: forward(rule, step, first, last))

    def least_squares(self, matrix: Tensor, targets: Tensor) -> Tensor | None:
        """Make all T steps on ‖Wθ − y‖² of E episodes and return Wθ_t, (T, E, N); None if threads would be idle.

        Args:
            matrix: W, (T, E, N, P).
            targets: y, (T, E, N).
        """
        group, blocks = thread_group(torch.get_num_threads()), self.hidden.shape[2]
        each = blocks_of_whole_episodes(matrix.shape[3])
        if FEW < blocks < group.threads * each:
            return None
        outputs = torch.empty(matrix.shape[:3], dtype=matrix.dtype)
        problem = LeastSquares(_once(matrix).numpy(), _once(targets).numpy(), outputs.numpy())
        announce(unroll, "least squares")
        rule, rows = self._rule, self._rows
        group.each(
            -(-blocks // each),
            lambda _, first, last: unroll(rule, rows, problem, first * each, min(last * each, blocks)),
        )
        return outputs

    def backward(self, visited: Tensor | None = None) -> list[Tensor]:
        """Return ∂objective/∂φ: of each layer's three tensors in turn, of the head's weight and of its bias.

        Args:
            visited: Indices of the blocks where ``grad_moves`` is not zero, (V,); None visits all.
        """
        order = None if visited is None else visited.numpy()
        layers, head = self._workspace.gradient(self._rule.cell, self._rule.head, self._tape, self._count, order)
        head = self._weights.output_scale * head
        return [*layers, head[None, :-1], head[-1:]]

    def _allocate(self, weights: Weights, hidden: Tensor, steps: int) -> None:
        layers, units, blocks = len(weights.layers), weights.hidden, blocks_of(self._count)
        shape = (steps, weights.features, layers, units, blocks, hidden.dtype)
        if shape == self._shape:
            return
        announce(forward, "coordinatewise LSTM")
        self._shape, dtype, take = shape, hidden.numpy().dtype, self._arena.take
        features = take("features", (steps, blocks, weights.features, BLOCK), dtype)
        h, c = (take(name, (steps + 1, layers, blocks, units, BLOCK), dtype) for name in ("h", "c"))
        gradients, grad_moves = (take(name, (steps, blocks * BLOCK), dtype) for name in ("gradients", "grad_moves"))
        params = take("params", (steps + 1, blocks * BLOCK), dtype)
        for array in (features, gradients, grad_moves, h[0], c[0]):
            array[:] = 0.0  # the padding, which is never written, may hold another model's numbers
        self._tape = LSTMTape(features, h, c, grad_moves, zeros((0, 0, 0, 0), dtype))
        self._rows = WindowRows(gradients, features, h, c, params)
        self._steps = [
            RuleStep(gradients[t], features[t], h[t], c[t], h[t + 1], c[t + 1], params[t], params[t + 1])
            for t in range(steps)
        ]
        if steps == 1:  # two steps, one from row to row and one back, serve for any number of steps
            self._steps.append(RuleStep(gradients[0], features[0], h[1], c[1], h[0], c[0], params[1], params[0]))
        self.features, self.hidden, self.cell = map(torch.from_numpy, (features, h, c))
        self.gradients, self.grad_moves, self.params = map(torch.from_numpy, (gradients, grad_moves, params))


def _once(values: Tensor) -> Tensor:
    """Return values that are the same at every step once, (1, ...); other values as they are."""
    return (values[:1] if values.stride(0) == 0 else values).contiguous()
