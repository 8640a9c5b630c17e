"""One step of the coordinatewise LSTM on a GPU, forward and backward: the Triton functions themselves.

Reference: ``optimizers.coordinatewise_lstm.CoordinatewiseLSTM`` under automatic differentiation.
Source: Andrychowicz et al. 2016, §2.1; the gates are those of ``LSTMCell``, in the order input, forget, cell, output.

A program owns ``BLOCK`` coordinates.  Its tiles are (units, coordinates) with coordinates last, as in memory, so that
neighbouring threads read neighbouring addresses, and every gate is a product weights · sources whose right factor
is shared by all four gates.  Units are padded to ``UNITS``, a power of two, by zero weights: a padded unit has
h = c = 0 and sends nothing back.  Rows are padded to whole blocks, with zero gradients, so that no state is masked.

Importing this imports Triton; ``kernels.gpu.coordinatewise`` does so when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from l2l_cli.kernels.weights import PITCH, Mode

IDENTITY = tl.constexpr(int(Mode.IDENTITY))
LOG_AND_SIGN = tl.constexpr(int(Mode.LOG_AND_SIGN))


def jit(function: Callable[..., Any]) -> Any:
    """Compile when first called; Triton's own decorator has no types."""
    return triton.jit(function)


@jit
def _tanh(x, APPROXIMATE: tl.constexpr):
    """Return tanh, by one instruction with a relative error of 2⁻¹¹ (that of a TF32 product), or exactly by three.

    Five exact ones per unit would take longer than fetching the state.
    """
    if APPROXIMATE:
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)


@jit
def _sigmoid(x, APPROXIMATE: tl.constexpr):
    if APPROXIMATE:
        return 0.5 * _tanh(0.5 * x, APPROXIMATE) + 0.5
    return 1.0 / (1.0 + tl.exp(-x))


@jit
def _present(gradient, VALUE: tl.constexpr, SMALL: tl.constexpr, MODE: tl.constexpr):
    """Return a gradient's two features, (BLOCK,) each, as in ``optimizers.preprocess``; the identity's are the same."""
    if MODE == IDENTITY:
        return VALUE * gradient, VALUE * gradient
    size = tl.abs(gradient)
    large = size >= SMALL
    magnitude = tl.where(large, tl.log(tl.maximum(size, SMALL)) / VALUE, -1.0)
    direction = tl.where(large, tl.where(gradient > 0.0, 1.0, -1.0), gradient / SMALL)
    return magnitude, direction


@jit
def _squares(weights, first: tl.constexpr, UNITS: tl.constexpr):
    """Fetch the squares (UNITS, UNITS) of four gates, all before the first is used, so that their transfers overlap."""
    units = tl.arange(0, UNITS)
    size: tl.constexpr = 4 * UNITS * UNITS
    at = weights + first * UNITS * UNITS + units[:, None] * UNITS + units[None, :]
    # All programs read the same weights, whereas each state is read once.
    i = tl.load(at, eviction_policy="evict_last")
    f = tl.load(at + size, eviction_policy="evict_last")
    g = tl.load(at + 2 * size, eviction_policy="evict_last")
    o = tl.load(at + 3 * size, eviction_policy="evict_last")
    return i, f, g, o


@jit
def _dot(a, b, total, PRECISION: tl.constexpr):
    """Return a · b + total, summed in float32 whatever the types of the factors."""
    if PRECISION == "ieee":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc=total, input_precision="ieee")
    return tl.dot(a, b, acc=total, input_precision=PRECISION)


@jit
def _direct(weights, bias, first, second, gate: tl.constexpr, MODE: tl.constexpr, UNITS: tl.constexpr):
    """Return what the features add to a gate of the first layer, and its bias, (UNITS, BLOCK).

    A matrix product would pad one or two sources to sixteen.
    """
    units = tl.arange(0, UNITS)
    column = weights + 4 * gate * UNITS * UNITS + units * UNITS
    total = tl.load(bias + gate * UNITS + units)[:, None] + tl.load(column).to(tl.float32)[:, None] * first[None, :]
    if MODE == LOG_AND_SIGN:
        total = total + tl.load(column + 1).to(tl.float32)[:, None] * second[None, :]
    return total


