"""The fast path through a learned optimizer's unroll on a GPU: Triton's steps, in CUDA graphs.

A meta-step of small problems is hundreds of kernels of a few microseconds each, and starting them from Python takes
several times as long as running them.  So the unroll is recorded twice, once up to the losses and once back from them,
and afterwards replayed on new data; the meta-loss between the two stays ordinary torch.
Reference: ``Descent.unroll`` under automatic differentiation (Andrychowicz et al. 2016, §2).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Batches, Params
from l2l_cli.kernels.blocks import blocked, unblocked
from l2l_cli.kernels.gpu.coordinatewise import MOST_UNITS, TritonUnroll, padded
from l2l_cli.kernels.weights import Mode
from l2l_cli.learners.fast.unroll_cpu import State, shaped, weights_of
from l2l_cli.models.point import Point
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM, LSTMStates
from l2l_cli.tasks.base import Task

WARM_UPS = 3
"""Runs before a recording: kernels are compiled, and libraries choose their algorithms."""


class CudaUnroll:
    """Unrolls a coordinatewise LSTM on a task; one recording for each shape of the data that is met.

    Args:
        task: Whose model is fitted; its loss must not wait for the device.
        rule: The learned rule, on a GPU.
        state_dtype: Of the rule's states in memory, float32 or bfloat16.
        precision: Of products, as ``TritonUnroll`` explains.
        capture: Record CUDA graphs; without, every kernel is started from Python, as a profiler may want it.
    """

    def __init__(
        self,
        task: Task,
        rule: CoordinatewiseLSTM,
        state_dtype: torch.dtype = torch.float32,
        precision: str = "tf32",
        capture: bool = True,
    ) -> None:
        self.task = task
        self.rule = rule
        self._options = Options(state_dtype, precision, capture)
        self._recorded: dict[tuple[Any, ...], Recorded] = {}

    def losses(self, params: Params, memory: LSTMStates, batches: Batches) -> tuple[State, Tensor]:
        """Return what is known after T steps, and their losses (T, E), differentiable in φ; the state is constant."""
        inputs, targets = batches[:2]
        key = (inputs.shape, inputs.dtype, targets.shape, targets.dtype, *((k, v.shape) for k, v in params.items()))
        if key not in self._recorded:
            self._recorded[key] = Recorded(self.task, self.rule, Data(params, memory, batches), self._options)
        recorded = self._recorded[key]
        losses: Tensor = _Losses.apply(  # type: ignore[no-untyped-call]
            recorded, Data(params, memory, batches), *self.rule.parameters()
        )
        return (recorded.params(), recorded.memory()), losses


class Options(NamedTuple):
    """How an unroll is run: see ``CudaUnroll``."""

    state_dtype: torch.dtype
    precision: str
    capture: bool


class Data(NamedTuple):
    """What an unroll starts from and sees, besides φ."""

    params: Params
    memory: LSTMStates
    batches: Batches

    def tensors(self) -> list[Tensor]:
        """Return all of it as a list."""
        return [*self.params.values(), *self.memory[:2], *self.batches[:2]]

    def clone(self) -> Data:
        """Return a copy, detached."""
        return Data(
            {name: value.detach().clone() for name, value in self.params.items()},
            LSTMStates(*(value.detach().clone() for value in self.memory[:2])),
            Batches(*(value.detach().clone() for value in self.batches[:2])),
        )


class Recorded:
    """One unroll and its backward pass, on buffers of its own that every replay overwrites.

    Attributes:
        data: What the next replay of ``forward`` starts from.
        losses: Of the last replay, (T, E).
        of_losses: ∂objective/∂losses, for ``backward``.
        gradient: Of φ, in the order of the rule's parameters.
        number: Of replays: what ``backward`` differentiates is the last one.
    """

    def __init__(self, task: Task, rule: CoordinatewiseLSTM, data: Data, options: Options) -> None:
        self._phi = [value.detach().clone() for value in rule.parameters()]
        *cells, head, bias = self._phi
        layers = [cells[k : k + 3] for k in range(0, len(cells), 3)]
        weights = weights_of(rule)._replace(layers=layers, head=(head, bias))
        self._unroll = TritonUnroll(weights, options.state_dtype, options.precision)
        self.task = task
        self.data = data.clone()
        steps, device = data.batches.steps, head.device
        episodes = len(next(iter(data.params.values())))
        parts = [torch.arange(episodes).repeat_interleave(v.numel() // episodes) for v in data.params.values()]
        self._episode = torch.cat(parts).to(device)  # (C,): each coordinate belongs to one
        count = len(self._episode)
        # Rows begin where the kernel's widest loads may.
        self._gradients = torch.zeros(steps, padded(count), device=device)[:, :count]
        self._last = torch.zeros(count, device=device)
        self.losses = torch.zeros(steps, episodes, device=device)
        self.of_losses = torch.zeros_like(self.losses)
        self.gradient: list[Tensor] = []
        self.number = 0
        # Under Triton's interpreter there is no GPU, and nothing to record.
        capture = options.capture and device.type == "cuda"
        self.forward = recorded(self._forward, device) if capture else self._forward
        self.backward = recorded(self._backward, device) if capture else self._backward

    def take(self, data: Data, phi: Sequence[Tensor]) -> None:
        """Copy what the next replay is to use to where it will look."""
        values = [value.detach() for value in [*data.tensors(), *phi]]
        torch._foreach_copy_([*self.data.tensors(), *self._phi], values)

    def params(self) -> Params:
        """Return the parameters after the last step."""
        return shaped(self._last.clone(), self.data.params)

    def memory(self) -> LSTMStates:
        """Return the rule's memory after the last step."""
        return LSTMStates(*(blocked(value.float()) for value in self._unroll.state()))

    def _forward(self) -> None:
        """Take T steps: a gradient from torch, a move from the kernel."""
        params, memory, batches = self.data
        flat = torch.cat([value.flatten() for value in params.values()])
        hidden, cell = (unblocked(value, flat.numel()) for value in memory[:2])
        self._unroll.begin(hidden, cell, batches.steps)
        for t in range(batches.steps):
            point = Point(self.task.model, self.task.loss, shaped(flat, params), batches.at(t))
            torch.cat([value.flatten() for value in point.grad.values()], out=self._gradients[t])
            self.losses[t] = point.loss.detach()
            flat = self._unroll.advance(t, self._gradients[t], flat)
        self._last.copy_(flat)

    def _backward(self) -> None:
        """Weigh each coordinate's gradients by ∂objective/∂(its episode's losses), and go back through the moves."""
        weighted = self._gradients * self.of_losses[:, self._episode]
        # Σ over s > t: a move shows in all later losses.
        adjoint = weighted.flip(0).cumsum(0).flip(0) - weighted
        self.gradient = self._unroll.backward(adjoint)


