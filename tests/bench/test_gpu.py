"""The GPU's benchmark where there is no GPU: what it needs, and that nothing that fails takes the rest along."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from tests.bench.gpu import hold, measure_all, show
from tests.bench.gpu_checks import Check, LeftOut
from tests.bench.gpu_timings import Row, Timing, Unavailable, timings

NOT_NEEDED = ["pandas", "matplotlib", "hydra", "omegaconf", "typer", "safetensors", "pydantic", "sklearn", "PIL"]

REHEARSAL = """
import torch
from pathlib import Path
from types import SimpleNamespace
from l2l_cli.optimizers.preprocess import Identity
from l2l_cli.tasks.quadratic import Quadratic
from tests.bench import gpu, gpu_checks, gpu_timings

gpu_timings.COORDINATES = gpu_timings.COPIED = 300
gpu_timings.UNROLL = gpu_checks.STEPS = 2
del gpu_checks.LIMITS["tf32", torch.bfloat16]  # the interpreter multiplies the bits of these numbers
gpu_timings.cases = lambda: {"small": (Quadratic(3), 2)}
gpu_timings.on_device = gpu_timings.on_host = lambda function, *rest: (function(), [1.0])[1]
gpu_checks.Quadratic = lambda dimension: Quadratic(2)
gpu_checks.ImageNetwork = lambda: Quadratic(3)
gpu.kernel_trials = lambda: gpu_checks.kernel_trials([(Identity(), 1, 8, 40)])
torch.cuda.is_available = lambda: True
torch.cuda.get_device_name = lambda: "none"
torch.cuda.get_device_properties = lambda device: SimpleNamespace(shared_memory_per_block=2**20)
torch.cuda.empty_cache = torch.cuda.synchronize = lambda: None
torch.set_default_device = lambda device: None
torch.compile = lambda function: function
sys.exit(gpu.main(Path(sys.argv[1])))
"""
"""The whole program on the CPU, by Triton's interpreter, with little to do."""


def without_packages(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which only the few packages that a GPU's machine must have can be imported."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED!r}))\n"
    command = [sys.executable, "-c", blocked + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_it_needs_no_more_than_it_says():
    done = without_packages("import tests.bench.gpu")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_all_of_it_runs_without_a_gpu(tmp_path):
    done = without_packages(REHEARSAL, str(tmp_path / "gpu.csv"), TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broke off" in done.stdout
    notes = [line.rpartition(",")[2] for line in (tmp_path / "gpu.csv").read_text().splitlines()[1:]]
    assert len(notes) == 11
    assert {note for note in notes if note} <= {
        "not available: jax is not installed",
        "not available: jax finds no GPU",
    }


def fail() -> list[Check]:
    raise RuntimeError("no kernel\nand more")


def leave_out() -> list[Check]:
    raise LeftOut("too small")


def test_a_check_that_breaks_off_is_reported_and_the_others_go_on():
    console = Console(file=io.StringIO(), width=200)
    right = lambda: [Check("right", 0.5, 1.0)]  # noqa: E731
    assert hold([("right", right), ("out", leave_out)], console)
    assert not hold([("broken", fail), ("right", right)], console)
    assert not hold([("wrong", lambda: [Check("wrong", 2.0, 1.0), Check("nan", float("nan"), 1.0)])], console)
    lines = console.file.getvalue().splitlines()
    assert "left out out: too small" in lines
    assert "FAILED broken: RuntimeError: no kernel" in lines
    assert "1 of 1 checks hold, 1 broke off; nearest its limit: right" in lines
    assert "FAILED wrong: relative error 2.0e+00, allowed 1e+00" in lines


def test_rows_are_written_as_they_come_and_only_ours_may_not_fail(tmp_path):
    target = tmp_path / "gpu.csv"
    seen = []

    def measure() -> Row:
        seen.append(target.read_text().splitlines())
        return Row("copy", "torch", 1.0, 0.9, 1.1, 100.0)

    def unavailable() -> Row:
        raise Unavailable("not installed")

    every = [
        Timing("copy", "torch", measure),
        Timing("b", "jax", unavailable),
        Timing("c", "other", fail, is_ours=False),
    ]
    rows, well = measure_all([*every, every[0]], "some GPU", target)
    assert well
    assert [len(lines) for lines in seen] == [1, 4]  # the heading, and each row before the next is measured
    assert [row.note for row in rows] == ["", "not available: not installed", "failed: RuntimeError: no kernel", ""]
    show(rows, Console(file=io.StringIO()))
    assert not measure_all([Timing("d", "ours", fail)], "some GPU", target)[1]


def test_what_others_compile_comes_last():
    order = [timing.is_ours for timing in timings() if timing.program != "torch, eager"]
    assert order == sorted(order, reverse=True)
