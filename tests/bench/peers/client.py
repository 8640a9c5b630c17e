"""The benchmark's end of the line to a peer's process."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.peers.problem import Array, Problem, Product

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-bench" / "bin" / "python"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # XLA prefers vectors of 256 bits, whatever the processor has, and is up to an eighth slower for it.
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_prefer_vector_width=512".strip(),
}
"""What a peer's process is started with: one thread, and the widest registers that there are."""

NAMED = ("higher", "torchopt", "jax", "curvlinops-for-pytorch")
"""Packages whose versions belong to a measurement."""


class PeerError(Exception):
    """A peer is not installed, or failed."""


def versions() -> dict[str, str]:
    """Return the pinned versions of the peers, by package."""
    lines = [line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    return {name: version for name, version in lines if name in NAMED}


class Peer:
    """A peer's process, which is not waited for until it is asked.

    Args:
        module: What to run, with its arguments as a shell would have them: "tests.bench.peers.with_higher plain".
        python: The interpreter that has the peer's packages.

    Raises:
        PeerError: There is no such interpreter.
    """

    def __init__(self, module: str, python: Path = PYTHON) -> None:
        if not python.is_file():
            raise PeerError(f"no {PYTHON.parent.parent.name}: `make bench` makes it")
        self._complaints = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [str(python), "-m", *shlex.split(module)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
        )
        atexit.register(self.close)

    def load(self, name: str, problem: Problem | Product) -> None:
        """Give it a problem."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "problem.npz")
            problem.save(path)
            self._ask(f"load {name} {path}")

    def gradient(self, name: str) -> tuple[float, list[Array]]:
        """Return the meta-loss of a problem and its gradient; of a product ½·vᵀ·G·v and G·v."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "gradient.npz")
            loss = float(self._ask(f"gradient {name} {path}"))
            with np.load(path) as file:
                return loss, [file[f"arr_{index}"] for index in range(len(file.files))]

    def seconds(self, name: str, count: int) -> float:
        """Return the CPU time of so many meta-steps or products."""
        return float(self._ask(f"time {name} {count}"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may have ended before it was asked
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._complaints.close()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise PeerError(self._last_words()) from None
        kind, _, answer = self._process.stdout.readline().strip().partition(" ")
        if kind == "ok":
            return answer
        raise PeerError(answer if kind == "error" else self._last_words())

    def _last_words(self) -> str:
        self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().strip().splitlines()
        return lines[-1] if lines else f"ended with exit code {self._process.returncode}"
