"""The kernels as they are compiled for a processor with registers of 256 bits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="another processor has no AVX2")
@pytest.mark.parametrize(
    "name",
    [
        "test_registers.py",
        "test_coordinatewise.py",
        "test_least_squares.py",
        "test_parameter_types.py",
        "test_sequence.py",
        "test_weights_in_cell.py",
    ],
)
def test_they_pass_the_same_tests(name, tmp_path):
    narrow = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / name)]
    done = subprocess.run(command, env=os.environ | narrow, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
