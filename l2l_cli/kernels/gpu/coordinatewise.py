"""Unrolling the coordinatewise LSTM on a GPU: one kernel per step forward, one backward, and products for ∂/∂φ.

Reference: ``optimizers.coordinatewise_lstm.CoordinatewiseLSTM`` under automatic differentiation.
Source: Andrychowicz et al. 2016, §2.1, with the gradient that the rule receives taken as data.

A step's time is that of moving the state through memory, so a step reads and writes it once.  Between the passes only
h, c and the features are kept.  The first ``begin`` of each size allocates all buffers, which then stay in place, and
nothing waits for the device, so that whole unrolls can be captured in a CUDA graph.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.kernels.weights import PITCH, Mode, Weights

MOST_UNITS = 64
"""Largest number of units of a layer that a program has room for."""

GATE_GRADIENT_BYTES = 2**30
"""Memory (bytes) for ∂/∂gates: as many steps as fit are multiplied with their sources by one product."""


class DeviceArena:
    """Memory that all unrolls of one rule use in turn; a captured unroll keeps the memory that it was captured with.

    Attributes:
        uses: Number of unrolls so far; ``backward`` reads what the last one left.
    """

    def __init__(self) -> None:
        self.uses = 0
        self._kept: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, device: torch.device, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a tensor that holds whatever was last written there."""
        kept, size = self._kept.get((name, dtype)), math.prod(shape)
        if kept is None or kept.numel() < size:
            kept = self._kept[name, dtype] = torch.zeros(size, dtype=dtype, device=device)
        return kept[:size].view(shape)


class _PaddedWeights(NamedTuple):
    """Weights as the kernels read them, padded with zeros to U units.

    Attributes:
        squares: Weights, (layers, 4, 4, U, U): by gate, those of what is below, of h_{t−1}, and both transposed.
        bias: Biases, (layers, 4, U).
        head: Weights and bias of the displacement, (U + 1,).
    """

    squares: Tensor
    bias: Tensor
    head: Tensor


class _TritonTape(NamedTuple):
    """Buffers of S steps (T if recorded, else one) over P ≥ C coordinates.

    Attributes:
        hidden: h of every layer, (S + 1, layers, H, P).
        cell: c, of the same shape.
        features: Features that the first layer sees, (S, F, P).
        moved: θ after each step, (S + 1, P).
    """

    hidden: Tensor
    cell: Tensor
    features: Tensor
    moved: Tensor


class _TritonGradients(NamedTuple):
    """Working memory of the backward pass.

    Attributes:
        hidden: ∂/∂h, (2, layers, H, P): a step reads one half and writes the other, because the threads that
            write a place are not those that read it.
        cell: ∂/∂c, of the same shape.
        grad_gates: ∂/∂gates of the steps that wait for their product, (S, layers, 4H, P).
        grad_moves: ∂objective/∂moves, (T, P).
    """

    hidden: Tensor
    cell: Tensor
    grad_gates: Tensor
    grad_moves: Tensor


