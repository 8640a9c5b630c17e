"""What is timed on a GPU: a copy, the rule in use, and meta-steps; what has to be compiled by others comes last."""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Phase
from l2l_cli.kernels.gpu.coordinatewise import DeviceArena, TritonUnroll
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.compiled import Fitting
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.fast.unroll_cuda import CudaUnroll, Options
from l2l_cli.optimizers.preprocess import LogAndSign
from l2l_cli.tasks.quadratic import Quadratic
from tests.bench.problems import ImageNetwork, Setting

COORDINATES = 11_000_000  # ResNet-18
COPIED = 2**29
UNROLL, SCALE = 20, 0.1
ROUNDS = 7


class Row(NamedTuple):
    """One measurement; times in milliseconds, bandwidth in GB/s."""

    subject: str
    program: str
    milliseconds: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    bandwidth: float | None = None
    note: str = ""


class Timing(NamedTuple):
    """What is to be measured.

    Attributes:
        subject: The work.
        program: What does it.
        measure: Measures it.
        is_ours: Whether the project has failed if it fails.
    """

    subject: str
    program: str
    measure: Callable[[], Row]
    is_ours: bool = True


class Unavailable(Exception):
    """A program is not here to be measured."""


def timings() -> Iterator[Timing]:
    """Yield everything in the order in which it is measured."""
    yield Timing("copy of 2 GiB", "torch", copy_rate)
    subject = f"apply to {COORDINATES / 1e6:.0f}e6 coordinates"
    for dtype in (torch.float32, torch.bfloat16):
        program = f"Triton, {str(dtype).removeprefix('torch.')} state"
        yield Timing(subject, program, partial(applied, subject, program, dtype))
    yield Timing(subject, "torch.optim.Adam, fused", partial(adam, subject))
    yield Timing(subject, "torch, eager", partial(eager, subject), is_ours=False)  # it may not find the memory
    for program, unrolling in UNROLLINGS.items():
        for name, (task, episodes) in cases().items():
            subject = f"meta-step, {name}"
            update = partial(meta_step, task, episodes, unrolling)
            yield Timing(subject, program, partial(on_host_row, subject, program, update))
    for name, (task, episodes) in cases().items():
        subject, program = f"meta-step, {name}", "torch.compile of the rule's step"
        update = partial(meta_step, task, episodes, None, compiled=True)
        yield Timing(subject, program, partial(on_host_row, subject, program, update), is_ours=False)
        yield Timing(subject, JAX, partial(jax_row, subject, task, episodes), is_ours=False)


def cases() -> dict[str, tuple[Any, int]]:
    """Return the tasks of meta-steps and the number of their episodes, by name."""
    return {"quadratic 128 × 10": (Quadratic(), 128), "784–20–10, 128": (ImageNetwork(), 1)}


class Unrolling(NamedTuple):
    """How the kernels' unroll is run."""

    capture: bool = True
    state_dtype: torch.dtype = torch.float32


UNROLLINGS: dict[str, Unrolling | None] = {
    "torch, eager": None,
    "Triton, from Python": Unrolling(capture=False),
    "Triton, CUDA graphs": Unrolling(),
    "Triton, CUDA graphs, bfloat16 state": Unrolling(state_dtype=torch.bfloat16),
}
JAX = "JAX, scan and checkpoint"


def on_device(function: Callable[[], object], repeat: int) -> list[float]:
    """Milliseconds a call by the device's own clock, in rounds of ``repeat`` calls; compiled and warm before."""
    for _ in range(3):
        function()
    times = []
    for _ in range(ROUNDS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(repeat):
            function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / repeat)
    return times


def on_host(function: Callable[[], object], wait: Callable[[], object], seconds: float = 0.3) -> list[float]:
    """Milliseconds a call by the wall clock: what meta-training takes, with all that Python does."""
    for _ in range(3):
        function()
    times = []
    for _ in range(ROUNDS):
        wait()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / ROUNDS or count < 3:
            function()
            count += 1
        wait()
        times.append(1e3 * (time.perf_counter() - began) / count)
    return times


def row(subject: str, program: str, times: list[float], size: float | None = None) -> Row:
    """Summarise; ``size`` is in bytes a call."""
    middle = statistics.median(times)
    return Row(subject, program, middle, min(times), max(times), None if size is None else size / middle / 1e6)


