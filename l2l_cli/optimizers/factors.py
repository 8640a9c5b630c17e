"""A network's curvature as one Kronecker product per layer: second moments, their running means and their inverses."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_cli.autodiff.layer_traces import LayerTrace
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import per_episode
from l2l_cli.models.convnet import BatchNorm

NUMBERS = {"cpu": 1 << 19, "cuda": 1 << 28}
"""How many numbers of a convolution's patches are in memory at once: a CPU's cache full, or a gigabyte on a GPU."""


class Factors(NamedTuple):
    """Curvature, or its inverse, by blocks: A ⊗ G for each module with a weight (out, in, ...), a diagonal elsewhere.

    Attributes:
        inputs: Factors A, (E, D, D), by the module's name; D counts the weights of one output and, last, its bias.
        outputs: Factors G, (E, out, out), by the module's name.
        diagonal: Diagonals for all other parameters, by name, shaped as the parameters.
    """

    inputs: Params
    outputs: Params
    diagonal: Params


def blank(params: Params) -> Factors:
    """Return zeros for parameters (E, ...) of these names and shapes."""
    inputs, outputs = {}, {}
    for name, value in params.items():
        if name.rpartition(".")[2] == "weight" and value.dim() > 2:
            owner, (episodes, width) = _owner(name), value.shape[:2]
            given = value[0, 0].numel() + (_join(owner, "bias") in params)
            inputs[owner] = value.new_zeros(episodes, given, given)
            outputs[owner] = value.new_zeros(episodes, width, width)
    diagonal = {name: value.new_zeros(value.shape) for name, value in params.items() if _owner(name) not in inputs}
    return Factors(inputs, outputs, diagonal)


def measure(layers: Mapping[str, LayerTrace], params: Params, unreached: Collection[str] = ()) -> Factors:
    """Return the factors of one batch.

    Linear layers have A = mean of a·aᵀ and G = sum of g·gᵀ over examples (Martens and Grosse 2015, §3); the vectors g
    include the factor 1/N of the mean.  Where a layer is applied at T positions of an example, as a convolution is, A
    sums over the positions and G averages over them (Grosse and Martens 2016, §3).  The diagonal for batch
    normalisation is the sum of the squares of each example's own derivative.

    Args:
        layers: Layer traces, as ``Point.layers`` returns them.
        params: Parameters (E, ...) that the factors must cover; others, such as frozen ones, have none.
        unreached: Names of parameters that the loss does not depend on, which have no curvature.

    Raises:
        UsageError: A module has another type, its weight but not its bias is frozen, or a parameter belongs to no
            module that was called.
    """
    factors = Factors({}, {}, {})
    for name in layers:
        if _join(name, "weight") not in params and _join(name, "bias") in params:
            raise UsageError(_cannot(f"{_join(name, 'bias')} without the weight beside it, which is frozen"))
    for name, layer in layers.items():
        bias = _join(name, "bias") in params
        match layer.module:
            case nn.Linear():
                factors.inputs[name] = _second_moment(positions_last(layer.inputs, 2), bias)
                factors.outputs[name] = _gradient_moment(positions_last(layer.gradients, 3))
            case nn.Conv2d(groups=1, padding_mode="zeros") as convolution:
                factors.inputs[name] = _patches_moment(convolution, layer.inputs, bias)
                factors.outputs[name] = _gradient_moment(layer.gradients.flatten(4))
            case BatchNorm() as normalisation:
                diagonal = _affine(name, normalisation, layer)
                factors.diagonal.update({key: value for key, value in diagonal.items() if key in params})
            case module:
                raise UsageError(_cannot(f"{name or 'the network itself'} ({type(module).__name__})"))
    left = [name for name in params if _owner(name) not in factors.inputs and name not in factors.diagonal]
    for name in left:
        if name not in unreached:
            raise UsageError(_cannot(f"{name}, whose module is never called"))
    flat = blank({name: params[name] for name in left})
    return Factors(*({**found, **zeros} for found, zeros in zip(factors, flat, strict=True)))


def _cannot(what: str) -> str:
    return (
        f"kfac cannot factor the curvature of {what}; it knows Linear, Conv2d in one group with zero padding, and this "
        "project's BatchNorm; use hessian_free or a first-order rule, or another task"
    )


def averaged(old: Factors, new: Factors, share: Tensor) -> Factors:
    """Return old + share · (new − old) with a share (E,) for each episode."""
    pairs = zip(old, new, strict=True)
    return Factors(
        *(
            {name: a + per_episode(share, a) * (after[name] - a) for name, a in before.items()}
            for before, after in pairs
        )
    )


def inverted(factors: Factors, damping: float) -> Factors:
    """Return (A + π·√λ·I)⁻¹, (G + √λ/π·I)⁻¹ and 1 / (diagonal + λ); a factor without an inverse becomes NaN.

    π² is the ratio of A's mean eigenvalue to G's, so that the damping is equally large relative to both.

    Source: Martens and Grosse 2015, §6.3 (factored Tikhonov damping, π by traces).
    """
    inputs, outputs = {}, {}
    for name, a in factors.inputs.items():
        g = factors.outputs[name]
        ratio = _mean_eigenvalue(a) / _mean_eigenvalue(g)
        # If either factor is zero, the ratio is meaningless.
        balance = torch.where((ratio > 0) & ratio.isfinite(), ratio, 1.0).sqrt()
        inputs[name] = _inverse(a, math.sqrt(damping) * balance)
        outputs[name] = _inverse(g, math.sqrt(damping) / balance)
    return Factors(inputs, outputs, {name: 1.0 / (value + damping) for name, value in factors.diagonal.items()})


def times(factors: Factors, vectors: Params) -> Params:
    """Return the product of the blocks with vectors that are shaped as the parameters."""
    result = {name: factors.diagonal[name] * vectors[name] for name in factors.diagonal}
    for name, a in factors.inputs.items():
        weight, bias = vectors[_join(name, "weight")], vectors.get(_join(name, "bias"))
        rows = weight.flatten(2) if bias is None else torch.cat([weight.flatten(2), bias[..., None]], 2)
        product = factors.outputs[name] @ rows @ a
        result[_join(name, "weight")] = product[..., : weight[0, 0].numel()].reshape(weight.shape)
        if bias is not None:
            result[_join(name, "bias")] = product[..., -1]
    return {name: result[name] for name in vectors}


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _join(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name


def positions_last(values: Tensor, axes: int) -> Tensor:
    """Return (..., T, width), or (..., width), as (..., width, T), after ``axes`` leading axes."""
    return values.reshape(*values.shape[:axes], -1, values.shape[-1]).mT


def _second_moment(values: Tensor, bias: bool) -> Tensor:
    """Return the mean over examples of Σ_t a_t·a_tᵀ, (E, D, D), of values (E, N, in, T); with a bias, a ends in 1."""
    examples, positions = values.shape[1], values.shape[3]
    rows = values.transpose(1, 2).flatten(2)
    moment = rows @ rows.mT / examples
    if not bias:
        return moment
    sums = rows.sum(-1, keepdim=True) / examples
    corner = sums.new_full((len(sums), 1, 1), positions)
    return torch.cat([torch.cat([moment, sums], 2), torch.cat([sums.mT, corner], 2)], 1)


def patches_of(module: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Return the patches of inputs (E, N, C, H, W) that a convolution sees, (E, N, D, T) with T positions."""
    # torch's own form of the padding, whether it was given as numbers or as "same".
    images = functional.pad(inputs.flatten(0, 1), module._reversed_padding_repeated_twice)
    patches = functional.unfold(images, module.kernel_size, module.dilation, 0, module.stride)
    return patches.view(*inputs.shape[:2], *patches.shape[1:])


