"""The GPU kernel on a GPU: first whether it is right, then how fast it is.  Writes outputs/bench/gpu.csv.

Exit codes: 0 all checks hold, 1 one does not, 2 there is nothing to run on.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.compiled import Fitting
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.fast.unroll_cuda import CudaUnroll, Options
from l2l_cli.optimizers.preprocess import LogAndSign
from l2l_cli.tasks.quadratic import Quadratic
from tests.bench.gpu_checks import Check, kernel_checks, unroll_checks
from tests.bench.problems import ImageNetwork, Setting

TARGET = Path("outputs/bench/gpu.csv")
COORDINATES = 11_000_000  # ResNet-18
UNROLL, SCALE = 20, 0.1
ROUNDS = 7


class Row(NamedTuple):
    """One measurement; times in milliseconds, bandwidth in GB/s, its share of what a copy reaches from 0 to 1."""

    subject: str
    program: str
    milliseconds: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    bandwidth: float | None = None
    share: float | None = None
    note: str = ""


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


def row(subject: str, program: str, times: list[float], size: float | None = None, peak: float | None = None) -> Row:
    """Summarise; ``size`` is in bytes a call, ``peak`` in GB/s."""
    middle = statistics.median(times)
    bandwidth = size / middle / 1e6 if size is not None else None
    share = bandwidth / peak if bandwidth is not None and peak is not None else None
    return Row(subject, program, middle, min(times), max(times), bandwidth, share)


def copy_rate() -> Row:
    """What a copy within the device's memory reaches, reading and writing 2 GiB."""
    source = torch.randn(2**29)
    target = torch.empty_like(source)
    size = 2 * source.numel() * source.element_size()
    return row("copy of 2 GiB", "torch", on_device(lambda: target.copy_(source), 10), size)


def bytes_moved(rule: CoordinatewiseLSTM, itemsize: int) -> int:
    """Bytes a coordinate: h and c read and written, the gradient and θ read, θ written."""
    return 2 * 2 * len(rule.cells) * rule.hidden * itemsize + 3 * 4


def applying(peak: float) -> Iterator[Row]:
    """One step of the rule on as many coordinates as a large network has, without gradients."""
    subject = f"apply to {COORDINATES / 1e6:.0f}e6 coordinates"
    rng = generator(0)
    rule = CoordinatewiseLSTM(20, 2, LogAndSign(), SCALE)
    gradient, theta = normal((COORDINATES,), rng), normal((COORDINATES,), rng)
    for dtype in (torch.float32, torch.bfloat16):
        zero = torch.zeros(2, 20, COORDINATES, dtype=dtype)
        unroll = rule_on_device(rule, dtype)
        unroll.begin(zero, zero, 1, record=False)
        del zero
        size = COORDINATES * bytes_moved(rule, dtype.itemsize)
        turn = iter(range(10**9))
        times = on_device(lambda u=unroll, t=turn: u.advance(next(t), gradient, theta), 10)
        yield row(subject, f"Triton, {str(dtype).removeprefix('torch.')} state", times, size, peak)
        del unroll
        torch.cuda.empty_cache()
    theta.grad = gradient
    adam = torch.optim.Adam([theta], fused=True)
    yield row(subject, "torch.optim.Adam, fused", on_device(adam.step, 10), 28 * COORDINATES, peak)
    del adam
    yield eager(subject, rule, gradient, peak)


def rule_on_device(rule: CoordinatewiseLSTM, dtype: torch.dtype) -> Any:
    from l2l_cli.kernels.gpu.coordinatewise import TritonUnroll

    return TritonUnroll(rule.weights(), dtype)


def eager(subject: str, rule: CoordinatewiseLSTM, gradient: torch.Tensor, peak: float) -> Row:
    """The reference, if it finds the memory."""
    try:
        with torch.no_grad():
            grad = {"theta": gradient}
            memory = rule.init(grad)
            times = on_device(lambda: rule.update(grad, memory), 2)
    except torch.OutOfMemoryError:
        return Row(subject, "torch, eager", note="out of memory")
    return row(subject, "torch, eager", times, COORDINATES * bytes_moved(rule, 4), peak)


