"""The compiled path through a learned rule's unroll on a GPU: Triton kernels in CUDA graphs.

A meta-update on small problems takes hundreds of kernels of a few microseconds each, and launching them from Python
takes several times as long as running them.  So an unroll whose shapes recur is recorded as two graphs, one up to the
losses and one back from them, and replayed on new data; the meta-loss between the two is computed by ordinary torch.
Reference: ``Descent.unroll`` under automatic differentiation (Andrychowicz et al. 2016, §2).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.tree import leaves, tree_map
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.kernels.differentiable import differentiable
from l2l_cli.kernels.gpu.coordinatewise import DeviceArena, TritonUnroll, padded, shared_memory, unknown
from l2l_cli.kernels.paths import TRITON
from l2l_cli.kernels.weights import Weights
from l2l_cli.models.point import Point
from l2l_cli.models.recorded_loss import in_turn
from l2l_cli.optimizers.compiled import Fitting, Unroll
from l2l_cli.optimizers.lstm_cell import LSTMStates

WINDOW = 20
"""Number of steps in one recording of an unroll without derivatives; as many batches are in memory at once."""

WARM_UPS = 3
"""Number of runs before a recording, in which kernels are compiled and libraries choose their algorithms."""


Start = tuple[Params, LSTMStates, Batches]
"""Everything that an unroll depends on besides φ: parameters, memory and batches."""


class Options(NamedTuple):
    """How an unroll is run on a GPU.

    Attributes:
        arena: Memory that all unrolls of the rule share.
        precision: Precision of products, as ``TritonUnroll`` explains.
        capture: Whether CUDA graphs are recorded; if not, Python launches every kernel, as a profiler may need.
    """

    arena: DeviceArena
    precision: str = "tf32"
    capture: bool = True


class CudaUnroll(Unroll[LSTMStates]):
    """Unrolls a coordinatewise LSTM on a task, with buffers and recordings for each shape of data that occurs.

    Args:
        fitting: Model and loss to fit; the loss must not wait for the device.
        weights: φ, on a GPU.
        options: Options of the run.
    """

    path = TRITON

    def __init__(self, fitting: Fitting, weights: Weights, options: Options) -> None:
        self._fitting, self._weights, self._options = fitting, weights, options
        self._recorded: dict[Hashable, Recorded] = {}

    def losses(self, params: Params, memory: LSTMStates, batches: Batches) -> tuple[tuple[Params, LSTMStates], Tensor]:
        """Return θ and the memory after T steps, as constants, and the losses (T, E), differentiable in φ."""
        data, phi = (params, memory, batches), self._weights.tensors
        recorded = self._recorded_for(data, keep=True)
        (losses,) = differentiable(
            lambda: (recorded.replay(data, phi),), recorded.differentiate, lambda: self._options.arena.uses, phi
        )
        return (recorded.params(), recorded.memory()), losses

    def answers(
        self, params: Params, memory: LSTMStates, read: Callable[[int], Batch], steps: int
    ) -> tuple[tuple[Params, LSTMStates], Tensor]:
        """Return θ and the memory after T steps, and the outputs (T, E, N, ...), without any derivative."""
        outputs = []
        for start in range(0, steps, WINDOW):
            window = [read(step) for step in range(start, min(start + WINDOW, steps))]
            inputs, targets = ([getattr(batch, name) for batch in window] for name in ("inputs", "targets"))
            batches = Batches(torch.stack(inputs), torch.stack(targets))
            recorded = self._recorded_for((params, memory, batches), keep=False)
            recorded.replay((params, memory, batches), self._weights.tensors)
            params, memory = recorded.params(), recorded.memory()
            outputs.append(recorded.outputs.clone())
        return (params, memory), torch.cat(outputs)

    def _recorded_for(self, data: Start, keep: bool) -> Recorded:
        key = keep, *((name, value.shape, value.dtype) for name, value in leaves(data))
        if key not in self._recorded:
            self._recorded[key] = Recorded(self._fitting, self._weights, data, self._options, keep)
        return self._recorded[key]


class Recorded:
    """One unroll and its backward pass, on buffers that every replay overwrites.

    Args:
        fitting: Model and loss to fit.
        weights: φ.
        data: Data of the shapes and types that it will be given.
        options: Options of the run.
        keep: Whether all steps are remembered for ``differentiate``, rather than their outputs.

    Attributes:
        losses: Losses of the last replay, (T, E).
        outputs: Outputs of the last replay, (T, E, N, ...), if the steps are not kept.
        gradient: Gradient of φ, in the order of the rule's parameters.
    """

    def __init__(self, fitting: Fitting, weights: Weights, data: Start, options: Options, keep: bool) -> None:
        self._phi = [value.detach().clone() for value in weights.tensors]
        dtype, self._arena, self._keep = fitting.paths.state_dtype, options.arena, keep
        self._unroll = TritonUnroll(weights.holding(self._phi), options.arena, dtype, options.precision)
        self._fitting = fitting
        self._data = tree_map(lambda value: value.detach().clone(), data)
        params, _, batches = self._data
        self._layout = in_turn(params)
        steps, device = batches.steps, self._phi[0].device
        episodes = len(next(iter(params.values())))
        parts = [torch.arange(episodes).repeat_interleave(value.numel() // episodes) for value in params.values()]
        self._episode = torch.cat(parts).to(device)  # (C,): each coordinate belongs to one
        count = len(self._episode)
        # Rows are aligned for the kernel's widest loads.
        self._gradients = torch.zeros(steps if keep else 1, padded(count), device=device)[:, :count]
        self._last = torch.zeros(count, device=device)
        self.losses = torch.zeros(steps, episodes, device=device)
        self._grad_losses = torch.zeros_like(self.losses)
        self.gradient: list[Tensor] = []
        self.outputs: Tensor
        # Under Triton's interpreter there is no GPU, and nothing to record.
        capture = options.capture and device.type == "cuda"
        self._forward, self._backward = (
            Repeated(each, device) if capture else each for each in (self._unrolled, self._differentiated)
        )

    def replay(self, data: Start, phi: Sequence[Tensor]) -> Tensor:
        """Return the losses, (T, E), for other data and another φ, of the same shapes."""
        old, new = ([value for _, value in leaves(each)] for each in (self._data, data))
        torch._foreach_copy_([*old, *self._phi], [value.detach() for value in (*new, *phi)])
        self._forward()
        self._arena.uses += 1
        return self.losses.clone()

    def differentiate(self, grad_losses: Tensor) -> list[Tensor]:
        """Return the gradient of φ in the last replay, from ∂objective/∂losses (T, E)."""
        self._grad_losses.copy_(grad_losses)
        self._backward()
        return [value.clone() for value in self.gradient]

    def params(self) -> Params:
        """Return the parameters after the last step."""
        return self._layout.unpack(self._last.clone())

    def memory(self) -> LSTMStates:
        """Return the rule's memory after the last step."""
        memory_format = torch.contiguous_format
        states = (value.to(torch.float32, copy=True, memory_format=memory_format) for value in self._unroll.state())
        return LSTMStates(*states)

    def _unrolled(self) -> None:
        """Take T steps: a gradient from torch, a move from the kernel."""
        params, memory, batches = self._data
        theta, outputs = torch.cat([value.flatten() for value in params.values()]), []
        self._unroll.begin(memory.hidden, memory.cell, batches.steps, self._keep)
        for t in range(batches.steps):
            point = Point(self._fitting.model, self._fitting.loss, self._layout.unpack(theta), batches.at(t))
            gradient = self._gradients[t % len(self._gradients)]
            torch.cat([value.flatten() for value in point.grad.values()], out=gradient)
            self.losses[t] = point.loss.detach()
            if not self._keep:  # an answer may be a view of θ, which the next step but one overwrites
                outputs.append(point.outputs.detach().clone())
            theta = self._unroll.advance(t, gradient, theta)
        self._last.copy_(theta)
        self.outputs = torch.stack(outputs) if outputs else self._last

    def _differentiated(self) -> None:
        """Weight each coordinate's gradients by ∂objective/∂(its episode's losses), and back-propagate the moves."""
        weighted = self._gradients * self._grad_losses[:, self._episode]
        # Σ over s > t: a move affects all later losses.
        grad_moves = weighted.flip(0).cumsum(0).flip(0) - weighted
        self.gradient = self._unroll.backward(grad_moves)