@jit
def _constant(bias, row: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the biases of a gate, (UNITS, BLOCK)."""
    return tl.zeros((UNITS, BLOCK), tl.float32) + tl.load(bias + row * UNITS + tl.arange(0, UNITS))[:, None]


@jit
def _gates(
    weights, bias, below, first, second, own, n: tl.constexpr,
    MODE: tl.constexpr, UNITS: tl.constexpr, PRECISION: tl.constexpr, APPROXIMATE: tl.constexpr,
):  # fmt: skip
    """Return i, f, g, o of layer n, (UNITS, BLOCK) each, from what is below it (or the features) and its h_{t−1}."""
    u_i, u_f, u_g, u_o = _squares(weights, 16 * n + 1, UNITS)
    if n == 0:
        i = _direct(weights, bias, first, second, 0, MODE, UNITS)
        f = _direct(weights, bias, first, second, 1, MODE, UNITS)
        g = _direct(weights, bias, first, second, 2, MODE, UNITS)
        o = _direct(weights, bias, first, second, 3, MODE, UNITS)
    else:
        w_i, w_f, w_g, w_o = _squares(weights, 16 * n, UNITS)
        i = _dot(w_i, below, _constant(bias, 4 * n, UNITS, own.shape[1]), PRECISION)
        f = _dot(w_f, below, _constant(bias, 4 * n + 1, UNITS, own.shape[1]), PRECISION)
        g = _dot(w_g, below, _constant(bias, 4 * n + 2, UNITS, own.shape[1]), PRECISION)
        o = _dot(w_o, below, _constant(bias, 4 * n + 3, UNITS, own.shape[1]), PRECISION)
    i = _sigmoid(_dot(u_i, own, i, PRECISION), APPROXIMATE)
    f = _sigmoid(_dot(u_f, own, f, PRECISION), APPROXIMATE)
    g = _tanh(_dot(u_g, own, g, PRECISION), APPROXIMATE)
    return i, f, g, _sigmoid(_dot(u_o, own, o, PRECISION), APPROXIMATE)


@jit
def forward(
    weights, bias, head, gradient, params, old_hidden, old_cell,
    hidden, cell, features, moved, count, pitch, output_scale,
    LAYERS: tl.constexpr, HIDDEN: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
    MODE: tl.constexpr, VALUE: tl.constexpr, SMALL: tl.constexpr, RECORD: tl.constexpr,
    PRECISION: tl.constexpr, APPROXIMATE: tl.constexpr,
):  # fmt: skip
    """Read h, c, ∇ and θ of ``BLOCK`` coordinates once; write the next h, c and θ, and the features if recorded."""
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    units = tl.arange(0, UNITS)
    tile = units[:, None] * pitch + columns[None, :]
    real = (units < HIDDEN)[:, None]
    layer = HIDDEN * tl.cast(pitch, tl.int64)
    inside = columns < count
    first, second = _present(tl.load(gradient + columns, mask=inside, other=0.0), VALUE, SMALL, MODE)
    kind = old_hidden.dtype.element_ty
    # From here on everything is what the backward pass will find in memory, rounded in the same way.
    first, second = first.to(kind).to(tl.float32), second.to(kind).to(tl.float32)
    if RECORD:
        tl.store(features + columns, first)
        if MODE == LOG_AND_SIGN:
            tl.store(features + pitch + columns, second)
    below = tl.zeros((UNITS, BLOCK), kind)
    next_own = tl.load(old_hidden + tile, mask=real, other=0.0)
    next_content = tl.load(old_cell + tile, mask=real, other=0.0)
    for n in tl.static_range(LAYERS):
        at = n * layer + tile
        own, content = next_own, next_content.to(tl.float32)
        if n + 1 < LAYERS:  # loads overlap with this layer's computation; after its stores they would have to wait
            next_own = tl.load(old_hidden + (at + layer), mask=real, other=0.0)
            next_content = tl.load(old_cell + (at + layer), mask=real, other=0.0)
        i, f, g, o = _gates(weights, bias, below, first, second, own, n, MODE, UNITS, PRECISION, APPROXIMATE)
        content = f * content + i * g
        below = (o * _tanh(content, APPROXIMATE)).to(kind)
        tl.store(cell + at, content, mask=real)
        tl.store(hidden + at, below, mask=real)
    move = tl.sum(tl.load(head + units)[:, None] * below.to(tl.float32), 0) + tl.load(head + UNITS)
    theta = tl.load(params + columns, mask=inside, other=0.0)
    tl.store(moved + columns, theta + output_scale * move)


@jit
def _input_gradients(weights, first: tl.constexpr, a_i, a_f, a_g, a_o, PRECISION: tl.constexpr):
    """Carry ∂/∂gates back through four squares of the weights; ``first`` is the input gate's."""
    i, f, g, o = _squares(weights, first, a_i.shape[0])
    total = _dot(i, a_i, tl.zeros(a_i.shape, tl.float32), PRECISION)
    total = _dot(f, a_f, total, PRECISION)
    total = _dot(g, a_g, total, PRECISION)
    return _dot(o, a_o, total, PRECISION)


@jit
def backward(
    weights, bias, head, grad_moves, features, old_hidden, old_cell, hidden,
    grad_hidden, grad_cell, grad_old_hidden, grad_old_cell, grad_gates, pitch, output_scale,
    LAYERS: tl.constexpr, HIDDEN: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
    MODE: tl.constexpr, PRECISION: tl.constexpr, APPROXIMATE: tl.constexpr,
):  # fmt: skip
    """Turn ∂/∂move and ∂/∂h, ∂/∂c after a step into ∂/∂gates and ∂/∂h, ∂/∂c before it; gates are recomputed."""
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    units = tl.arange(0, UNITS)
    tile = units[:, None] * pitch + columns[None, :]
    real = (units < HIDDEN)[:, None]
    layer = HIDDEN * tl.cast(pitch, tl.int64)
    kind = old_hidden.dtype.element_ty
    first = tl.load(features + columns).to(tl.float32)
    second = first
    if MODE == LOG_AND_SIGN:
        second = tl.load(features + pitch + columns).to(tl.float32)
    pulled = tl.load(head + units)[:, None] * (output_scale * tl.load(grad_moves + columns))[None, :]
    for n in tl.static_range(LAYERS - 1, -1, -1):
        at = n * layer + tile
        own = tl.load(old_hidden + at, mask=real, other=0.0)
        content = tl.load(old_cell + at, mask=real, other=0.0).to(tl.float32)
        below = own
        if n > 0:
            below = tl.load(hidden + (at - layer), mask=real, other=0.0)
        grad_h = pulled + tl.load(grad_hidden + at, mask=real, other=0.0)
        grad_c = tl.load(grad_cell + at, mask=real, other=0.0)
        i, f, g, o = _gates(weights, bias, below, first, second, own, n, MODE, UNITS, PRECISION, APPROXIMATE)
        squashed = _tanh(f * content + i * g, APPROXIMATE)
        grad_c += grad_h * o * (1.0 - squashed * squashed)
        tl.store(grad_old_cell + at, grad_c * f, mask=real)
        a_i = (grad_c * g * (i - i * i)).to(kind)
        a_f = (grad_c * content * (f - f * f)).to(kind)
        a_g = (grad_c * i * (1.0 - g * g)).to(kind)
        a_o = (grad_h * squashed * (o - o * o)).to(kind)
        row = grad_gates + 4 * n * layer + tile
        tl.store(row, a_i, mask=real)
        tl.store(row + layer, a_f, mask=real)
        tl.store(row + 2 * layer, a_g, mask=real)
        tl.store(row + 3 * layer, a_o, mask=real)
        tl.store(grad_old_hidden + at, _input_gradients(weights, 16 * n + 3, a_i, a_f, a_g, a_o, PRECISION), mask=real)
        if n > 0:
            pulled = _input_gradients(weights, 16 * n + 2, a_i, a_f, a_g, a_o, PRECISION)


class Launch(NamedTuple):
    """The number of coordinates per program, and its options for Triton, such as warps and registers per thread."""

    block: int
    options: dict[str, int]

    def grid(self, count: int) -> tuple[int]:
        """Return the number of programs for C coordinates."""
        return (-(-count // self.block),)


def launches(count: int, units: int, device: torch.device) -> tuple[Launch, Launch]:
    """Return the forward and the backward kernel's launches: large ones share their weights among more coordinates.

    Chosen from ptxas' reports for sm_90 at 32 padded units: no spill matters, and with 128 registers two programs of
    eight warps are resident, so that the arithmetic of one hides the loads of the other.
    """
    if device.type != "cuda":
        return Launch(32, {}), Launch(32, {})
    fused = {"enable_fp_fusion": True}  # multiply and add in one instruction; Triton 3.10 will do so only on request
    if units > 32:
        return Launch(32, {"num_warps": 4, **fused}), Launch(32, {"num_warps": 8, **fused})
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    block = next((block for block in (PITCH, 64, 32) if count >= block * processors), 16)
    large, small = {"num_warps": 8, "maxnreg": 128, **fused}, {"num_warps": 4, **fused}
    return Launch(block, large if block == PITCH else small), Launch(min(block, 64), large if block >= 64 else small)
