"""A network whose batches are divided over processes: outputs, gradients and Gauss-Newton products in parallel.

Source: Chen and Lu 2018, who leave data-parallel MLHF to future work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from l2l_cli.autodiff.linearize import Linearization
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, integers, normal
from l2l_cli.core.types import Params
from l2l_cli.models.model import Model, Trace
from l2l_cli.parallel.workers import Request, WorkerGroup

COMPARED = 8
"""Number of examples whose outputs are compared in two batches; for a single one, all units might be dead."""


class Replicated(Model):
    """The same network, with each batch computed by R ≥ 2 processes, an equal part by each.

    All quantities of a ``Point`` come down to the outputs and to products with their Jacobian J = ∂outputs/∂θ.  An
    example's outputs, and its part of J·v, come from one process; Jᵀ·u is the sum over processes.  The loss and its
    curvature are computed from all outputs together, so that any loss will do, and parts may differ in size by one
    example.  All results equal those of one process, up to rounding; sums are taken in a fixed order, so that runs
    repeat bit for bit.  In meta-training the products are constant symmetric operators, as in one process.

    The calling process computes the first part itself; the others start when they are first needed, and end with it.
    They run on the same machine and exchange numbers through shared memory, also where they compute on GPUs.

    Networks that draw random numbers, layer traces and second derivatives are refused; a batch with fewer examples than
    processes stays whole.

    Raises:
        UsageError: An example's outputs depend on the others in its batch, or the network draws random numbers.
    """

    def __init__(self, model: Model, replicas: int, example: tuple[int, ...]) -> None:
        super().__init__(model.module, model.initializer, model.in_turn, model.recompute)
        rng = generator(0, "replicas")
        params = model.init(1, rng)
        if model.manner(params, some_inputs(model, params, example, rng)).draws:
            raise UsageError(
                f"hardware.replicas={replicas} divides each batch, and each process would draw its own random numbers "
                "for this task's network, as for dropout; use hardware.replicas=1"
            )
        if mixes_examples(model, example):
            raise UsageError(
                f"hardware.replicas={replicas} divides each batch, but this task's model mixes the examples of one, as "
                "batch normalisation does: each process would normalise its own part, and fit another network; use "
                "hardware.replicas=1, or a task without normalisation, such as cifar10_cudaconvnet"
            )
        self.replicas = replicas
        self._model = model
        self._numbers = itertools.count()
        self._workers = WorkerGroup(model, replicas)

    def close(self) -> None:
        """End the other processes; otherwise they end with this object, or with the program."""
        self._workers.close()

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Return the outputs (E, N, ...) for inputs (E, N, ...) and parameters (E, ...)."""
        if inputs.shape[1] < self.replicas:
            return self._model(params, inputs)
        if torch.is_grad_enabled() and any(value.requires_grad for value in params.values()):
            return self.linearize(params, inputs).differentiable(params)
        parts = inputs.tensor_split(self.replicas, 1)
        return self._joined("answer", 0, params, parts, lambda: self._model(params, parts[0].contiguous()))

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the linearization; each process keeps its part of it."""
        if inputs.shape[1] < self.replicas:
            return self._model.linearize(params, inputs)
        number, parts = next(self._numbers), inputs.tensor_split(self.replicas, 1)
        first: list[Linearization] = []

        def begin() -> Tensor:
            first.append(self._model.linearize(params, parts[0].contiguous()))
            return first[0].outputs

        outputs = self._joined("linearize", number, params, parts, begin)

        def push(v: Params) -> Tensor:
            return self._joined("push", number, {name: v[name] for name in params}, [], lambda: first[0].push(v))

        def pull(u: Tensor) -> Params:
            us = u.tensor_split(self.replicas, 1)
            total, others = self._workers.ask("pull", number, {}, us, lambda: first[0].pull(us[0].contiguous()))
            for other in others:
                total = {name: total[name] + value.to(u.device) for name, value in zip(params, other, strict=True)}
            return total

        linear = Linearization(outputs, push, pull)
        self._workers.until_gone(linear, number)
        return linear

    def trace(self, params: Params, inputs: Tensor) -> Trace:
        """Refuse to trace layers.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"curvature by layers, as kfac's, needs one process, not hardware.replicas={self.replicas}; use "
            "hardware.replicas=1, or hessian_free or a first-order rule"
        )

    def _joined(
        self, request: Request, number: int, params: Params, parts: Sequence[Tensor], work: Callable[[], Tensor]
    ) -> Tensor:
        """Return the joined result of all parts, which has one entry for each example, (E, N, ...)."""
        first, others = self._workers.ask(request, number, params, parts, work)
        return torch.cat([first, *(other.to(first.device) for (other,) in others)], 1)


@torch.no_grad()
def mixes_examples(model: Model, example: tuple[int, ...]) -> bool:
    """Return whether an example's outputs depend on the others in its batch, by computing some in two batches.

    Parameters are drawn at random, so that nothing is degenerate; ``example`` is the shape of one example's inputs.
    """
    rng = generator(0, "replicas")
    params = {name: value + normal(value.shape, rng, 0.1) for name, value in model.init(1, rng).items()}
    kept, one, other = (some_inputs(model, params, example, rng) for _ in range(3))
    one, other = (model(params, torch.cat([kept, rest], 1))[:, :COMPARED] for rest in (one, other))
    return not torch.allclose(one, other, rtol=0.0, atol=1e-3 * one.abs().max().item(), equal_nan=True)


def some_inputs(model: Model, params: Params, example: tuple[int, ...], rng: Generator) -> Tensor:
    """Return inputs for one episode: real numbers or, if the network refuses these, whole ones, 0 and 1."""
    drawn = normal((1, COMPARED, *example), rng)
    try:
        model.manner(params, drawn)
    except Exception:  # the network may raise anything; on whole numbers it may do so again
        return integers((1, COMPARED, *example), 2, rng)
    return drawn