def meta_steps() -> Iterator[Row]:
    """One update of φ: 20 steps, back through them, and Adam."""
    cases: list[tuple[str, Any, int]] = [
        ("quadratic 128 × 10", Quadratic(), 128),
        ("784–20–10, 128", ImageNetwork(), 1),
    ]
    for name, task, episodes in cases:
        subject = f"meta-step, {name}"
        for program, compiled, unroll in (
            ("torch, eager", False, None),
            ("torch.compile of the rule's step", True, None),
            ("Triton, from Python", False, Unrolling(capture=False)),
            ("Triton, CUDA graphs", False, Unrolling()),
            ("Triton, CUDA graphs, bfloat16 state", False, Unrolling(state_dtype=torch.bfloat16)),
        ):
            update = meta_step(task, episodes, compiled, unroll)
            try:
                yield row(subject, program, on_host(update, torch.cuda.synchronize))
            except Exception as error:
                if not compiled:
                    raise
                yield Row(subject, program, note=f"torch.compile failed: {type(error).__name__}")
        yield jax_row(subject, task, episodes)


class Unrolling(NamedTuple):
    """How the kernels' unroll is run."""

    capture: bool = True
    state_dtype: torch.dtype = torch.float32


def meta_step(task: Any, episodes: int, compiled: bool, unrolling: Unrolling | None) -> Callable[[], object]:
    rule = CoordinatewiseLSTM(20, 2, output_scale=SCALE)
    learner = Descent(task, rule, paths=Paths(compiled=False))
    optimizer = torch.optim.Adam(rule.parameters(), lr=1e-3, fused=True)
    state = learner.init(episodes, generator(0))
    batches = task.sample(episodes, 0, Phase.META_TRAIN).batches(0, UNROLL)
    fast = None
    if unrolling is not None:
        fitting = Fitting(task.model, task.loss, paths=Paths(state_dtype=unrolling.state_dtype))
        fast = CudaUnroll(fitting, rule.weights(), Options(capture=unrolling.capture))
    if compiled:
        rule.update = torch.compile(rule.update)  # type: ignore[method-assign]

    def update() -> None:
        losses = fast.losses(state.params, state.memory, batches)[1] if fast else learner.losses(state, batches)[1]
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()

    return update


def jax_row(subject: str, task: Any, episodes: int) -> Row:
    """JAX's row, measured where JAX is installed and finds the GPU."""
    program = "JAX, scan and checkpoint"
    if importlib.util.find_spec("jax") is None:
        return Row(subject, program, note="not available: jax is not installed")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    if jax.default_backend() != "gpu":
        return Row(subject, program, note="not available: jax finds no GPU")
    from tests.bench.peers.with_jax import Jax

    setting = Setting(task, CoordinatewiseLSTM(20, 2, output_scale=SCALE), episodes, UNROLL)
    return row(subject, program, on_host(Jax(setting.problem()).meta_step, lambda: None))


def show(rows: list[Row], console: Console) -> None:
    table = Table("what", "program", "ms", "fastest … slowest", "GB/s", "of a copy", "")
    for one in rows:
        cells = [one.subject, one.program, "", "", "", "", one.note]
        if one.milliseconds is not None:
            cells[2:4] = f"{one.milliseconds:.3f}", f"{one.fastest:.3f} … {one.slowest:.3f}"
        if one.bandwidth is not None:
            cells[4] = f"{one.bandwidth:.0f}"
        if one.share is not None:
            cells[5] = f"{one.share:.0%}"
        table.add_row(*cells)
    console.print(table)


def write(rows: list[Row]) -> None:
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("device", *Row._fields))
        writer.writerows((torch.cuda.get_device_name(), *one) for one in rows)


def hold(checks: Iterator[Check], console: Console) -> bool:
    """Print the checks that fail, and how many there were."""
    found = list(checks)
    for check in found:
        if not check.holds:
            console.print(f"FAILED {check.name}: relative error {check.error:.1e}, allowed {check.limit:.0e}")
    worst = max(found, key=lambda check: check.error / check.limit)
    console.print(f"{sum(check.holds for check in found)} of {len(found)} checks hold; nearest its limit: {worst.name}")
    return all(check.holds for check in found)


def main() -> int:
    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        print("bench-gpu needs a CUDA device and Triton; this machine has not both", file=sys.stderr)
        return 2
    torch.set_default_device("cuda")
    console = Console()
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    right = hold(kernel_checks(), console)
    right = hold(unroll_checks(), console) and right
    rows = [copy_rate()]
    assert rows[0].bandwidth is not None
    rows += applying(rows[0].bandwidth)
    rows += meta_steps()
    show(rows, console)
    write(rows)
    console.print(f"written to {TARGET}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
