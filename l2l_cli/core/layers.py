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
                    f"{_called(name, part)} is called twice in a pass, and curvature by layers knows one input of each "
                    "module; use hessian_free or a first-order rule, or give each call a module of its own"
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


def _called(name: str, module: nn.Module) -> str:
    return f"{name or 'the network'} ({type(module).__name__})"


def seeds(loss: Callable[[Tensor], Tensor], outputs: Tensor, rng: Generator, fisher: Fisher) -> Tensor:
    """Return K vectors for each example, (K, E, N, ...), whose outer products sum to the loss's curvature in outputs.

    With H the Hessian of an example's share of the loss in its outputs, of root R (R·Rᵀ = H):

    * "sampled": one vector R·s with random signs s, whose outer product has the mean H; one backward pass in all.
    * "exact": the columns of R, one backward pass for each output.  They have random signs, too, so that examples which
      a normalisation mixes stay apart in the mean; without one the signs make no difference.
    * "empirical": the gradient at the targets, as one vector, scaled so that the sum over examples is the mean of their
      gradients' outer products.  Not a curvature of the loss, but of the right order near a good fit.

    Back-propagated, the first two give the generalised Gauss–Newton matrix.  For cross-entropy of logits and for
    squared errors H does not depend on the targets, and that matrix is the Fisher matrix of the model's own predictive
    distribution (Martens 2020, §9.2).  For cross-entropy of probabilities it does depend, and all three are the same.

    Source: the signs, Martens, Sutskever and Swersky 2012 (curvature propagation).

    Args:
        loss: Of outputs (E, N, ...), (E,); a sum over examples of convex functions of an example's outputs.  Where one
            is not convex, its negative curvature counts as none.
        outputs: (E, N, ...).
        rng: Of the signs.
        fisher: Which of the three.
    """
    at = outputs.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss(at).sum(), at, create_graph=True)
        if fisher == "empirical":
            return slope.detach()[None] * math.sqrt(outputs.shape[1])
        root = _root(_curvature(slope, at))
    examples, answers = root.shape[:2], root.shape[2]
    if fisher == "sampled":
        vectors = root @ _signs((*examples, answers, 1), rng).to(root)
    else:
        vectors = root * _signs((*examples, 1, answers), rng).to(root)
    return vectors.movedim(-1, 0).reshape(-1, *outputs.shape)


def _signs(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return 2 * integers(shape, 2, rng) - 1


def _curvature(slope: Tensor, at: Tensor) -> Tensor:
    """Return the Hessian (E, N, C, C) of each example's share of a loss, whose gradient in the outputs is given."""
    rows = slope.flatten(2) if slope.dim() > 2 else slope[..., None]
    if not slope.requires_grad:  # a loss that is linear in the outputs
        return rows.new_zeros(*rows.shape, rows.shape[-1])
    answers = rows.shape[-1]
    each = torch.eye(answers).to(rows).view(answers, 1, 1, answers).expand(answers, *rows.shape)
    (curvature,) = torch.autograd.grad(slope, at, each.reshape(answers, *slope.shape), is_grads_batched=True)
    return curvature.reshape(each.shape).movedim(0, -2)


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
