"""How time and memory of one meta-step grow with coordinates, with the length of the unroll, and with problems.

Each point runs in a process of its own, forked from one that has only imported the libraries.  Peak memory is that of
the process during its first meta-step (``ru_maxrss``) above what it held when the step began, so that neither the
libraries nor the problem's data count; where Linux allows it, the peak is reset before.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from l2l_cli.config.hardware import Hardware
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.results.provenance import forget_peak_memory, own_peak_memory
from l2l_cli.runs.building import prepare
from l2l_cli.tasks.quadratic import Quadratic
from tests.bench.meta_step import FAST, REFERENCE, Ours
from tests.bench.problems import Bowl, Setting
from tests.bench.samples import Case, Measure

SIZES = {
    "coordinates": (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000),
    "unroll": (5, 10, 20, 40, 80, 160),
    "problems": (8, 16, 32, 64, 128, 256, 512, 1024),
}
LABELS = {
    "coordinates": "coordinates, unroll 20",
    "unroll": "unroll, 128 quadratics × 10",
    "problems": "quadratics × 10, unroll 20",
}
MOST_OF_REFERENCE = {"coordinates": 30_000, "unroll": 160, "problems": 1024}
"""Automatic differentiation keeps some 8 kB for each coordinate and step: at 1e5 coordinates 16 GB."""
ROUNDS = 3


def cases(thinned: bool) -> list[Case]:
    """Return a case for each axis and size; ``thinned`` leaves the ends of each axis."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bench.growth"])
    pool = ProcessPoolExecutor(1, context, max_tasks_per_child=1)
    found = []
    for axis, sizes in SIZES.items():
        for size in (sizes[0], sizes[len(sizes) // 2]) if thinned else sizes:
            contenders: dict[str, Measure] = {
                name: partial(_in_own_process, pool, axis, size, name == FAST)
                for name in (FAST, REFERENCE)
                if name == FAST or size <= MOST_OF_REFERENCE[axis]
            }
            found.append(Case(f"growth: {axis}", str(size), contenders, rounds=ROUNDS))
    return found


def _in_own_process(pool: ProcessPoolExecutor, axis: str, size: int, fast: bool) -> dict[str, float]:
    return pool.submit(point, axis, size, fast).result()


def setting(axis: str, size: int) -> Setting:
    """Return what a point of an axis stands for."""
    made: dict[str, Callable[[], Setting]] = {
        "coordinates": lambda: Setting(Bowl(size), CoordinatewiseLSTM(), 1),
        "unroll": lambda: Setting(Quadratic(), CoordinatewiseLSTM(), 128, steps=size),
        "problems": lambda: Setting(Quadratic(), CoordinatewiseLSTM(), size),
    }
    return made[axis]()


def point(axis: str, size: int, fast: bool, budget: float = 0.2) -> dict[str, float]:
    """Measure a meta-step: MB at its peak, and ms of CPU time once it is warm."""
    prepare(Hardware())
    Ours(setting("problems", 1), fast).meta_step()  # loads the kernels
    program = Ours(setting(axis, size), fast)
    forget_peak_memory()
    before = own_peak_memory()
    program.meta_step()
    memory = (own_peak_memory() - before) / 1e6
    seconds: list[float] = []
    while sum(seconds) < budget:
        began = time.process_time()
        program.meta_step()
        seconds.append(time.process_time() - began)
    return {"ms": 1e3 * sorted(seconds)[len(seconds) // 2], "MB": memory}
