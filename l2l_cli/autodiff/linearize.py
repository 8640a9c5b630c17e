"""A network's first-order change at its parameters: Jacobian products that share one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from l2l_cli.autodiff.batch_norm import LinearNormalisation
from l2l_cli.autodiff.max_pool import LeanPooling
from l2l_cli.autodiff.recorder import Stages, if_pure, record_stages
from l2l_cli.core.types import Params

Answer = Callable[[Params, Tensor], Tensor]
"""(parameters (E, ...), inputs (E, N, ...)) -> outputs (E, N, ...)."""

Strides = tuple[int, ...]


class Linearization:
    """What a network answers at θ, J·v and Jᵀ·u there, J = ∂outputs/∂θ; each product as often as wanted.

    Attributes:
        outputs: (E, N, ...).
        push: v, shaped as the parameters -> J·v, (E, N, ...).
        pull: u, (E, N, ...) -> Jᵀ·u, shaped as the parameters.
    """

    def __init__(self, outputs: Tensor, push: Callable[[Params], Tensor], pull: Callable[[Tensor], Params]) -> None:
        self.outputs = outputs
        self.push = push
        self.pull = pull

    def differentiable(self, params: Params) -> Tensor:
        """Return the outputs as a function of the parameters; its derivatives of second order are refused."""
        outputs: Tensor = _Outputs.apply(self, *params.values())  # type: ignore[no-untyped-call]
        return outputs


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, at: Linearization, *params: Tensor) -> Tensor:
        ctx.at = at
        return at.outputs.view_as(at.outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.at.pull(u).values()


class Linearizer:
    """Linearizes a network; a program is recorded for each combination of shapes.

    Args:
        answer: The network.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._programs: dict[Any, tuple[Stages, list[Strides]] | None] = {}

    def __call__(self, params: Params, inputs: Tensor, recompute: bool = False) -> Linearization:
        """Compute the outputs at the parameters, and keep what the products need; or nothing, if they recompute it."""
        names, given = list(params), [*(value.detach() for value in params.values()), inputs]
        key = tuple(names), *((value.shape, value.stride(), value.dtype, value.device) for value in given)
        if key not in self._programs:
            self._programs[key] = self._record(names, given)
        programs = self._programs[key]
        if programs is None:
            return self._unrecorded(params, inputs) if recompute else self._reference(params, inputs)
        stages, strides = programs
        (outputs,), kept = stages.first(*given)
        if recompute:
            forward, backward = (partial(program, *given) for program in stages.alone)
        else:
            forward, backward = (partial(program, kept) for program in stages.later)
        del kept

        # What is recorded holds for one layout in memory.
        def push(v: Params) -> Tensor:
            return forward(*(laid_out(v[name], stride) for name, stride in zip(names, strides, strict=False)))[0]

        def pull(u: Tensor) -> Params:
            return dict(zip(names, backward(laid_out(u, strides[-1])), strict=True))

        return Linearization(outputs, push, pull)

    def _record(self, names: Sequence[str], given: list[Tensor]) -> tuple[Stages, list[Strides]] | None:
        """Return programs, and the layouts they hold for: of vectors for each parameter, and of one for the outputs."""
        count = len(names)
        with torch.no_grad():
            like = self._answer(dict(zip(names, given, strict=False)), given[-1])

        def products(*values: Tensor) -> tuple[Sequence[Tensor], ...]:
            params, inputs = dict(zip(names, values, strict=False)), values[count]
            at = self._reference(params, inputs)
            v, u = values[count + 1 : -1], values[-1]
            return (at.outputs,), (at.push(dict(zip(names, v, strict=True))),), tuple(at.pull(u).values())

        # What is recorded tells its inputs apart by their identity.
        apart = [value.clone() for value in (*given[:count], like)]
        del like
        stages = if_pure(lambda: record_stages(products, given, apart[:-1], apart[-1:]))
        return (stages, [value.stride() for value in apart]) if stages is not None else None

    def _unrecorded(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the same by automatic differentiation, which starts anew for each product."""

        def push(v: Params) -> Tensor:
            return self._reference(params, inputs).push(v)

        def pull(u: Tensor) -> Params:
            return self._reference(params, inputs).pull(u)

        with torch.no_grad():
            return Linearization(self._answer(params, inputs), push, pull)

    def _reference(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the same by automatic differentiation; J·v is the derivative of the linear Jᵀ·w in w."""
        at = {name: value.detach().requires_grad_() for name, value in params.items()}
        with torch.enable_grad():
            with LinearNormalisation(), LeanPooling():
                outputs = self._answer(at, inputs)
            w = torch.zeros_like(outputs).requires_grad_()
            pulled = torch.autograd.grad(outputs, list(at.values()), w, create_graph=True, materialize_grads=True)

        def push(v: Params) -> Tensor:
            return torch.autograd.grad(pulled, w, [v[name] for name in at], retain_graph=True)[0]

        def pull(u: Tensor) -> Params:
            values = torch.autograd.grad(outputs, list(at.values()), u, retain_graph=True, materialize_grads=True)
            return dict(zip(at, values, strict=True))

        return Linearization(outputs.detach(), push, pull)


def laid_out(value: Tensor, strides: Strides) -> Tensor:
    """Return a tensor with its numbers at these strides in memory; itself, if they are."""
    return value if value.stride() == strides else value.new_empty_strided(value.shape, strides).copy_(value)
