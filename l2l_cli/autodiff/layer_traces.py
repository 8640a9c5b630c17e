"""Layer inputs and back-propagated curvature vectors, as K-FAC needs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from l2l_cli.autodiff.pure import NONE, Habits, pure
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import integers
from l2l_cli.core.types import Params

Fisher = Literal["sampled", "exact", "empirical"]
"""The ways to draw curvature vectors; see ``curvature_vectors``."""

OutputCurvature = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(outputs, targets, u (E, N, ...) each) -> the loss's Hessian with respect to the outputs, times u, (E, N, ...)."""


class Untraceable(UsageError):
    """A network has a layer whose parameters are not applied to exactly one input in a forward pass."""


class LayerTrace(NamedTuple):
    """A module, its inputs, (E, N, ...), and K vectors back-propagated to its outputs, (K, E, N, ...)."""

    module: nn.Module
    inputs: Tensor
    gradients: Tensor


class ObservedPass(NamedTuple):
    """A forward pass: its outputs, and the inputs and outputs of each module that owns given parameters, by name."""

    outputs: Tensor
    layer_inputs: Params
    layer_outputs: Params


def observe(module: nn.Module, params: Params, inputs: Tensor, shifts: Params, habits: Habits = NONE) -> ObservedPass:
    """Compute the outputs (N, ...) of one episode, and keep the inputs and outputs of its layers.

    Args:
        module: The network.
        params: Parameters of the network, or those that are fitted, without an episode axis.
        inputs: Inputs of the network, (N, ...).
        shifts: Zeros that are added to each layer's outputs, by name, so that a derivative with respect to them is one
            with respect to the pre-activations; if empty, nothing is added.
        habits: Habits of the network when it is called.

    Raises:
        Untraceable: A module with such parameters is called twice in a pass, or shares them with another module, so
            that no single input belongs to them; or it does not map a tensor to a tensor.
    """

    def shifted(name: str, result: Tensor) -> Tensor:
        return result + shifts[name] if shifts else result

    return observed(module, params, lambda: pure(module, habits)(params, inputs), shifted)


def observed(
    module: nn.Module, params: Params, call: Callable[[], Tensor], shifted: Callable[[str, Tensor], Tensor]
) -> ObservedPass:
    """Run a function that calls a network, and keep the inputs and outputs of the network's layers; see ``observe``.

    Args:
        module: The network.
        params: Parameters of the network, or those that are fitted.
        call: Function that calls the network and returns the outputs.
        shifted: Function of a layer's name and outputs that returns what the layer passes on.
    """
    layer_inputs: Params = {}
    layer_outputs: Params = {}

    def hook_of(name: str, shared: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor]:
        def hook(part: nn.Module, arguments: tuple[Any, ...], result: Any) -> Tensor:
            called = f"{name or 'the network itself'} ({type(part).__name__})"
            if shared or name in layer_inputs:
                how = f"has parameters of {shared}" if shared else "is called twice in a pass"
                raise Untraceable(
                    f"{called} {how}, and curvature by layers needs one input for each module; use hessian_free or a "
                    "first-order rule, or one module for each call"
                )
            if not arguments or not all(isinstance(value, Tensor) for value in (arguments[0], result)):
                raise Untraceable(
                    f"{called} does not map a tensor to a tensor, as curvature by layers requires; use "
                    "hessian_free or a first-order rule"
                )
            layer_inputs[name], layer_outputs[name] = arguments[0], shifted(name, result)
            return layer_outputs[name]

        return hook

    with ExitStack() as hooks:
        for name, part, shared in _layers(module, params):
            hooks.callback(part.register_forward_hook(hook_of(name, shared)).remove)
        return ObservedPass(call(), layer_inputs, layer_outputs)