def _patches_moment(module: nn.Conv2d, inputs: Tensor, bias: bool) -> Tensor:
    """Return ``_second_moment`` of the patches of inputs (E, N, C, H, W), computed a few examples at a time."""
    examples = inputs.shape[1]
    # A pixel is in as many patches as a window has pixels, if the stride is 1.
    numbers = inputs[:, 0].numel() * math.prod(module.kernel_size)
    at_once = max(1, NUMBERS.get(inputs.device.type, NUMBERS["cuda"]) // numbers)
    total = inputs.new_zeros(())
    for part in torch.split(inputs, at_once, 1):
        moment = _second_moment(patches_of(module, part), bias)
        total = total + part.shape[1] / examples * moment
    return total


def _gradient_moment(gradients: Tensor) -> Tensor:
    """Return Σ g·gᵀ over vectors and examples, averaged over positions, (E, out, out), of g in (K, E, N, out, T)."""
    rows = gradients.permute(1, 3, 0, 2, 4).flatten(2)
    return rows @ rows.mT / gradients.shape[-1]


def _affine(name: str, module: BatchNorm, layer: LayerTrace) -> Params:
    """Return the diagonal for a normalisation's offset and, if it has one, its scale."""
    gradients = layer.gradients.unsqueeze(-1).flatten(4)  # (K, E, N, channels, positions)
    diagonal = {_join(name, "offset"): gradients.sum(-1).square().sum((0, 2))}
    if module.scale is not None:
        values = layer.inputs.unsqueeze(-1).flatten(3)
        variance, mean = torch.var_mean(values, (1, 3), correction=0, keepdim=True)
        normal = (values - mean) / (variance + module.epsilon).sqrt()
        diagonal[_join(name, "scale")] = (gradients * normal).sum(-1).square().sum((0, 2))
    return diagonal


def _mean_eigenvalue(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=1, dim2=2).mean(1)


def _inverse(matrix: Tensor, damping: Tensor) -> Tensor:
    """Return (M + damping·I)⁻¹ for matrices (E, D, D) and damping (E,)."""
    identity = torch.eye(matrix.shape[-1]).to(matrix)
    root, failed = torch.linalg.cholesky_ex(matrix + per_episode(damping, matrix) * identity)
    return torch.where(per_episode(failed, matrix) > 0, torch.nan, torch.cholesky_inverse(root))
