"""The diagonal of the generalised Gauss-Newton matrix: exact, or estimated from random signs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from l2l_cli.autodiff.layer_traces import LayerTrace, Untraceable
from l2l_cli.core.random import generator
from l2l_cli.core.types import Params
from l2l_cli.models.point import Point
from l2l_cli.optimizers.factors import patches_of, positions_last

PROBES = 32
"""Number of random-sign vectors that an estimate averages over; its relative error is at most √(2 / 32), a quarter."""


class Diagonal(NamedTuple):
    """The diagonal, shaped as the parameters, and the number of backward passes that it took."""

    values: Params
    passes: int


def ggn_diagonal(point: Point) -> Diagonal:
    """Return the diagonal of each episode's generalised Gauss-Newton matrix, exact up to rounding.

    With R·Rᵀ the loss's Hessian in one example's outputs, the diagonal is the sum, over examples and columns of R, of
    the squared gradients of that column's product with the outputs.  A network of Linear and Conv2d layers (in one
    group, with zero padding) that does not mix examples takes one backward pass for each output of an example, so ten
    for ten classes, and one more to check that it does not mix them.  All others, such as those with batch
    normalisation, take one for each output of *each example*.  No meta-gradient flows through it.
    """
    found, spent = _by_layers(point)
    if found is None:
        found = _by_examples(point)
        spent += found.passes
    return found._replace(passes=spent)


def estimated_diagonal(point: Point, rng: Generator) -> Diagonal:
    """Return an unbiased estimate of the diagonal, for any network, in ``PROBES`` backward passes.

    It is the mean of (Jᵀ·R·s)² over vectors s of random signs, one for each column of R and each example.

    Source: Martens, Sutskever and Swersky 2012, §4 (curvature propagation).
    """
    values = _zeros(point)
    for _ in range(PROBES):
        (vector,) = point.output_vectors(rng, "sampled")
        _add_squares(values, point, vector)
    return Diagonal({name: value / PROBES for name, value in values.items()}, PROBES)


def _by_examples(point: Point) -> Diagonal:
    vectors, values = point.output_vectors(generator(0), "exact"), _zeros(point)
    for vector in vectors:
        for example in range(vector.shape[1]):
            alone = torch.zeros_like(vector)
            alone[:, example] = vector[:, example]
            _add_squares(values, point, alone)
    return Diagonal(values, vectors.shape[0] * vectors.shape[2])


def _zeros(point: Point) -> Params:
    return {name: torch.zeros_like(value, requires_grad=False) for name, value in point.params.items()}


def _add_squares(values: Params, point: Point, vector: Tensor) -> None:
    """Add the squares of a vector that is back-propagated from the outputs, (E, N, ...), to the parameters."""
    for name, gradient in point.linear.pull(vector).items():
        values[name].addcmul_(gradient, gradient)


def _by_layers(point: Point) -> tuple[Diagonal | None, int]:
    """Return the diagonal by few passes, or None if the layers do not allow it, and the number of passes taken."""
    try:
        if point.mixes_examples:
            return None, 1
        layers = point.layers(generator(0), "exact")  # the signs of the vectors make no difference
    except Untraceable:
        return None, 0
    passes = 1 + (len(next(iter(layers.values())).gradients) if layers else 0)
    diagonal: Params = {}
    for name, layer in layers.items():
        positions = _positions(layer)
        if positions is None:
            return None, passes
        (inputs, gradients), module, prefix = positions, layer.module, f"{name}." if name else ""
        squares = _squared(inputs, gradients)
        own = {"weight": squares.reshape(len(squares), *module.get_parameter("weight").shape)}
        own["bias"] = gradients.sum(-1).square().sum((0, 2))
        diagonal |= {f"{prefix}{key}": value for key, value in own.items() if f"{prefix}{key}" in point.params}
    if point.params.keys() - diagonal.keys() - point.unreached:  # of modules that are never called
        return None, passes
    return Diagonal(_zeros(point) | diagonal, passes), passes


def _positions(layer: LayerTrace) -> tuple[Tensor, Tensor] | None:
    """Return a layer's inputs, (E, N, D, T), and its gradients, (K, E, N, out, T); None for other layers."""
    match layer.module:
        case nn.Linear():
            return positions_last(layer.inputs, 2), positions_last(layer.gradients, 3)
        case nn.Conv2d(groups=1, padding_mode="zeros") as convolution:
            return patches_of(convolution, layer.inputs), layer.gradients.flatten(4)
    return None


def _squared(inputs: Tensor, gradients: Tensor) -> Tensor:
    """Return the sum over examples and vectors of the squared gradients of a weight, (E, out, D)."""
    if inputs.shape[-1] == 1:  # the square of a product is the product of the squares
        squares = gradients[..., 0].square().sum(0)  # (E, N, out)
        return squares.mT @ inputs[..., 0].square()
    total = inputs.new_zeros(())
    for vector in gradients:
        total = total + (vector @ inputs.mT).square().sum(1)
    return total
