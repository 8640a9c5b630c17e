"""The operations between the products of ``kernels.weights_in_cell``: gates, the cell, and the model that it holds.

A row holds one number for each data set.  With a model of D inputs and H hidden units, the rows of θ are its H · D
hidden weights, H hidden biases, H output weights and its output bias; those of u are x, I·y, ŷ, I, the next x if
it is read, and 1.
"""

from __future__ import annotations

from typing import NamedTuple

from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import at_least, sigmoid, tanh, where_positive
from l2l_cli.kernels.simd.registers import WIDTH, Array, Registers, fma, load, pointer, splat, store


class CellTape(NamedTuple):
    """The inputs and activations of T steps on E data sets; E is padded to whole registers.

    Attributes:
        features: u_t, (T, D + 4, E), or (T, 2D + 4, E) with the next x in it; the last row is 1.
        gates: f, i and c̃, (T, 3P, E); after the backward pass, ∂objective/∂(their pre-activations).
        weights: θ before each step and after the last, (T + 1, P, E).
        hidden: Activations of the model's hidden layer, (T, H, E).
    """

    features: Array
    gates: Array
    weights: Array
    hidden: Array


class CellErrors(NamedTuple):
    """Gradients that the backward pass carries from step to step, and those that come from the losses.

    Attributes:
        features: ∂/∂u_t through the learner, shaped like a step of ``CellTape.features``.
        weights: ∂/∂θ_t, then ∂/∂θ_{t−1}, through the later steps, (P, E).
        answers: ∂/∂ŷ through the losses, (T, E).
    """

    features: Array
    weights: Array
    answers: Array


