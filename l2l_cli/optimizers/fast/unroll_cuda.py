"""The fast path through a learned optimizer's unroll on a GPU: Triton's steps, in CUDA graphs.

A meta-step of small problems is hundreds of kernels of a few microseconds each, and starting them from Python takes
several times as long as running them.  So the unroll is recorded twice, once up to the losses and once back from them,
and afterwards replayed on new data; the meta-loss between the two stays ordinary torch.
Reference: ``Descent.unroll`` under automatic differentiation (Andrychowicz et al. 2016, §2).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Batches, Params
from l2l_cli.kernels.differentiable import differentiable
from l2l_cli.kernels.gpu.coordinatewise import TritonUnroll, padded, unknown
from l2l_cli.kernels.paths import TRITON
from l2l_cli.kernels.weights import Weights
from l2l_cli.models.point import Point
from l2l_cli.models.recorded_loss import in_turn
from l2l_cli.optimizers.compiled import Fitting, Unroll
from l2l_cli.optimizers.lstm_cell import LSTMStates

WARM_UPS = 3
"""Runs before a recording: kernels are compiled, and libraries choose their algorithms."""


class Options(NamedTuple):
    """How an unroll is run on a GPU.

    Attributes:
        precision: Precision of products, as ``TritonUnroll`` explains.
        capture: Whether CUDA graphs are recorded; without, every kernel is started from Python, as a profiler may want.
    """

    precision: str = "tf32"
    capture: bool = True


DEFAULT_OPTIONS = Options()


class CudaUnroll(Unroll[LSTMStates]):
    """Unrolls a coordinatewise LSTM on a task; one recording for each shape of the data that is met.

    Args:
        fitting: Model and loss to fit; the loss must not wait for the device.
        weights: φ, on a GPU.
        options: Options of the run.
    """

    path = TRITON

    def __init__(self, fitting: Fitting, weights: Weights, options: Options = DEFAULT_OPTIONS) -> None:
        self._fitting = fitting
        self._weights = weights
        self._options = options
        self._recorded: dict[Hashable, Recorded] = {}

    def losses(self, params: Params, memory: LSTMStates, batches: Batches) -> tuple[tuple[Params, LSTMStates], Tensor]:
        """Return θ and the memory after T steps, as constants, and the losses (T, E), differentiable in φ."""
        inputs, targets = batches[:2]
        key = (inputs.shape, inputs.dtype, targets.shape, targets.dtype, *((k, v.shape) for k, v in params.items()))
        data = UnrollData(params, memory, batches)
        if key not in self._recorded:
            self._recorded[key] = Recorded(self._fitting, self._weights, data, self._options)
        recorded = self._recorded[key]
        phi = self._weights.tensors
        (losses,) = differentiable(
            lambda: (recorded.replay(data, phi),), recorded.differentiate, lambda: recorded.replays, phi
        )
        return (recorded.params(), recorded.memory()), losses


class UnrollData(NamedTuple):
    """What an unroll starts from and sees, besides φ."""

    params: Params
    memory: LSTMStates
    batches: Batches

    def tensors(self) -> list[Tensor]:
        """Return all of it as a list."""
        return [*self.params.values(), *self.memory[:2], *self.batches[:2]]

    def clone(self) -> UnrollData:
        """Return a copy, detached."""
        return UnrollData(
            {name: value.detach().clone() for name, value in self.params.items()},
            LSTMStates(*(value.detach().clone() for value in self.memory[:2])),
            Batches(*(value.detach().clone() for value in self.batches[:2])),
        )


class Recorded:
    """One unroll and its backward pass, on buffers of its own that every replay overwrites.

    Args:
        fitting: Model and loss to fit.
        weights: φ.
        data: An example of what it is given.
        options: Options of the run.

    Attributes:
        data: Start and examples of the next replay of ``forward``.
        losses: Losses of the last replay, (T, E).
        grad_losses: ∂objective/∂losses, for ``backward``.
        gradient: Gradient of φ, in the order of the rule's parameters.
        replays: Number of replays so far: what ``backward`` differentiates is the last one.
    """

    def __init__(self, fitting: Fitting, weights: Weights, data: UnrollData, options: Options) -> None:
        self._phi = [value.detach().clone() for value in weights.tensors]
        self._unroll = TritonUnroll(weights.holding(self._phi), fitting.paths.state_dtype, options.precision)
        self._fitting = fitting
        self.data = data.clone()
        self._layout = in_turn(self.data.params)
        steps, device = data.batches.steps, self._phi[0].device
        episodes = len(next(iter(data.params.values())))
        parts = [torch.arange(episodes).repeat_interleave(v.numel() // episodes) for v in data.params.values()]
        self._episode = torch.cat(parts).to(device)  # (C,): each coordinate belongs to one
        count = len(self._episode)
        # Rows begin where the kernel's widest loads may.
        self._gradients = torch.zeros(steps, padded(count), device=device)[:, :count]
        self._last = torch.zeros(count, device=device)
        self.losses = torch.zeros(steps, episodes, device=device)
        self.grad_losses = torch.zeros_like(self.losses)
        self.gradient: list[Tensor] = []
        self.replays = 0
        # Under Triton's interpreter there is no GPU, and nothing to record.
        capture = options.capture and device.type == "cuda"
        self.forward = recorded(self._forward, device) if capture else self._forward
        self.backward = recorded(self._backward, device) if capture else self._backward

    def replay(self, data: UnrollData, phi: Sequence[Tensor]) -> Tensor:
        """Return the losses, (T, E), from another start, on other examples and with other parameters."""
        values = [value.detach() for value in [*data.tensors(), *phi]]
        torch._foreach_copy_([*self.data.tensors(), *self._phi], values)
        self.forward()
        self.replays += 1
        return self.losses.clone()

    def differentiate(self, grad_losses: Tensor) -> list[Tensor]:
        """Return the gradient of φ in the last replay, from ∂objective/∂losses (T, E)."""
        self.grad_losses.copy_(grad_losses)
        self.backward()
        return [value.clone() for value in self.gradient]

    def params(self) -> Params:
        """Return the parameters after the last step."""
        return self._layout.unpack(self._last.clone())

    def memory(self) -> LSTMStates:
        """Return the rule's memory after the last step."""
        memory_format = torch.contiguous_format
        states = (value.to(torch.float32, copy=True, memory_format=memory_format) for value in self._unroll.state())
        return LSTMStates(*states)

    def _forward(self) -> None:
        """Take T steps: a gradient from torch, a move from the kernel."""
        params, memory, batches = self.data
        theta = torch.cat([value.flatten() for value in params.values()])
        self._unroll.begin(memory.hidden, memory.cell, batches.steps)
        for t in range(batches.steps):
            point = Point(self._fitting.model, self._fitting.loss, self._layout.unpack(theta), batches.at(t))
            torch.cat([value.flatten() for value in point.grad.values()], out=self._gradients[t])
            self.losses[t] = point.loss.detach()
            theta = self._unroll.advance(t, self._gradients[t], theta)
        self._last.copy_(theta)

    def _backward(self) -> None:
        """Weigh each coordinate's gradients by ∂objective/∂(its episode's losses), and go back through the moves."""
        weighted = self._gradients * self.grad_losses[:, self._episode]
        # Σ over s > t: a move shows in all later losses.
        grad_moves = weighted.flip(0).cumsum(0).flip(0) - weighted
        self.gradient = self._unroll.backward(grad_moves)


def obstacle(weights: Weights) -> str:
    """Return why the GPU's kernels cannot run an LSTM here; empty if they can."""
    if why_not := unknown(weights):
        return why_not
    return "" if importlib.util.find_spec("triton") is not None else "Triton, which compiles them, is not installed"


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
