"""The linearization of a network at its parameters: Jacobian products that share one forward pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from l2l_cli.autodiff.batch_norm import LinearNormalisation
from l2l_cli.autodiff.max_pool import LeanPooling
from l2l_cli.autodiff.program_writer import NotPure, Stages
from l2l_cli.autodiff.pure import NetworkFunction, kept_draws
from l2l_cli.autodiff.recorder import record_stages
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Context, Params

Strides = tuple[int, ...]


class Linearization:
    """A network's outputs at θ, and any number of products with their Jacobian J = ∂outputs/∂θ.

    Attributes:
        outputs: Outputs at θ, (E, N, ...).
        push: Map from v, shaped as the parameters, to J·v, (E, N, ...).
        pull: Map from u, (E, N, ...), to Jᵀ·u, shaped as the parameters.
    """

    def __init__(self, outputs: Tensor, push: Callable[[Params], Tensor], pull: Callable[[Tensor], Params]) -> None:
        self.outputs, self.push, self.pull = outputs, push, pull

    def differentiable(self, params: Params) -> Tensor:
        """Return the outputs as a function of the parameters that refuses second derivatives."""
        outputs: Tensor = _Outputs.apply(self, *params.values())  # type: ignore[no-untyped-call]
        return outputs


class _Outputs(torch.autograd.Function):
    """Outputs as a function of the parameters, differentiated by a linearization at them."""

    @staticmethod
    def forward(ctx: Context, at: Linearization, *params: Tensor) -> Tensor:
        ctx.at = at
        return at.outputs.view_as(at.outputs)

    @staticmethod
    def backward(ctx: Context, u: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True
            raise UsageError(
                "second derivatives, as for second_order=true or Hessian products, need a single process; use "
                "hardware.replicas=1, or a learner that takes gradients and Gauss-Newton products"
            )
        return None, *ctx.at.pull(u).values()


class Linearizer:
    """Linearizes a network; a program is recorded for each combination of shapes."""

    def __init__(self, function: NetworkFunction) -> None:
        self._function = function
        self._programs: dict[object, tuple[Stages, list[Strides]] | None] = {}

    def __call__(self, params: Params, inputs: Tensor, recompute: bool = False) -> Linearization:
        """Return the linearization at the parameters; with ``recompute``, each product repeats the forward pass."""
        names, given = list(params), [*(value.detach() for value in params.values()), inputs]
        key = tuple(names), *((value.shape, value.stride(), value.dtype, value.device) for value in given)
        if key not in self._programs:
            self._programs[key] = self._record(names, given)
        programs = self._programs[key]
        if programs is None:
            return self._unrecorded(params, inputs) if recompute else linearized(self._function, params, inputs)
        stages, strides = programs
        (outputs,), kept = stages.first(*given)
        if recompute:
            forward, backward = (partial(program, *given) for program in stages.alone)
        else:
            forward, backward = (partial(program, kept) for program in stages.later)
        del kept

        # A program is valid for one memory layout only.
        def push(v: Params) -> Tensor:
            return forward(*(laid_out(v[name], stride) for name, stride in zip(names, strides, strict=False)))[0]

        def pull(u: Tensor) -> Params:
            return dict(zip(names, backward(laid_out(u, strides[-1])), strict=True))

        return Linearization(outputs, push, pull)

    def _record(self, names: Sequence[str], given: list[Tensor]) -> tuple[Stages, list[Strides]] | None:
        """Return programs, and the strides that they need: those of each parameter's vector and of the outputs."""
        count = len(names)
        with torch.no_grad(), kept_draws(given[-1].device):
            like = self._function(dict(zip(names, given, strict=False)), given[-1])

        def products(*values: Tensor) -> tuple[Sequence[Tensor], ...]:
            params, inputs = dict(zip(names, values, strict=False)), values[count]
            at = linearized(self._function, params, inputs)
            v, u = values[count + 1 : -1], values[-1]
            return (at.outputs,), (at.push(dict(zip(names, v, strict=True))),), tuple(at.pull(u).values())

        try:
            # The recorder tells inputs apart by their identity.
            apart = [value.clone() for value in (*given[:count], like)]
            del like
            return record_stages(products, given, apart[:-1], apart[-1:]), [value.stride() for value in apart]
        except NotPure:
            return None

    def _unrecorded(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the linearization by automatic differentiation, repeated for each product."""
        with torch.no_grad():
            return Linearization(
                self._function(params, inputs),
                lambda v: linearized(self._function, params, inputs).push(v),
                lambda u: linearized(self._function, params, inputs).pull(u),
            )


def linearized(function: NetworkFunction, params: Params, inputs: Tensor) -> Linearization:
    """Return the linearization by automatic differentiation; J·v is the derivative of ⟨Jᵀ·w, v⟩ with respect to w."""
    at = {name: value.detach().requires_grad_() for name, value in params.items()}
    with torch.enable_grad():
        with LinearNormalisation(), LeanPooling():
            outputs = function(at, inputs)
        if not outputs.requires_grad:  # as for the first segment of a network that detaches its outputs
            zeros = {name: torch.zeros_like(value) for name, value in params.items()}
            return Linearization(outputs, lambda v: torch.zeros_like(outputs), lambda u: zeros)
        w = torch.zeros_like(outputs).requires_grad_()
        pulled = torch.autograd.grad(outputs, list(at.values()), w, create_graph=True, materialize_grads=True)

    def push(v: Params) -> Tensor:
        with second_derivatives():
            return torch.autograd.grad(pulled, w, [v[name] for name in at], retain_graph=True)[0]

    def pull(u: Tensor) -> Params:
        values = torch.autograd.grad(outputs, list(at.values()), u, retain_graph=True, materialize_grads=True)
        return dict(zip(at, values, strict=True))

    return Linearization(outputs.detach(), push, pull)


@contextmanager
def second_derivatives() -> Iterator[None]:
    """Replace torch's error about missing second derivatives by one that explains it.

    Raises:
        UsageError: A layer has no second derivatives.
    """
    try:
        yield
    except RuntimeError as error:  # its subclasses too
        if not re.search("derivative for .* is not implemented", str(error)):
            raise
        raise UsageError(
            f"the network has a layer without second derivatives, which products with curvature need ({error}); use a "
            "first-order rule, or another layer"
        ) from error


def laid_out(value: Tensor, strides: Strides) -> Tensor:
    """Return a tensor with these strides in memory; the tensor itself if it has them."""
    return value if value.stride() == strides else value.new_empty_strided(value.shape, strides).copy_(value)
