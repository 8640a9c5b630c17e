"""What lies between the products of ``kernels.weights_in_cell``: gates, the cell, and the model that it holds.

A row holds one number of all data sets.  With a model of D inputs and H hidden units, the rows of θ are its H · D
hidden weights, H hidden biases, H output weights and its output bias; those of u are x, I·y, ŷ, I, if it has them
those of the next x, and 1.
"""

from __future__ import annotations

from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.functions import at_least, sigmoid, tanh, where_positive
from l2l_cli.kernels.simd.registers import WIDTH, Array, fma, load, pointer, splat, store

Part = tuple[int, ...]
"""As many zeros as registers that are taken at once."""


@kernel
def inputs_of(weights: Array, hidden: Array) -> int:
    """Return the model's number D of inputs."""
    return int((weights.shape[1] - 1) // hidden.shape[1] - 2)


@kernel
def advance(features: Array, gates: Array, weights: Array, hidden: Array, t: int, frozen: bool, part: Part) -> None:
    """Move θ_t by the gates of step t, which are squashed in place, and answer step t + 1; t = −1 only answers."""
    if t >= 0:
        _move(features, gates, weights, hidden, t, frozen, part)
    if t + 1 < features.shape[0]:
        _answer(features, weights, hidden, t + 1, part)


@kernel
def _move(features: Array, gates: Array, weights: Array, hidden: Array, t: int, frozen: bool, part: Part) -> None:
    size, lanes = weights.shape[1:]
    flag = pointer(features, (t * features.shape[1] + inputs_of(weights, hidden) + 2) * lanes)
    table, old = pointer(gates, t * 3 * size * lanes), pointer(weights, t * size * lanes)
    new = pointer(weights, (t + 1) * size * lanes)
    for p in range(size):
        for q in range(0, lanes, WIDTH * len(part)):
            at = p * lanes + q
            f = sigmoid(load(table, at, part, 1))
            i = sigmoid(load(table, at + size * lanes, part, 1))
            c = tanh(load(table, at + 2 * size * lanes, part, 1))
            store(table, at, f, 1)
            store(table, at + size * lanes, i, 1)
            store(table, at + 2 * size * lanes, c, 1)
            before = load(old, at, part, 1)
            after = fma(f, before, i * c)
            if frozen:
                after = fma(load(flag, q, part, 1), after - before, before)
            store(new, at, after, 1)


@kernel
def _answer(features: Array, weights: Array, hidden: Array, t: int, part: Part) -> None:
    """Answer x_t with θ_t; keep ŷ_t and the hidden activations."""
    size, lanes = weights.shape[1:]
    count, width = hidden.shape[1], inputs_of(weights, hidden)
    x = pointer(features, t * features.shape[1] * lanes)
    theta, kept = pointer(weights, t * size * lanes), pointer(hidden, t * count * lanes)
    bias, out = count * width * lanes, count * (width + 1) * lanes
    for q in range(0, lanes, WIDTH * len(part)):
        answer = load(theta, out + count * lanes + q, part, 1)
        for j in range(count):
            z = load(theta, bias + j * lanes + q, part, 1)
            for k in range(width):
                z = fma(load(theta, (j * width + k) * lanes + q, part, 1), load(x, k * lanes + q, part, 1), z)
            a = at_least(z, splat(0.0, z))
            store(kept, j * lanes + q, a, 1)
            answer = fma(load(theta, out + j * lanes + q, part, 1), a, answer)
        store(x, (width + 1) * lanes + q, sigmoid(answer), 1)


@kernel
def retreat(
    features: Array,
    gates: Array,
    weights: Array,
    hidden: Array,
    of_features: Array,
    of_weights: Array,
    of_answers: Array,
    t: int,
    frozen: bool,
    part: Part,
) -> None:
    """Carry ∂/∂θ through the answer of step t, then through the move of step t − 1.

    Args:
        features: See ``Tape``, as for the next three.
        gates: Those of step t − 1 become ∂/∂(what is squashed).
        weights: θ.
        hidden: The model's.
        of_features: ∂/∂u_t by way of the learner, shaped as a step of ``features``.
        of_weights: ∂/∂θ_t, then ∂/∂θ_{t−1}, by way of what came later, (P, E).
        of_answers: ∂/∂ŷ by way of the losses, (T, E).
        t: T only carries through the last move.
        frozen: Whether weights stay where targets are hidden.
        part: Registers at once.
    """
    if t < features.shape[0]:
        _pull(features, weights, hidden, of_features, of_weights, of_answers, t, part)
    if t > 0:
        _slopes(features, gates, weights, hidden, of_weights, t - 1, frozen, part)


@kernel
def _slopes(
    features: Array, gates: Array, weights: Array, hidden: Array, of_weights: Array, t: int, frozen: bool, part: Part
) -> None:
    size, lanes = weights.shape[1:]
    flag = pointer(features, (t * features.shape[1] + inputs_of(weights, hidden) + 2) * lanes)
    table, old, errors = (
        pointer(gates, t * 3 * size * lanes),
        pointer(weights, t * size * lanes),
        pointer(of_weights, 0),
    )
    for p in range(size):
        for q in range(0, lanes, WIDTH * len(part)):
            at = p * lanes + q
            f, i = load(table, at, part, 1), load(table, at + size * lanes, part, 1)
            c = load(table, at + 2 * size * lanes, part, 1)
            error = load(errors, at, part, 1)
            moved = error
            if frozen:
                moved = error * load(flag, q, part, 1)
            of_f, of_i = moved * load(old, at, part, 1), moved * c
            store(table, at, of_f * (f * (1.0 - f)), 1)
            store(table, at + size * lanes, of_i * (i * (1.0 - i)), 1)
            store(table, at + 2 * size * lanes, moved * i * (1.0 - c * c), 1)
            store(errors, at, fma(moved, f, error - moved), 1)


@kernel
def _pull(
    features: Array,
    weights: Array,
    hidden: Array,
    of_features: Array,
    of_weights: Array,
    of_answers: Array,
    t: int,
    part: Part,
) -> None:
    """Add to ∂/∂θ_t what comes by way of ŷ_t: from the losses and from the learner that reads it."""
    size, lanes = weights.shape[1:]
    count, width = hidden.shape[1], inputs_of(weights, hidden)
    x = pointer(features, t * features.shape[1] * lanes)
    theta, kept, errors = pointer(weights, t * size * lanes), pointer(hidden, t * count * lanes), pointer(of_weights, 0)
    asked, read = pointer(of_answers, t * lanes), pointer(of_features, (width + 1) * lanes)
    bias, out = count * width * lanes, count * (width + 1) * lanes
    for q in range(0, lanes, WIDTH * len(part)):
        answer = load(x, (width + 1) * lanes + q, part, 1)
        error = (load(asked, q, part, 1) + load(read, q, part, 1)) * (answer * (1.0 - answer))
        _add(errors, out + count * lanes + q, error, part)
        for j in range(count):
            a = load(kept, j * lanes + q, part, 1)
            _add(errors, out + j * lanes + q, error * a, part)
            inner = where_positive(a, error * load(theta, out + j * lanes + q, part, 1))
            _add(errors, bias + j * lanes + q, inner, part)
            for k in range(width):
                _add(errors, (j * width + k) * lanes + q, inner * load(x, k * lanes + q, part, 1), part)


@kernel
def _add(sink, at: int, value, part: Part) -> None:  # type: ignore[no-untyped-def]
    """Add a register to numbers."""
    store(sink, at, load(sink, at, part, 1) + value, 1)


@kernel
def mask(errors: Array, activations: Array, t: int, part: Part) -> None:
    """Set errors (n, E) to zero where the ReLU units of step t were at rest; activations are (T, n, E)."""
    rows, lanes = errors.shape
    table, kept = pointer(errors, 0), pointer(activations, t * rows * lanes)
    for at in range(0, rows * lanes, WIDTH * len(part)):
        store(table, at, where_positive(load(kept, at, part, 1), load(table, at, part, 1)), 1)
