"""The exact diagonal of the generalised Gauss-Newton matrix, layer by layer."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from l2l_cli.autodiff.layer_traces import LayerTrace
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Params
from l2l_cli.models.point import Point
from l2l_cli.optimizers.factors import patches_of, positions_last


class Diagonal(NamedTuple):
    """The diagonal, shaped as the parameters, and the number of backward passes that it took."""

    values: Params
    passes: int


def ggn_diagonal(point: Point) -> Diagonal:
    """Return the diagonal of each episode's generalised Gauss-Newton matrix, exact up to rounding.

    With R·Rᵀ the loss's curvature in one example's outputs, the diagonal is the sum, over examples and columns of R, of
    the squared gradients of that column's product with the outputs.  It takes one backward pass for each output of an
    example (ten for ten classes), and for a layer with T positions, as a convolution is, each example's own gradient.
    No meta-gradient flows through it.

    Raises:
        UsageError: The network mixes examples, as a batch normalisation does, or has other layers than these.
    """
    diagonal: Params = {}
    layers = point.layers(generator(0), "exact")  # the signs of the vectors make no difference
    for name, layer in layers.items():
        prefix = f"{name}." if name else ""
        inputs, gradients = _positions(name, layer)
        squares = _squared(inputs, gradients)
        own = {"weight": squares.reshape(len(squares), *layer.module.get_parameter("weight").shape)}
        own["bias"] = gradients.sum(-1).square().sum((0, 2))
        diagonal |= {f"{prefix}{key}": value for key, value in own.items() if f"{prefix}{key}" in point.params}
    if missing := sorted(point.params.keys() - diagonal.keys() - point.unreached):
        raise UsageError(_cannot(f"{missing[0]}, whose module is never called"))
    diagonal |= {name: point.params[name].detach() * 0.0 for name in point.params.keys() - diagonal.keys()}
    passes = len(next(iter(layers.values())).gradients) if layers else 0
    return Diagonal({name: diagonal[name] for name in point.params}, passes)


def _positions(name: str, layer: LayerTrace) -> tuple[Tensor, Tensor]:
    """Return a layer's inputs, (E, N, D, T), and its gradients, (K, E, N, out, T)."""
    match layer.module:
        case nn.Linear():
            return positions_last(layer.inputs, 2), positions_last(layer.gradients, 3)
        case nn.Conv2d(groups=1, padding_mode="zeros") as convolution:
            return patches_of(convolution, layer.inputs), layer.gradients.flatten(4)
    raise UsageError(_cannot(f"{name or 'the network itself'} ({type(layer.module).__name__})"))


def _squared(inputs: Tensor, gradients: Tensor) -> Tensor:
    """Return the sum over examples and vectors of the squared gradients of a weight, (E, out, D)."""
    if inputs.shape[-1] == 1:  # the square of a product of two numbers is that of their squares
        squares = gradients[..., 0].square().sum(0)  # (E, N, out)
        return squares.mT @ inputs[..., 0].square()
    total = inputs.new_zeros(())
    for vector in gradients:
        total = total + (vector @ inputs.mT).square().sum(1)
    return total


def _cannot(what: str) -> str:
    return (
        "the true diagonal is known of networks of Linear and Conv2d, in one group with zero padding, which do not mix "
        f"examples; not of {what}; use preconditioner=jacobi, or another task"
    )