@kernel
def inputs_of(tape: CellTape) -> int:
    """Return the model's number D of inputs."""
    return int((tape.weights.shape[1] - 1) // tape.hidden.shape[1] - 2)


@kernel
def forward_step(tape: CellTape, t: int, frozen: bool, registers: Registers) -> None:
    """Move θ_t by the gates of step t, which are squashed in place, and answer step t + 1; t = −1 only answers."""
    if t >= 0:
        _move(tape, t, frozen, registers)
    if t + 1 < tape.features.shape[0]:
        _answer(tape, t + 1, registers)


@kernel
def _move(tape: CellTape, t: int, frozen: bool, registers: Registers) -> None:
    features, gates, weights, _ = tape
    size, lanes = weights.shape[1:]
    flag = pointer(features, (t * features.shape[1] + inputs_of(tape) + 2) * lanes)
    table, old = pointer(gates, t * 3 * size * lanes), pointer(weights, t * size * lanes)
    new = pointer(weights, (t + 1) * size * lanes)
    for p in range(size):
        for q in range(0, lanes, WIDTH * len(registers)):
            at = p * lanes + q
            f = sigmoid(load(table, at, registers, 1))
            i = sigmoid(load(table, at + size * lanes, registers, 1))
            c = tanh(load(table, at + 2 * size * lanes, registers, 1))
            store(table, at, f, 1)
            store(table, at + size * lanes, i, 1)
            store(table, at + 2 * size * lanes, c, 1)
            before = load(old, at, registers, 1)
            after = fma(f, before, i * c)
            if frozen:
                after = fma(load(flag, q, registers, 1), after - before, before)
            store(new, at, after, 1)


@kernel
def _answer(tape: CellTape, t: int, registers: Registers) -> None:
    """Answer x_t with θ_t; keep ŷ_t and the hidden activations."""
    features, _, weights, hidden = tape
    size, lanes = weights.shape[1:]
    count, width = hidden.shape[1], inputs_of(tape)
    x = pointer(features, t * features.shape[1] * lanes)
    theta, kept = pointer(weights, t * size * lanes), pointer(hidden, t * count * lanes)
    bias, out = count * width * lanes, count * (width + 1) * lanes
    for q in range(0, lanes, WIDTH * len(registers)):
        answer = load(theta, out + count * lanes + q, registers, 1)
        for j in range(count):
            z = load(theta, bias + j * lanes + q, registers, 1)
            for k in range(width):
                z = fma(load(theta, (j * width + k) * lanes + q, registers, 1), load(x, k * lanes + q, registers, 1), z)
            a = at_least(z, splat(0.0, z))
            store(kept, j * lanes + q, a, 1)
            answer = fma(load(theta, out + j * lanes + q, registers, 1), a, answer)
        store(x, (width + 1) * lanes + q, sigmoid(answer), 1)


@kernel
def backward_step(tape: CellTape, errors: CellErrors, t: int, frozen: bool, registers: Registers) -> None:
    """Carry ∂/∂θ through the answer of step t, unless t = T, then through the move of step t − 1."""
    if t < tape.features.shape[0]:
        _model_gradients(tape, errors, t, registers)
    if t > 0:
        _gate_gradients(tape, errors.weights, t - 1, frozen, registers)


@kernel
def _gate_gradients(tape: CellTape, grad_weights: Array, t: int, frozen: bool, registers: Registers) -> None:
    features, gates, weights, _ = tape
    size, lanes = weights.shape[1:]
    flag = pointer(features, (t * features.shape[1] + inputs_of(tape) + 2) * lanes)
    table, old = pointer(gates, t * 3 * size * lanes), pointer(weights, t * size * lanes)
    errors = pointer(grad_weights, 0)
    for p in range(size):
        for q in range(0, lanes, WIDTH * len(registers)):
            at = p * lanes + q
            f, i = load(table, at, registers, 1), load(table, at + size * lanes, registers, 1)
            c = load(table, at + 2 * size * lanes, registers, 1)
            error = load(errors, at, registers, 1)
            moved = error
            if frozen:
                moved = error * load(flag, q, registers, 1)
            grad_f, grad_i = moved * load(old, at, registers, 1), moved * c
            store(table, at, grad_f * (f * (1.0 - f)), 1)
            store(table, at + size * lanes, grad_i * (i * (1.0 - i)), 1)
            store(table, at + 2 * size * lanes, moved * i * (1.0 - c * c), 1)
            store(errors, at, fma(moved, f, error - moved), 1)


@kernel
def _model_gradients(tape: CellTape, carried: CellErrors, t: int, registers: Registers) -> None:
    """Add to ∂/∂θ_t what comes through ŷ_t: from the losses and from the learner that reads it."""
    features, _, weights, hidden = tape
    size, lanes = weights.shape[1:]
    count, width = hidden.shape[1], inputs_of(tape)
    x = pointer(features, t * features.shape[1] * lanes)
    theta, kept, errors = (
        pointer(weights, t * size * lanes),
        pointer(hidden, t * count * lanes),
        pointer(carried.weights, 0),
    )
    given, read = pointer(carried.answers, t * lanes), pointer(carried.features, (width + 1) * lanes)
    bias, out = count * width * lanes, count * (width + 1) * lanes
    for q in range(0, lanes, WIDTH * len(registers)):
        answer = load(x, (width + 1) * lanes + q, registers, 1)
        error = (load(given, q, registers, 1) + load(read, q, registers, 1)) * (answer * (1.0 - answer))
        _add(errors, out + count * lanes + q, error, registers)
        for j in range(count):
            a = load(kept, j * lanes + q, registers, 1)
            _add(errors, out + j * lanes + q, error * a, registers)
            inner = where_positive(a, error * load(theta, out + j * lanes + q, registers, 1))
            _add(errors, bias + j * lanes + q, inner, registers)
            for k in range(width):
                _add(errors, (j * width + k) * lanes + q, inner * load(x, k * lanes + q, registers, 1), registers)


@kernel
def _add(sink, at: int, value, registers: Registers) -> None:  # type: ignore[no-untyped-def]
    """Add a register to numbers in memory."""
    store(sink, at, load(sink, at, registers, 1) + value, 1)


@kernel
def mask_inactive(errors: Array, activations: Array, t: int, registers: Registers) -> None:
    """Set errors (n, E) to zero where the ReLU units of step t were inactive; activations are (T, n, E)."""
    rows, lanes = errors.shape
    table, kept = pointer(errors, 0), pointer(activations, t * rows * lanes)
    for at in range(0, rows * lanes, WIDTH * len(registers)):
        store(table, at, where_positive(load(kept, at, registers, 1), load(table, at, registers, 1)), 1)
