"""The GPU kernel where there is no GPU: its numbers by Triton's interpreter, and that it compiles, by its compiler."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from l2l_cli.kernels.gpu.coordinatewise import DeviceArena, TritonUnroll, shared_memory
from l2l_cli.kernels.weights import Weights
from l2l_cli.optimizers.fast.unroll_cuda import obstacle
from tests.cases import one_in

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed (it exists for Linux alone)"
)


def pytest_in_a_process(*arguments, **environment):
    """Triton decides when it is imported whether it interprets, and other tests may have imported it."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.slow
def test_the_interpreted_kernel_is_the_reference():
    # NumPy has one matrix product at a time to make, and those are tiny.
    pytest_in_a_process(
        str(Path(__file__).with_name("interpreted_triton.py")), TRITON_INTERPRET="1", OMP_NUM_THREADS="1"
    )


def pointers(kernel, state):
    """Types of the arguments that are no constants, as Triton writes them."""
    types = {"count": "i32", "pitch": "i32", "output_scale": "fp32"}
    wide = {"bias", "head", "gradient", "params", "moved", "grad_moves"}
    wide |= {f"grad_{name}" for name in ("hidden", "cell", "old_hidden", "old_cell")}
    for name in kernel.arg_names:
        if name.islower() and name not in types:
            types[name] = "*fp32" if name in wide else f"*{state}"
    return types


@needs_triton
@pytest.mark.parametrize(("direction", "state"), one_in(4, ["forward", "backward"], ["fp32", "bf16"]))
def test_the_kernel_compiles_for_hopper_with_the_shared_memory_that_is_known(direction, state, tmp_path, monkeypatch):
    """The interpreter takes Python that the compiler does not."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("Triton interprets in this process")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    triton = pytest.importorskip("triton", minversion="3.3")  # before, the compiler's own interface was another
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from l2l_cli.kernels.gpu import coordinatewise_steps as steps

    kernel = getattr(steps, direction)
    values = {"LAYERS": 2, "HIDDEN": 20, "UNITS": 32, "BLOCK": 64, "MODE": 1, "VALUE": 10.0, "SMALL": math.exp(-10.0)}
    values |= {"RECORD": True, "PRECISION": "tf32", "APPROXIMATE": True}
    types = pointers(kernel, state)
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    constants = {(at,): values[name] for at, name in enumerate(kernel.arg_names) if name not in types}
    source = ASTSource(kernel, signature, constants)
    program = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "enable_fp_fusion": True}
    )
    assert "mma.sync" in program.asm["ptx"]
    assert ".f64" not in program.asm["ptx"]  # a constant beyond float32 would make doubles of its neighbours
    assert program.metadata.shared <= shared_memory(20, {"fp32": torch.float32, "bf16": torch.bfloat16}[state])


def test_more_units_than_there_is_room_for_are_refused():
    layer = torch.zeros(4 * 65, 1), torch.zeros(4 * 65, 65), torch.zeros(4 * 65)
    with pytest.raises(ValueError, match="room for 64 units, not 65"):
        TritonUnroll(Weights([layer], (torch.zeros(1, 65), torch.zeros(1))), DeviceArena())


def test_a_device_with_too_little_shared_memory_is_told_apart(monkeypatch):
    """48 KiB is what every device gives a program, 227 KiB the most of an H100."""
    layer = torch.zeros(4 * 40, 1), torch.zeros(4 * 40, 40), torch.zeros(4 * 40)
    weights = Weights([layer], (torch.zeros(1, 40), torch.zeros(1)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    for there, wanted in ((99 * 1024, "147456 bytes of shared memory at 40 units; it has 101376"), (227 * 1024, "")):
        found = SimpleNamespace(shared_memory_per_block=48 * 1024, shared_memory_per_block_optin=there)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, found=found: found)
        assert obstacle(weights, torch.float32).endswith(wanted)
        assert obstacle(weights, torch.bfloat16) == ""


def test_importing_the_fast_path_imports_no_triton():
    code = "import sys; import l2l_cli.optimizers.fast.unroll_cuda; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