def obstacle(weights: Weights, state_dtype: torch.dtype) -> str:
    """Return why the GPU's kernels cannot run an LSTM here; empty if they can."""
    if why_not := unknown(weights):
        return why_not
    properties = torch.cuda.get_device_properties(weights.head[0].device)
    there = getattr(properties, "shared_memory_per_block_optin", properties.shared_memory_per_block)
    if (asked := shared_memory(weights.hidden, state_dtype)) > there:
        return f"the GPU's kernels ask for {asked} bytes of shared memory at {weights.hidden} units; it has {there}"
    return "" if importlib.util.find_spec("triton") is not None else "Triton, which compiles them, is not installed"


class Repeated:
    """A function that is called directly the first time, and from then on is replayed as a CUDA graph.

    The addresses that it reads and writes must not change.  A function that is called only once, as in many
    evaluations, is not worth recording.
    """

    def __init__(self, function: Callable[[], None], device: torch.device) -> None:
        self._function, self._device, self._calls = function, device, 0
        self._graph = torch.cuda.CUDAGraph()

    def __call__(self) -> None:
        """Call the function, or replay its graph."""
        self._calls += 1
        if self._calls == 2:
            self._record()
        (self._graph.replay if self._calls > 1 else self._function)()

    @torch.no_grad()
    def _record(self) -> None:
        # On a separate stream, since work that is already queued must not become part of the graph.
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._function()
        torch.cuda.current_stream(self._device).wait_stream(side)
        with torch.cuda.graph(self._graph):
            self._function()
