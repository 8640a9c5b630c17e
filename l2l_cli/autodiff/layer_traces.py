"""What goes into a network's layers, and how its loss bends at what comes out: the material of layerwise curvature."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import integers
from l2l_cli.core.types import Params

Fisher = Literal["sampled", "exact", "empirical"]
"""See ``seeds``."""


class LayerTrace(NamedTuple):
    """One module that has parameters of its own.

    ``inputs`` is what it was given, (E, N, ...).  ``gradients`` are K vectors for each example, back-propagated to
    what the module returned, (K, E, N, ...).
    """

    module: nn.Module
    inputs: Tensor
    gradients: Tensor


class Watched(NamedTuple):
    """Answers (N, ...), and by name what each module with parameters of its own was given and returned."""

    outputs: Tensor
    given: Params
    returned: Params


def watch(module: nn.Module, params: Params, inputs: Tensor, shifts: Params) -> Watched:
    """Answer inputs (N, ...) of one episode and look into the pass.

    Args:
        module: The network.
        params: Its parameters, without an episode axis.
        inputs: (N, ...).
        shifts: Zeros added to what each module returned: a derivative with respect to them is one with respect to the
            pre-activations.  Empty: nothing is added.

    Raises:
        UsageError: A module with parameters is called twice in a pass, so that no one input belongs to them.
    """
    given: Params = {}
    returned: Params = {}

    def at(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        def hook(part: nn.Module, arguments: tuple[Any, ...], result: Tensor) -> Tensor:
            if name in given:
                raise UsageError(
                    f"{name} ({type(part).__name__}) is called twice in a pass, and curvature by layers knows one "
                    "input of each module; use hessian_free or a first-order rule, or one module for each call"
                )
            given[name] = arguments[0]
            returned[name] = result + shifts[name] if shifts else result
            return returned[name]

        return hook

    with ExitStack() as hooks:
        for name, part in module.named_modules():
            if next(part.parameters(recurse=False), None) is not None:
                hooks.callback(part.register_forward_hook(at(name)).remove)
        return Watched(functional_call(module, params, (inputs,)), given, returned)


def seeds(
    loss: Callable[[Tensor, Tensor], Tensor],
    curvature: Callable[[Tensor, Tensor, Tensor], Tensor],
    outputs: Tensor,
    targets: Tensor,
    rng: Generator,
    fisher: Fisher,
) -> Tensor:
    """Return K vectors for each example, (K, E, N, ...), whose outer products sum to the loss's curvature in outputs.

    With H the part of an example's outputs in the curvature, of root R (R·Rᵀ = H):

    * "sampled": one vector R·s with random signs s, whose outer product has the mean H; one backward pass in all.
    * "exact": the columns of R, one backward pass for each output.  They have random signs, too, so that examples which
      a normalisation mixes stay apart in the mean; without one the signs make no difference.
    * "empirical": the gradient at the targets, as one vector, scaled so that the sum over examples is the mean of their
      gradients' outer products.  Not a curvature of the loss, but of the right order near a good fit.

    Back-propagated, the first two give the matrix that ``Point.ggn`` multiplies by: of cross-entropy, the Fisher matrix
    of the model's own predictive distribution.

    Source: the signs, Martens, Sutskever and Swersky 2012 (curvature propagation).

    Args:
        loss: A mean, or sum, over examples: (outputs, targets) -> (E,).
        curvature: (outputs, targets, u) -> its curvature in the outputs times u.  Negative curvature counts as none.
        outputs: (E, N, ...).
        targets: (E, N, ...).
        rng: Of the signs.
        fisher: Which of the three.
    """
    outputs = outputs.detach()
    if fisher == "empirical":
        with torch.enable_grad():
            at = outputs.requires_grad_()
            (slope,) = torch.autograd.grad(loss(at, targets).sum(), at)
        return slope[None] * math.sqrt(outputs.shape[1])
    root = _root(_blocks(curvature, outputs, targets))
    examples, answers = root.shape[:2], root.shape[2]
    if fisher == "sampled":
        vectors = root @ _signs((*examples, answers, 1), rng).to(root)
    else:
        vectors = root * _signs((*examples, 1, answers), rng).to(root)
    return vectors.movedim(-1, 0).reshape(-1, *outputs.shape)


def _signs(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return 2 * integers(shape, 2, rng) - 1


def _blocks(curvature: Callable[[Tensor, Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
    """Return each example's own block of the curvature in the outputs, (E, N, C, C)."""
    answers = math.prod(outputs.shape[2:])
    units = torch.eye(answers).to(outputs).view(answers, 1, 1, *outputs.shape[2:]).expand(answers, *outputs.shape)
    # The unit vectors are as many episodes more, so that one product is all.
    again, given = (value.expand(answers, *value.shape).flatten(0, 1) for value in (outputs, targets))
    columns = curvature(again, given, units.flatten(0, 1)).detach()
    return columns.reshape(answers, *outputs.shape[:2], answers).movedim(0, -1)


def _root(matrix: Tensor) -> Tensor:
    """Return roots R of matrices (..., C, C) with R·Rᵀ = the matrix, up to rounding, less its negative curvature."""
    # Softmax's curvature has the null vector (1, …, 1): what is added makes it positive, and is lost in its rounding.
    info = torch.finfo(matrix.dtype)
    size = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    floor = 10 * matrix.shape[-1] * info.eps * size.clamp(min=0) + info.tiny
    root, failed = torch.linalg.cholesky_ex(matrix + floor * torch.eye(matrix.shape[-1]).to(matrix))
    left = (failed > 0) & matrix.isfinite().flatten(-2).all(-1)
    if bool(left.any()):  # nothing but rounding, as where softmax is saturated; or the loss is not convex
        scale = matrix[left].abs().amax((-2, -1), keepdim=True).clamp(min=info.tiny)
        values, vectors = torch.linalg.eigh(matrix[left] / scale)
        root[left] = vectors * (scale * values.clamp(min=0)[..., None, :]).sqrt()
    return torch.where(size == 0, torch.zeros_like(root), root)
