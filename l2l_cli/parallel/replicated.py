"""A network whose batches are divided over processes: outputs, gradients and Gauss-Newton products in parallel.

Source: Chen and Lu 2018, who leave data-parallel MLHF to future work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from l2l_cli.autodiff.linearize import Linearization
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Params
from l2l_cli.models.model import Model, Trace
from l2l_cli.parallel.workers import Team, What

ASKED = 8
"""Examples whose outputs tell whether they are mixed; of a single one all units might be dead."""


class Replicated(Model):
    """The same network, each batch of which is answered by R processes, an equal part by each.

    Whatever is asked of a ``Point`` comes down to the outputs and to products with their Jacobian J = ∂outputs/∂θ.
    Of an example's outputs these are its own process's; of Jᵀ·u, the sum over processes.  The loss and its curvature
    are taken of all outputs together, so that any loss will do, and parts that differ by one example in size.
    Everything equals what one process finds, up to rounding; sums are taken in a fixed order, so that runs repeat bit
    for bit.  Under meta-training products are constant symmetric operators as ever.

    The calling process answers the first part itself; the others start when they are first needed, and end with it.
    They are on this machine: numbers go by shared memory, on GPUs by way of the host's.

    Traces of layers and second derivatives are refused; a batch of fewer examples than processes stays whole.

    Args:
        model: The network.
        replicas: R, at least 2.
        example: Shape of one example's inputs.

    Raises:
        UsageError: An example's outputs depend on the others in its batch.
    """

    def __init__(self, model: Model, replicas: int, example: tuple[int, ...]) -> None:
        super().__init__(model.module, model.initializer, model.in_turn, model.recompute)
        if mixes_examples(model, example):
            raise UsageError(
                f"hardware.replicas={replicas} divides each batch, but this task's model mixes the examples of one, as "
                "batch normalisation does: each process would normalise its own part, and fit another network; use "
                "hardware.replicas=1, or a task without normalisation, as cifar10_cudaconvnet"
            )
        self.replicas = replicas
        self._own = model
        self._numbers = itertools.count()
        self._team = Team(model, replicas)

    def close(self) -> None:
        """End the other processes; otherwise they end with this object, or with the program."""
        self._team.close()

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Answer inputs (E, N, ...) with parameters (E, ...); outputs are (E, N, ...)."""
        if inputs.shape[1] < self.replicas:
            return self._own(params, inputs)
        if torch.is_grad_enabled() and any(value.requires_grad for value in params.values()):
            return _Answer.apply(self.linearize(params, inputs), *params.values())  # type: ignore[no-untyped-call,no-any-return]
        own = inputs.tensor_split(self.replicas, 1)
        return self._joined("answer", 0, params, own, lambda: self._own(params, own[0].contiguous()))

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Answer, and keep in each process what products with its part of the Jacobian need."""
        if inputs.shape[1] < self.replicas:
            return self._own.linearize(params, inputs)
        number, parts = next(self._numbers), inputs.tensor_split(self.replicas, 1)
        mine: list[Linearization] = []

        def begin() -> Tensor:
            mine.append(self._own.linearize(params, parts[0].contiguous()))
            return mine[0].outputs

        outputs = self._joined("linearize", number, params, parts, begin)

        def push(v: Params) -> Tensor:
            return self._joined("push", number, {name: v[name] for name in params}, [], lambda: mine[0].push(v))

        def pull(u: Tensor) -> Params:
            divided = u.tensor_split(self.replicas, 1)
            total, others = self._team.ask("pull", number, {}, divided, lambda: mine[0].pull(divided[0].contiguous()))
            for other in others:
                total = {name: total[name] + value.to(u.device) for name, value in zip(params, other, strict=True)}
            return total

        linear = Linearization(outputs, push, pull)
        self._team.until_gone(linear, number)
        return linear

    def trace(self, params: Params, inputs: Tensor) -> Trace:
        """Refuse.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"curvature by layers, as kfac's, looks into one process, not into hardware.replicas={self.replicas}; use "
            "hardware.replicas=1, or hessian_free or a first-order rule"
        )

    def _joined(
        self, what: What, number: int, params: Params, parts: Sequence[Tensor], own: Callable[[], Tensor]
    ) -> Tensor:
        """Return what has one entry an example of all parts, (E, N, ...)."""
        mine, others = self._team.ask(what, number, params, parts, own)
        return torch.cat([mine, *(other.to(mine.device) for (other,) in others)], 1)


class _Answer(torch.autograd.Function):
    """Outputs as a function of the parameters."""

    @staticmethod
    def forward(ctx: Any, at: Linearization, *params: Tensor) -> Tensor:
        ctx.at = at
        return at.outputs.view_as(at.outputs)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True
            raise UsageError(
                "second derivatives, as of second_order=true or of Hessian products, are for one process; use "
                "hardware.replicas=1, or a learner that takes gradients and Gauss-Newton products"
            )
        return None, *ctx.at.pull(u).values()


@torch.no_grad()
def mixes_examples(model: Model, example: tuple[int, ...]) -> bool:
    """Say whether an example's outputs depend on the others in its batch, by asking for some in two batches.

    Args:
        model: The network; it is asked at random parameters, at which nothing is degenerate.
        example: Shape of one example's inputs.
    """
    rng = generator(0, "replicas")
    params = {name: value + normal(value.shape, rng, 0.1) for name, value in model.init(1, rng).items()}
    kept = normal((1, ASKED, *example), rng)
    one, other = (model(params, torch.cat([kept, normal((1, ASKED, *example), rng)], 1))[:, :ASKED] for _ in range(2))
    return not torch.allclose(one, other, rtol=0.0, atol=1e-3 * one.abs().max().item(), equal_nan=True)