def padded(count: int) -> int:
    """Return the length of a row of C coordinates in memory."""
    return -(-count // PITCH) * PITCH


def padded_units(hidden: int) -> int:
    """Return the number of units that the kernels compute for a layer."""
    return max(16, 1 << (hidden - 1).bit_length())


def shared_memory(hidden: int, state_dtype: torch.dtype) -> int:
    """Return the shared memory (bytes) of a program, which holds square matrices of weights until they are used."""
    units = padded_units(hidden)
    return (12 if units <= 32 else 9) * units * units * state_dtype.itemsize


def unknown(weights: Weights) -> str:
    """Return the reason why the kernels cannot compute an LSTM; empty if they can."""
    if weights.presentation.mode == Mode.GIVEN:
        return "the GPU's kernels do not know this preprocessing of gradients"
    if weights.hidden > MOST_UNITS:
        return f"the GPU's kernels have room for {MOST_UNITS} units, not {weights.hidden}"
    if weights.head[0].dtype != torch.float32:
        return f"the GPU's kernels compute in float32, not {weights.head[0].dtype}"
    return ""


class TritonUnroll:
    """T steps of a coordinatewise LSTM on C coordinates, and the gradient of φ.

    Args:
        weights: φ.
        arena: Memory for the states and features of each step.
        state_dtype: Type of h, c, features, ∂/∂gates and packed weights in memory, float32 or bfloat16; the latter
            halves the memory traffic of large steps, and loses additions to c below 2⁻⁹ of it.  Sums are float32.
        precision: Precision of float32 products: "tf32" (with non-linearities to the same 2⁻¹¹), "tf32x3" or "ieee".
    """

    def __init__(
        self, weights: Weights, arena: DeviceArena, state_dtype: torch.dtype = torch.float32, precision: str = "tf32"
    ) -> None:
        if why_not := unknown(weights):
            raise ValueError(f"{why_not}; use kernels=reference")
        self.weights, hidden = weights, weights.hidden
        self.output_scale = float(weights.output_scale)  # an int would make Triton compile another kernel
        self.presentation = weights.presentation
        self.state_dtype, self.precision, self._arena = state_dtype, precision, arena
        self._layers, self._hidden = len(weights.layers), hidden
        self._units = padded_units(hidden)
        self._size = (-1, -1, False)  # coordinates, steps and whether they are recorded
        device = weights.head[0].device
        square = (self._layers, 4, 4, self._units, self._units)
        self._packed = _PaddedWeights(
            torch.zeros(square, dtype=state_dtype, device=device),
            torch.zeros(square[:2] + square[-1:], dtype=torch.float32, device=device),
            torch.zeros(self._units + 1, dtype=torch.float32, device=device),
        )
        every = [value for layer in weights.layers for value in layer] + list(weights.head)
        self._gradient = torch.zeros(sum(value.numel() for value in every), dtype=torch.float32, device=device)
        pieces = torch.split(self._gradient, [value.numel() for value in every])
        self._gradients = [piece.view_as(value) for piece, value in zip(pieces, every, strict=True)]
        self._tape: _TritonTape
        self._working: _TritonGradients

    def begin(self, hidden: Tensor, cell: Tensor, steps: int, record: bool = True) -> None:
        """Copy the current φ and a state into the buffers.

        Args:
            hidden: h, (layers, H, C), taken as a constant.
            cell: c, of the same shape, likewise.
            steps: Number T of steps.
            record: Whether ``backward`` will follow; without it, memory does not grow with T.
        """
        count = hidden.shape[2]
        if self._size != (count, steps, record):
            self._allocate(count, steps, record)
        self._pack()
        # Other unrolls may have left anything there, and products of the backward pass go over whole rows.
        for rows in self._tape[:3]:
            rows[..., count:].zero_()
        self._tape.hidden[0, :, :, :count].copy_(hidden)
        self._tape.cell[0, :, :, :count].copy_(cell)
        self._now = 0

    def advance(self, t: int, gradient: Tensor, params: Tensor) -> Tensor:
        """Run step t: from ∇_t (C,) and θ_t (C,) to θ_{t+1} (C,), a view of a buffer that steps take in turn."""
        from l2l_cli.kernels.gpu import coordinatewise_steps as kernels

        count, _, record = self._size
        tape, value = self._tape, self.presentation.value
        old, new, slot = (t, t + 1, t) if record else (t % 2, (t + 1) % 2, 0)
        kernels.forward[self._forward.grid(count)](
            *self._packed, gradient, params, tape.hidden[old], tape.cell[old], tape.hidden[new], tape.cell[new],
            tape.features[slot], tape.moved[new], count, tape.moved.shape[1],
            self.output_scale, VALUE=value, SMALL=max(math.exp(-value), 2.0**-126), RECORD=record,
            BLOCK=self._forward.block, **self._shared, **self._forward.options,
        )  # fmt: skip
        self._now = new
        return tape.moved[new, :count]

    def state(self) -> tuple[Tensor, Tensor]:
        """Return h and c after the last step, (layers, H, C) views of ``state_dtype`` that later steps overwrite."""
        count = self._size[0]
        return self._tape.hidden[self._now, :, :, :count], self._tape.cell[self._now, :, :, :count]

    def backward(self, grad_moves: Tensor) -> list[Tensor]:
        """Differentiate a recorded unroll.

        Args:
            grad_moves: ∂objective/∂moves, (T, C).

        Returns:
            The gradients of W, U and b of each layer and of the head's weight and bias, overwritten by the next call.
        """
        from l2l_cli.kernels.gpu import coordinatewise_steps as kernels

        count, steps, _ = self._size
        tape, errors, pitch = self._tape, self._working, self._tape.moved.shape[1]
        errors.grad_moves[:, :count].copy_(grad_moves)
        for rows in (errors.grad_moves, errors.grad_gates):
            rows[..., count:].zero_()
        errors.hidden[steps % 2].zero_()
        errors.cell[steps % 2].zero_()
        self._gradient.zero_()
        wait = len(errors.grad_gates)
        for t in range(steps - 1, -1, -1):
            after, before = (t + 1) % 2, t % 2
            kernels.backward[self._backward.grid(count)](
                *self._packed, errors.grad_moves[t], tape.features[t], tape.hidden[t], tape.cell[t], tape.hidden[t + 1],
                errors.hidden[after], errors.cell[after], errors.hidden[before], errors.cell[before],
                errors.grad_gates[t % wait], pitch, self.output_scale,
                BLOCK=self._backward.block, **self._shared, **self._backward.options,
            )  # fmt: skip
            if t % wait == 0:
                self._accumulate_weights(t, min(t + wait, steps))
        self._accumulate_head()
        return self._gradients

    def _accumulate_weights(self, first: int, last: int) -> None:
        """Add the products of ∂/∂gates and sources of the steps ``first`` … ``last`` − 1."""
        tape = self._tape
        for n in range(self._layers):
            grad_gates = self._working.grad_gates[: last - first, n]
            below = tape.features[first:last] if n == 0 else tape.hidden[first + 1 : last + 1, n - 1]
            grad_below, grad_own, grad_bias = self._gradients[3 * n : 3 * n + 3]
            grad_below += torch.bmm(grad_gates, below.mT).sum(0, dtype=torch.float32)
            grad_own += torch.bmm(grad_gates, tape.hidden[first:last, n].mT).sum(0, dtype=torch.float32)
            grad_bias += grad_gates.sum((0, 2), dtype=torch.float32)

    def _accumulate_head(self) -> None:
        grad_weight, grad_bias = self._gradients[-2:]
        grad_moves, top = self._working.grad_moves, self._tape.hidden[1:, -1]
        grad_weight += self.output_scale * torch.bmm(grad_moves.to(top.dtype)[:, None], top.mT).sum(
            0, dtype=torch.float32
        )
        grad_bias += self.output_scale * grad_moves.sum()

    def _pack(self) -> None:
        """Copy φ to where the kernels read it."""
        size = self._hidden
        for n, (below, own, bias) in enumerate(self.weights.layers):
            for part, matrix in enumerate((below, own)):
                squares, values = self._packed.squares[n], matrix.detach().view(4, size, -1)
                squares[:, part, :size, : matrix.shape[1]].copy_(values)
                squares[:, part + 2, : matrix.shape[1], :size].copy_(values.mT)
            self._packed.bias[n, :, :size].copy_(bias.detach().view(4, size))
        weight, bias = self.weights.head
        self._packed.head[:size].copy_(weight.detach().flatten())
        self._packed.head[-1:].copy_(bias.detach())

    def _allocate(self, count: int, steps: int, record: bool) -> None:
        pitch = padded(count)
        if self._units * pitch >= 2**31:
            raise ValueError(f"{count} coordinates are beyond 32-bit addresses: unroll parts of them")
        device, slots = self._packed.head.device, steps if record else 1
        rows = (self._layers, self._hidden, pitch)
        take = partial(self._arena.take, device)
        self._tape = _TritonTape(
            take("hidden", slots + 1, *rows, dtype=self.state_dtype),
            take("cell", slots + 1, *rows, dtype=self.state_dtype),
            take("features", slots, int(self.presentation.mode), pitch, dtype=self.state_dtype),
            take("moved", slots + 1, pitch),
        )
        if record:
            step = 4 * self._layers * self._hidden * pitch
            wait = max(1, min(steps, GATE_GRADIENT_BYTES // (step * self.state_dtype.itemsize)))
            self._working = _TritonGradients(
                take("grad_hidden", 2, *rows),
                take("grad_cell", 2, *rows),
                take("grad_gates", wait, self._layers, 4 * self._hidden, pitch, dtype=self.state_dtype),
                take("grad_moves", steps, pitch),
            )
        self._size = (count, steps, record)
        self._shared = {
            "LAYERS": self._layers,
            "HIDDEN": self._hidden,
            "UNITS": self._units,
            "MODE": int(self.presentation.mode),
            "PRECISION": self.precision,
            "APPROXIMATE": self.precision == "tf32" and device.type == "cuda",
        }
        from l2l_cli.kernels.gpu.coordinatewise_steps import launches

        self._forward, self._backward = launches(count, self._units, device)
