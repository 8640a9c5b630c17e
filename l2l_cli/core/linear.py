"""A network's first-order change at its parameters: Jacobian products that share one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.normal import LinearNormalisation
from l2l_cli.core.program import NotPure, Stages, record_stages
from l2l_cli.core.types import Params

Answer = Callable[[Params, Tensor], Tensor]
"""(parameters (E, ...), inputs (E, N, ...)) -> outputs (E, N, ...)."""


class Linearization:
    """What a network answers at θ, J·v and Jᵀ·u there, J = ∂outputs/∂θ; each product as often as wanted.

    Attributes:
        outputs: (E, N, ...).
        push: v, shaped as the parameters -> J·v, (E, N, ...).
        pull: u, (E, N, ...) -> Jᵀ·u, shaped as the parameters.
    """

    def __init__(
        self, outputs: Tensor, push: Callable[[Params], Tensor], pull: Callable[[Tensor], Params], at: Params
    ) -> None:
        self.outputs = outputs
        self.push = push
        self.pull = pull
        self._at = at

    def differentiable(self) -> Tensor:
        """Return the outputs as a function of the parameters; its derivatives of second order are refused."""
        outputs: Tensor = _Outputs.apply(self, *self._at.values())  # type: ignore[no-untyped-call]
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
        self._stages: dict[Any, Stages | None] = {}

    def __call__(self, params: Params, inputs: Tensor) -> Linearization:
        """Compute the outputs at the parameters, and keep what the products need."""
        names, given = list(params), [*(value.detach() for value in params.values()), inputs]
        key = tuple(names), *((value.shape, value.stride(), value.dtype, value.device) for value in given)
        if key not in self._stages:
            self._stages[key] = self._record(names, given)
        stages = self._stages[key]
        if stages is None:
            return self._reference(params, inputs)
        (outputs,), kept = stages.first(*given)
        forward, backward = stages.later

        # What is recorded holds for one layout in memory.
        def push(v: Params) -> Tensor:
            return forward(kept, *(v[name].contiguous() for name in names))[0]

        def pull(u: Tensor) -> Params:
            return dict(zip(names, backward(kept, u.contiguous()), strict=True))

        return Linearization(outputs, push, pull, params)

    def _record(self, names: Sequence[str], given: list[Tensor]) -> Stages | None:
        count = len(names)
        with torch.no_grad():
            like = self._answer(dict(zip(names, given, strict=False)), given[-1])

        def products(*values: Tensor) -> tuple[Sequence[Tensor], ...]:
            params, inputs = dict(zip(names, values, strict=False)), values[count]
            at = self._reference(params, inputs)
            v, u = values[count + 1 : -1], values[-1]
            return (at.outputs,), (at.push(dict(zip(names, v, strict=True))),), tuple(at.pull(u).values())

        try:
            # What is recorded tells its inputs apart by their identity.
            apart = [value.clone(memory_format=torch.contiguous_format) for value in (*given[:count], like)]
            return record_stages(products, given, apart[:-1], apart[-1:])
        except NotPure:
            return None

    def _reference(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the same by automatic differentiation; J·v is the derivative of the linear Jᵀ·w in w."""
        at = {name: value.detach().requires_grad_() for name, value in params.items()}
        with torch.enable_grad():
            with LinearNormalisation():
                outputs = self._answer(at, inputs)
            w = torch.zeros_like(outputs).requires_grad_()
            pulled = torch.autograd.grad(outputs, list(at.values()), w, create_graph=True, materialize_grads=True)

        def push(v: Params) -> Tensor:
            return torch.autograd.grad(pulled, w, [v[name] for name in at], retain_graph=True)[0]

        def pull(u: Tensor) -> Params:
            values = torch.autograd.grad(outputs, list(at.values()), u, retain_graph=True, materialize_grads=True)
            return dict(zip(at, values, strict=True))

        return Linearization(outputs.detach(), push, pull, params)