def _layers(module: nn.Module, params: Params) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield the name of each module that owns given parameters, the module, and another that shares them, if any."""
    owners: dict[int, str] = {}  # the first module that has a parameter
    for name, part in module.named_modules():
        own = {f"{name}.{key}" if name else key: id(value) for key, value in part._parameters.items()}
        others = [owners[key] for key in own.values() if key in owners]
        owners |= {key: name or "the network itself" for full, key in own.items() if full in params}
        if others or not own.keys().isdisjoint(params):
            yield name, part, others[0] if others else ""


def curvature_vectors(
    loss: Callable[[Tensor, Tensor], Tensor],
    curvature: OutputCurvature,
    outputs: Tensor,
    targets: Tensor,
    rng: Generator,
    fisher: Fisher,
) -> Tensor:
    """Return K vectors per example, (K, E, N, ...), whose outer products sum to the loss's Hessian in the outputs.

    With H an example's block of the curvature and R a square root of it, R·Rᵀ = H:

    * "sampled": one vector R·s with random signs s, whose outer product has the mean H; one backward pass in all.
    * "exact": the columns of R, one backward pass for each output.  They have random signs too, so that the cross terms
      of examples that a normalisation mixes vanish in expectation; without one, the signs make no difference.
    * "empirical": the gradient at the targets, as one vector, scaled so that the sum over examples is the mean of their
      gradients' outer products.  It is not a curvature of the loss, but is of the same order near a good fit.

    Back-propagated, the first two give the matrix that ``Point.ggn`` multiplies by; for cross-entropy it is the Fisher
    matrix of the model's own predictive distribution.

    Source: the signs, Martens, Sutskever and Swersky 2012 (curvature propagation).

    Args:
        loss: Loss (E,) of outputs and targets, a mean or a sum over examples.
        curvature: Product with the loss's Hessian with respect to the outputs, whose negative eigenvalues count as 0.
        outputs: Outputs, (E, N, ...).
        targets: Targets, (E, N, ...).
        rng: Generator of the signs.
        fisher: Name of one of the three ways.
    """
    outputs = outputs.detach()
    if fisher == "empirical":
        with torch.enable_grad():
            at = outputs.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(at, targets).sum(), at)
        return gradient[None] * math.sqrt(outputs.shape[1])
    root = _root(_blocks(curvature, outputs, targets))
    examples, width = root.shape[:2], root.shape[2]
    if fisher == "sampled":
        vectors = root @ _signs((*examples, width, 1), rng).to(root)
    else:
        vectors = root * _signs((*examples, 1, width), rng).to(root)
    return vectors.movedim(-1, 0).reshape(-1, *outputs.shape)


def _signs(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return 2 * integers(shape, 2, rng) - 1


def _blocks(curvature: OutputCurvature, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return each example's block of the curvature, (E, N, C, C), with C the number of outputs of one example."""
    width = math.prod(outputs.shape[2:])
    units = torch.eye(width).to(outputs).view(width, 1, 1, *outputs.shape[2:]).expand(width, *outputs.shape)
    # The unit vectors count as further episodes, so that one product suffices.
    all_outputs, all_targets = (value.expand(width, *value.shape).flatten(0, 1) for value in (outputs, targets))
    columns = curvature(all_outputs, all_targets, units.flatten(0, 1)).detach()
    return columns.reshape(width, *outputs.shape[:2], width).movedim(0, -1)


def _root(matrix: Tensor) -> Tensor:
    """Return roots R of matrices (..., C, C): R·Rᵀ is the matrix without its negative curvature, up to rounding."""
    # Softmax's curvature is singular: its null vector is (1, …, 1).  Elsewhere, the multiple of I is lost in rounding.
    info = torch.finfo(matrix.dtype)
    size = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    floor = 10 * matrix.shape[-1] * info.eps * size.clamp(min=0) + info.tiny
    root, failed = torch.linalg.cholesky_ex(matrix + floor * torch.eye(matrix.shape[-1]).to(matrix))
    failures = (failed > 0) & matrix.isfinite().flatten(-2).all(-1)
    if bool(failures.any()):  # only rounding is left, as where softmax is saturated; or the loss is not convex
        scale = matrix[failures].abs().amax((-2, -1), keepdim=True).clamp(min=info.tiny)
        values, vectors = torch.linalg.eigh(matrix[failures] / scale)
        root[failures] = vectors * (scale * values.clamp(min=0)[..., None, :]).sqrt()
    return torch.where(size == 0, torch.zeros_like(root), root)