def can_unroll(rule: CoordinatewiseLSTM) -> bool:
    """Say whether there are GPU kernels for a rule, and Triton to compile them."""
    known = weights_of(rule).presentation.mode != Mode.GIVEN
    small = rule.hidden <= MOST_UNITS and rule.head.weight.dtype == torch.float32
    return known and small and importlib.util.find_spec("triton") is not None


def recorded(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return the replay of a function as a CUDA graph; all that it reads and writes must stay where it is."""
    # A stream of its own: work that is already queued must not become a part of the graph.
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side), torch.no_grad():
        for _ in range(WARM_UPS):
            function()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        function()
    return graph.replay


class _Losses(torch.autograd.Function):
    """Losses as a function of φ."""

    @staticmethod
    def forward(ctx: Any, unroll: Recorded, data: Data, *phi: Tensor) -> Tensor:
        unroll.take(data, phi)
        unroll.forward()
        unroll.number += 1
        ctx.unroll, ctx.number = unroll, unroll.number
        return unroll.losses.clone()

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> Any:
        unroll: Recorded = ctx.unroll
        if ctx.number != unroll.number:
            raise RuntimeError("another window was unrolled since: differentiate one before the next is begun")
        unroll.of_losses.copy_(grad_losses)
        unroll.backward()
        return (None, None, *(value.clone() for value in unroll.gradient))
