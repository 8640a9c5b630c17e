"""Where an optimizer stands: a point on a loss surface, which answers what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from l2l_cli.autodiff.layer_traces import Fisher, LayerTrace, seeds
from l2l_cli.autodiff.linearize import Linearization
from l2l_cli.core.types import Batch, Params
from l2l_cli.models.model import Kind, Model, Trace

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs (E, N, ...), targets (E, N, ...)) -> loss (E,)."""

SecondOrder = bool | Literal["ggn"]
"""See ``Point``."""

Curvature = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(outputs, targets, u (E, N, ...) each) -> the loss's Hessian in the outputs times u, (E, N, ...)."""


def output_hessian(loss: Loss, outputs: Tensor, targets: Tensor, u: Tensor) -> Tensor:
    """Return the Hessian of a loss in its outputs times u, (E, N, ...), by differentiating twice; constant in both."""
    at = outputs.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss(at, targets).sum(), at, create_graph=True)
        if not slope.requires_grad:  # a loss that is linear in the outputs
            return torch.zeros_like(u)
        return torch.autograd.grad(slope, at, u)[0]


class Point:
    """Parameters, a batch and a loss; every quantity is computed once and only when asked for.

    Args:
        model: The network that is fitted.
        loss: The task's loss.
        params: Where the optimizer stands; (E, ...) each.
        batch: The data that defines the surface at this step; where its targets are hidden, the surface is flat.
        second_order: Let meta-gradients flow through ``grad``; "ggn" takes the Gauss-Newton matrix for the Hessian.
            This is the one place of the project where the gradient is stopped (Andrychowicz et al. 2016, §2:
            ∂∇_t/∂φ = 0 when false).
        curvature: The loss's in the outputs; None differentiates the loss.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        params: Params,
        batch: Batch,
        second_order: SecondOrder = False,
        curvature: Curvature | None = None,
    ) -> None:
        self._model = model
        self._loss = loss
        self._curvature = curvature or partial(output_hessian, loss)
        self._batch = batch
        self._second_order = second_order
        self._differentiable = torch.is_grad_enabled()
        # Constants (θ_0, or everything outside meta-training) become leaves, so that ``grad`` exists at them too.
        self.params = {
            name: value if value.requires_grad and self._differentiable else value.detach().requires_grad_()
            for name, value in params.items()
        }

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each parameter."""
        return self._model.kinds

    @cached_property
    def outputs(self) -> Tensor:
        """The model's answer to the batch, (E, N, ...)."""
        if self._is_traced:
            return self._trace.outputs
        with torch.enable_grad():
            if "linear" in self.__dict__ and self._second_order is not True:  # its forward pass serves for all
                return self.linear.differentiable(self.params)
            return self._model(self.params, self._batch.inputs)

    @cached_property
    def loss(self) -> Tensor:
        """The loss of each episode, (E,); 0 where its targets are hidden."""
        with torch.enable_grad():
            return self._scored(self.outputs)

    @cached_property
    def grad(self) -> Params:
        """The gradient of each episode's loss, shaped as the parameters."""
        # Episodes do not share parameters, so the gradient of the sum holds every episode's own.
        with torch.enable_grad():
            total = self.loss.sum()
        values = torch.autograd.grad(
            total,
            list(self.params.values()),
            create_graph=self._second_order is True and self._differentiable,
            retain_graph=self._differentiable or self._is_traced,
        )
        if self._second_order == "ggn" and self._differentiable:
            values = _Bent.apply(self._curved, *self.params.values(), *values)  # type: ignore[no-untyped-call]
        return dict(zip(self.params, values, strict=True))

    @cached_property
    def linear(self) -> Linearization:
        """The model's first-order change here; ask for it before all else, and its forward pass is the only one."""
        return self._model.linearize(self.params, self._batch.inputs)

    def ggn(self, v: Params) -> Params:
        """Return the product of each episode's generalised Gauss-Newton matrix with its ``v``, shaped as that.

        The matrix is Jᵀ·H·J, with J = ∂outputs/∂θ and H the loss's Hessian in the outputs; 0 where targets are hidden.
        To meta-gradients it is constant and symmetric: they flow through ``v`` alone, by the same product.

        Source: Schraudolph 2002, §3; Chen and Lu 2018, eq. 3 and its backward pass.
        """
        values = _Symmetric.apply(self._curved, *(v[name] for name in self.params))  # type: ignore[no-untyped-call]
        return dict(zip(self.params, values, strict=True))

    @cached_property
    def _curved(self) -> Callable[..., tuple[Tensor, ...]]:
        """The product of ``ggn``; graphs hold it, so it must not hold this point, whose gradient may hold a graph."""
        linear, curvature, (_, targets, shown), names = self.linear, self._curvature, self._batch, list(self.params)

        def product(*v: Tensor) -> tuple[Tensor, ...]:
            u = curvature(linear.outputs, targets, linear.push(dict(zip(names, v, strict=True))))
            return tuple(linear.pull(where_shown(shown, u)).values())

        return product

    @cached_property
    def _slope(self) -> tuple[Params, Params]:
        """Parameters, and the gradient at them with a graph of its own: what ``hessian`` differentiates."""
        at = self.params
        if self._second_order is not True:
            at = {name: value.detach().requires_grad_() for name, value in at.items()}
        with torch.enable_grad():
            values = torch.autograd.grad(self.loss_at(at).sum(), list(at.values()), create_graph=True)
        return at, dict(zip(at, values, strict=True))

    def hessian(self, v: Params) -> Params:
        """Return the product of each episode's Hessian with its ``v``, both shaped as the parameters.

        Two backward passes, exact (Pearlmutter 1994, §3).  Meta-gradients flow through ``v``, and with
        ``second_order`` through the Hessian.
        """
        at, slope = self._slope
        bent = [name for name, value in slope.items() if value.requires_grad]
        if not bent:  # a loss that is linear in the parameters
            return {name: torch.zeros_like(value) for name, value in v.items()}
        values = torch.autograd.grad(
            [slope[name] for name in bent],
            list(at.values()),
            [v[name] for name in bent],
            retain_graph=True,
            create_graph=self._differentiable,
            materialize_grads=True,
        )
        return dict(zip(at, values, strict=True))

    @cached_property
    def _trace(self) -> Trace:
        with torch.enable_grad():
            return self._model.trace(self.params, self._batch.inputs)

    @property
    def _is_traced(self) -> bool:
        """Whether a pass was looked into, so that it serves for all else as well."""
        return "_trace" in self.__dict__

    def layers(self, rng: Generator, fisher: Fisher = "sampled") -> dict[str, LayerTrace]:
        """Return what each module with parameters of its own was given, and the curvature's vectors at its outputs.

        Asked before all else, it shares one forward pass with the other quantities.  No meta-gradient flows through it.

        Args:
            rng: Of what is random in the vectors.
            fisher: Which curvature; see ``seeds``.

        Raises:
            UsageError: Such a module is called twice in a pass.
        """
        trace = self._trace
        vectors = seeds(self._loss, self._curvature, trace.outputs, self._batch.targets, rng, fisher)
        each = [
            torch.autograd.grad(
                trace.outputs, list(trace.shifts.values()), self._where_shown(vector), retain_graph=True
            )
            for vector in vectors
        ]
        modules = dict(self._model.module.named_modules())
        return {
            name: LayerTrace(modules[name], trace.inputs[name].detach(), torch.stack(gradients))
            for name, gradients in zip(trace.shifts, zip(*each, strict=True), strict=True)
        }

    def at(self, params: Params) -> Point:
        """Return another point of the same surface: other parameters, the same batch."""
        return Point(self._model, self._loss, params, self._batch, self._second_order, self._curvature)

    def loss_at(self, params: Params) -> Tensor:
        """Return the loss (E,) of other parameters on this point's batch."""
        return self._scored(self._model(params, self._batch.inputs))

    def _scored(self, outputs: Tensor) -> Tensor:
        return self._where_shown(self._loss(outputs, self._batch.targets))

    def _where_shown(self, values: Tensor) -> Tensor:
        return where_shown(self._batch.shown, values)


def where_shown(shown: Tensor | None, values: Tensor) -> Tensor:
    """Return values (E, ...) with 0 for the episodes whose targets are hidden."""
    return values if shown is None else torch.where(shown.view(-1, *[1] * (values.dim() - 1)) > 0, values, 0.0)


class _Symmetric(torch.autograd.Function):
    """A constant symmetric linear map, whose derivative is the map itself."""

    @staticmethod
    def forward(ctx: Any, product: Callable[..., tuple[Tensor, ...]], *v: Tensor) -> tuple[Tensor, ...]:
        ctx.product = product
        return product(*v)

    @staticmethod
    def backward(ctx: Any, *u: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Symmetric.apply(ctx.product, *u)  # type: ignore[no-untyped-call]


class _Bent(torch.autograd.Function):
    """Gradients, constant, whose derivative in the parameters is to be a symmetric product."""

    @staticmethod
    def forward(ctx: Any, product: Callable[..., tuple[Tensor, ...]], *given: Tensor) -> tuple[Tensor, ...]:
        ctx.product = product
        return tuple(value.clone() for value in given[len(given) // 2 :])

    @staticmethod
    def backward(ctx: Any, *u: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.product(*u), *(None for _ in u)