def copy_rate() -> Row:
    """What a copy within the device's memory reaches, read and written."""
    source = torch.randn(COPIED)
    target = torch.empty_like(source)
    size = 2 * source.numel() * source.element_size()
    return row("copy of 2 GiB", "torch", on_device(lambda: target.copy_(source), 10), size)


def bytes_moved(rule: CoordinatewiseLSTM, itemsize: int) -> int:
    """Bytes a coordinate: h and c read and written, the gradient and θ read, θ written."""
    return 2 * 2 * len(rule.cells) * rule.hidden * itemsize + 3 * 4


def applied_rule() -> CoordinatewiseLSTM:
    """The paper's rule for networks."""
    return CoordinatewiseLSTM(20, 2, LogAndSign(), SCALE)


def gradient_and_theta() -> list[torch.Tensor]:
    """Numbers for as many coordinates as a large network has."""
    rng = generator(0)
    return [normal((COORDINATES,), rng) for _ in range(2)]


def applied(subject: str, program: str, dtype: torch.dtype) -> Row:
    """One step of the rule by the kernel, without gradients."""
    rule, (gradient, theta) = applied_rule(), gradient_and_theta()
    unroll = TritonUnroll(rule.weights(), DeviceArena(), dtype)
    zero = torch.zeros(2, 20, COORDINATES, dtype=dtype)
    unroll.begin(zero, zero, 1, record=False)
    del zero
    turn = iter(range(10**9))
    times = on_device(lambda: unroll.advance(next(turn), gradient, theta), 10)
    return row(subject, program, times, COORDINATES * bytes_moved(rule, dtype.itemsize))


def adam(subject: str) -> Row:
    """One step of Adam on the same."""
    gradient, theta = gradient_and_theta()
    theta.grad = gradient
    return row(
        subject, "torch.optim.Adam, fused", on_device(torch.optim.Adam([theta], fused=True).step, 10), 28 * COORDINATES
    )


@torch.no_grad()
def eager(subject: str) -> Row:
    """One step of the reference."""
    rule, grad = applied_rule(), {"theta": gradient_and_theta()[0]}
    memory = rule.init(grad)
    return row(
        subject, "torch, eager", on_device(lambda: rule.update(grad, memory), 2), COORDINATES * bytes_moved(rule, 4)
    )


def on_host_row(subject: str, program: str, make: Callable[[], Callable[[], object]]) -> Row:
    """Meta-steps: 20 steps, back through them, and Adam."""
    return row(subject, program, on_host(make(), torch.cuda.synchronize))


def meta_step(task: Any, episodes: int, unrolling: Unrolling | None, compiled: bool = False) -> Callable[[], object]:
    """Return what makes one update of φ."""
    rule = CoordinatewiseLSTM(20, 2, output_scale=SCALE)
    learner = Descent(task, rule, paths=Paths(compiled=False))
    optimizer = torch.optim.Adam(rule.parameters(), lr=1e-3, fused=True)
    state = learner.init(episodes, generator(0))
    batches = task.sample(episodes, 0, Phase.META_TRAIN).batches(0, UNROLL)
    fast = None
    if unrolling is not None:
        fitting = Fitting(task.model, task.loss, paths=Paths(state_dtype=unrolling.state_dtype))
        fast = CudaUnroll(fitting, rule.weights(), Options(DeviceArena(), capture=unrolling.capture))
    if compiled:
        rule.update = torch.compile(rule.update)  # type: ignore[method-assign]

    def update() -> None:
        losses = fast.losses(state.params, state.memory, batches)[1] if fast else learner.losses(state, batches)[1]
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()

    return update


def jax_row(subject: str, task: Any, episodes: int) -> Row:
    """Meta-steps of JAX, where it is installed and finds the GPU."""
    if importlib.util.find_spec("jax") is None:
        raise Unavailable("jax is not installed")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    if jax.default_backend() != "gpu":
        raise Unavailable("jax finds no GPU")
    from tests.bench.peers.with_jax import Jax

    setting = Setting(task, CoordinatewiseLSTM(20, 2, output_scale=SCALE), episodes, UNROLL)
    return row(subject, JAX, on_host(Jax(setting.problem()).meta_step, lambda: None))
