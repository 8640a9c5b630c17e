"""A point on a loss surface: loss, gradient and curvature at an optimizer's current parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Generator, Tensor

from l2l_cli.autodiff.damping import damped
from l2l_cli.autodiff.layer_traces import Fisher, LayerTrace, OutputCurvature, curvature_vectors
from l2l_cli.autodiff.linearize import Linearization, second_derivatives
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Context, Params
from l2l_cli.core.vectors import choose
from l2l_cli.models.model import ParameterType, Trace
from l2l_cli.models.network import Network

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs (E, N, ...), targets (E, N, ...)) -> loss (E,)."""

Product = Callable[..., tuple[Tensor, ...]]
"""A linear map from tensors shaped as the parameters to tensors of the same shapes."""

SecondOrder = bool | Literal["ggn"]
"""The values of ``Point``'s ``second_order``."""


def output_hessian(loss: Loss, outputs: Tensor, targets: Tensor, u: Tensor) -> Tensor:
    """Return the loss's Hessian with respect to the outputs times u, (E, N, ...), by double backward, as a constant."""
    at = outputs.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(at, targets).sum(), at, create_graph=True)
        if not gradient.requires_grad:  # a loss that is linear in the outputs
            return torch.zeros_like(u)
        return torch.autograd.grad(gradient, at, u)[0]


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error averaged over all axes but the first, (E,); kernels recognise this function."""
    return (outputs - targets).square().flatten(1).mean(1)


class Point:
    """Parameters, a batch and a loss; every quantity is computed once and only when it is needed.

    Args:
        model: The network that is fitted.
        loss: The task's loss.
        params: Parameters at which everything is computed, (E, ...) each.
        batch: The data that defines the surface at this step; where its targets are hidden, the surface is flat.
        second_order: Whether meta-gradients flow through ``grad``; "ggn" replaces the Hessian by the Gauss-Newton
            matrix.  This is the only place in the project where the gradient is stopped (Andrychowicz et al. 2016, §2:
            ∂∇_t/∂φ = 0 when false).
        curvature: Product with the loss's Hessian with respect to the outputs; None differentiates the loss.
        rho: Factor on the derivative of ``grad`` in meta-gradients, if they flow through it.
    """

    def __init__(
        self,
        model: Network,
        loss: Loss,
        params: Params,
        batch: Batch,
        second_order: SecondOrder = False,
        curvature: OutputCurvature | None = None,
        rho: float = 1.0,
    ) -> None:
        self._rho = rho
        self._model = model
        self._loss = loss
        self._curvature = curvature or partial(output_hessian, loss)
        self._batch = batch
        self._second_order = second_order
        self._differentiable = torch.is_grad_enabled()
        self._linear: Linearization | None = None
        self._trace: Trace | None = None
        self._unreached: frozenset[str] = frozenset()
        # Constants (θ₀, or everything outside meta-training) become leaves, so that they have a gradient, too.
        self.params = {
            name: value if value.requires_grad and self._differentiable else value.detach().requires_grad_()
            for name, value in params.items()
        }

    @property
    def parameter_types(self) -> dict[str, ParameterType]:
        """The type of each parameter, by name."""
        return self._model.parameter_types

    @cached_property
    def outputs(self) -> Tensor:
        """The model's outputs for the batch, (E, N, ...)."""
        if self._trace is not None:
            return self._trace.outputs
        with torch.enable_grad():
            if self._linear is not None and self._second_order is not True:  # its forward pass serves for all
                return self._linear.differentiable(self.params)
            return self._model(self.params, self._batch.inputs)

    @cached_property
    def loss(self) -> Tensor:
        """The loss of each episode, (E,); 0 where its targets are hidden."""
        with torch.enable_grad():
            return self._scored(self.outputs)

    @cached_property
    def grad(self) -> Params:
        """The gradient of each episode's loss, shaped as the parameters; 0 for those that it does not depend on."""
        # Episodes do not share parameters, so the gradient of the sum holds every episode's own.
        with torch.enable_grad():
            total = self.loss.sum()
        if not total.requires_grad:
            raise UsageError(
                "the task's loss does not depend on the network's parameters; compute it from the network's outputs, "
                "without .detach(), .item() or torch.no_grad()"
            )
        found = torch.autograd.grad(
            total,
            list(self.params.values()),
            create_graph=self._second_order is True and self._differentiable,
            retain_graph=self._differentiable or self._trace is not None,
            allow_unused=True,
        )
        values = found
        if any(value is None for value in found):
            self._unreached = frozenset(name for name, value in zip(self.params, found, strict=True) if value is None)
            pairs = zip(self.params.values(), found, strict=True)
            values = tuple(torch.zeros_like(at) if value is None else value for at, value in pairs)
        if self._second_order == "ggn" and self._differentiable:
            values = _GradientWithGGN.apply(self._ggn, *self.params.values(), *values)  # type: ignore[no-untyped-call]
        return damped(dict(zip(self.params, values, strict=True)), self._rho)

    @property
    def unreached(self) -> frozenset[str]:
        """Names of the parameters that the loss does not depend on."""
        return self._unreached if self.grad else frozenset()

    @property
    def linear(self) -> Linearization:
        """The model's linearization; if it is computed first, all other quantities reuse its forward pass."""
        if self._linear is None:
            self._linear = self._model.linearize(self.params, self._batch.inputs)
        return self._linear

    def ggn(self, v: Params) -> Params:
        """Return the product of each episode's generalised Gauss-Newton matrix with ``v``, shaped as the parameters.

        The matrix is Jᵀ·H·J, with J = ∂outputs/∂θ and H the loss's Hessian with respect to the outputs; 0 where targets
        are hidden.  Meta-gradients treat it as a constant: they flow only through ``v``, by the same symmetric product.

        Source: Schraudolph 2002, §3; Chen and Lu 2018, eq. 3 and its backward pass.
        """
        values = _Symmetric.apply(self._ggn, *(v[name] for name in self.params))  # type: ignore[no-untyped-call]
        return dict(zip(self.params, values, strict=True))

    @cached_property
    def _ggn(self) -> Product:
        """The product of ``ggn``; it must not refer to this point, or autograd graphs would form reference cycles."""
        linear, curvature, (_, targets, shown), names = self.linear, self._curvature, self._batch, list(self.params)

        def product(*v: Tensor) -> tuple[Tensor, ...]:
            u = curvature(linear.outputs, targets, linear.push(dict(zip(names, v, strict=True))))
            return tuple(linear.pull(u if shown is None else choose(shown, u, 0.0)).values())

        return product

    @cached_property
    def _differentiable_grad(self) -> tuple[Params, Params]:
        """Parameters, and the gradient at them with a separate graph, which ``hessian`` differentiates."""
        at = self.params
        if self._second_order is not True:
            at = {name: value.detach().requires_grad_() for name, value in at.items()}
        with torch.enable_grad():
            total = self.loss_at(at).sum()
            values = torch.autograd.grad(total, list(at.values()), create_graph=True, materialize_grads=True)
        return at, dict(zip(at, values, strict=True))

    def hessian(self, v: Params) -> Params:
        """Return the product of each episode's Hessian with ``v``, shaped as the parameters.

        It is exact and takes two backward passes (Pearlmutter 1994, §3).  Meta-gradients flow through ``v``, and with
        ``second_order`` through the Hessian.
        """
        at, grad = self._differentiable_grad
        curved = [name for name, value in grad.items() if value.requires_grad]
        if not curved:  # a loss that is linear in the parameters
            return {name: torch.zeros_like(value) for name, value in v.items()}
        with second_derivatives():
            values = torch.autograd.grad(
                [grad[name] for name in curved],
                list(at.values()),
                [v[name] for name in curved],
                retain_graph=True,
                create_graph=self._differentiable,
                materialize_grads=True,
            )
        return dict(zip(at, values, strict=True))

    def layers(self, rng: Generator, fisher: Fisher = "sampled") -> dict[str, LayerTrace]:
        """Return the inputs of each module with its own parameters, and the curvature's vectors at its outputs.

        If it is called first, all other quantities reuse its forward pass.  No meta-gradient flows through it.

        Args:
            rng: Generator of the vectors' signs.
            fisher: Choice of the vectors; see ``curvature_vectors``.

        Raises:
            Untraceable: See ``observe``.
        """
        trace = self._traced
        shifts = list(trace.shifts.values())
        if not shifts:  # the network computes with parameters of modules that it does not call
            return {}
        each = [
            torch.autograd.grad(trace.outputs, shifts, vector, retain_graph=True, materialize_grads=True)
            for vector in self.output_vectors(rng, fisher)
        ]
        modules = dict(self._model.module.named_modules())
        return {
            name: LayerTrace(modules[name], trace.inputs[name].detach(), torch.stack(gradients))
            for name, gradients in zip(trace.shifts, zip(*each, strict=True), strict=True)
        }

    def output_vectors(self, rng: Generator, fisher: Fisher) -> Tensor:
        """Return the vectors of ``curvature_vectors``, (K, E, N, ...); 0 where targets are hidden."""
        outputs = self._trace.outputs if self._trace is not None else self.linear.outputs
        vectors = curvature_vectors(self._loss, self._curvature, outputs, self._batch.targets, rng, fisher)
        return torch.stack([self._where_shown(vector) for vector in vectors])

    @cached_property
    def mixes_examples(self) -> bool:
        """Whether an example's outputs depend on what layers compute for other examples; this takes a backward pass.

        Raises:
            Untraceable: See ``observe``.
        """
        outputs, _, shifts = self._traced
        if not shifts:
            return False
        one = torch.zeros_like(outputs)
        one[:, 0] = normal(outputs[:, 0].shape, generator(0, "one example")).to(outputs)
        found = torch.autograd.grad(outputs, list(shifts.values()), one, retain_graph=True, materialize_grads=True)
        return any(bool(gradient[:, 1:].any()) for gradient in found)

    @property
    def _traced(self) -> Trace:
        if self._trace is None:
            with torch.enable_grad():
                self._trace = self._model.trace(self.params, self._batch.inputs)
        return self._trace

    def at(self, params: Params) -> Point:
        """Return another point of the same surface: other parameters, the same batch."""
        return Point(self._model, self._loss, params, self._batch, self._second_order, self._curvature, self._rho)

    def loss_at(self, params: Params) -> Tensor:
        """Return the loss (E,) of other parameters on this point's batch."""
        return self._scored(self._model(params, self._batch.inputs))

    def _scored(self, outputs: Tensor) -> Tensor:
        return self._where_shown(self._loss(outputs, self._batch.targets))

    def _where_shown(self, values: Tensor) -> Tensor:
        """Return values (E, ...) with 0 for the episodes whose targets are hidden."""
        return values if self._batch.shown is None else choose(self._batch.shown, values, 0.0)


class _Symmetric(torch.autograd.Function):
    """A constant symmetric linear map, whose derivative is the map itself."""

    @staticmethod
    def forward(ctx: Context, product: Product, *v: Tensor) -> tuple[Tensor, ...]:
        ctx.product = product
        return product(*v)

    @staticmethod
    def backward(ctx: Context, *u: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Symmetric.apply(ctx.product, *u)  # type: ignore[no-untyped-call]


class _GradientWithGGN(torch.autograd.Function):
    """(θ, gradient) -> the gradient's value, with the Gauss-Newton product as its derivative with respect to θ."""

    @staticmethod
    def forward(ctx: Context, product: Product, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.product = product
        return tuple(value.clone() for value in tensors[len(tensors) // 2 :])

    @staticmethod
    def backward(ctx: Context, *u: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.product(*u), *(None for _ in u)
