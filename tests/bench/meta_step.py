"""Meta-steps a second: ours compiled, ours as reference, and the same LSTM in other libraries."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from l2l_cli.config.hardware import Hardware
from l2l_cli.runs.building import prepare
from tests.bench.floors import meta_step_work
from tests.bench.peers.client import Peer, PeerError
from tests.bench.peers.problem import Array, Problem
from tests.bench.peers.protocol import cpu_seconds
from tests.bench.problems import STEPS, Setting, meta_step_setting
from tests.bench.samples import Case, Measure
from tests.cases import on_path

CASES = ("quadratic", "mlp")
FAST, REFERENCE = "ours, fast", "ours, reference"
PEERS = {
    "higher": "tests.bench.peers.with_higher plain",
    "higher, rearranged": "tests.bench.peers.with_higher",
    "torchopt": "tests.bench.peers.with_torchopt plain",
    "torchopt, rearranged": "tests.bench.peers.with_torchopt",
    "jax": "tests.bench.peers.with_jax plain",
    "jax, rearranged": "tests.bench.peers.with_jax",
}
LEARNED_OPTIMIZATION = "learned_optimization"
GET_IT = "on no index: give a checkout of google/learned_optimization by LEARNED_OPTIMIZATION=FOLDER"
TOLERANCE = 1e-3
"""Of meta-gradients in float32, relative to the reference's norm."""


class Disagreement(Exception):
    """A contender computes something else, so that timing it would mean nothing."""


class Ours:
    """The project's learner as a contender."""

    def __init__(self, setting: Setting, fast: bool) -> None:
        self.setting = setting
        self.learner = on_path(setting.learner, fast)
        self.phi = list(setting.rule.parameters())
        self.adam = torch.optim.Adam(self.phi, lr=Problem.lr, fused=True)

    def meta_loss(self) -> torch.Tensor:
        """Return the mean of the losses over steps and episodes."""
        return self.learner.losses(self.setting.state, self.setting.batches)[1].mean()

    def gradient(self) -> tuple[float, list[Array]]:
        """Return the meta-loss and its gradient."""
        loss = self.meta_loss()
        return float(loss.detach()), [value.numpy() for value in torch.autograd.grad(loss, self.phi)]

    def meta_step(self) -> None:
        """Move φ once."""
        self.adam.zero_grad()
        self.meta_loss().backward()
        self.adam.step()


Seconds = Callable[[int], float]
"""Takes so many meta-steps and returns the seconds."""


def timed(seconds: Seconds, budget: float) -> Measure:
    """Return the measure of one meta-step by as many as take about ``budget`` seconds, compiled and warm before."""
    seconds(1)
    count = max(1, round(budget / seconds(1)))
    return lambda: {"ms": 1e3 * seconds(count) / count}


def relative_difference(found: list[Array], wanted: list[Array]) -> float:
    """Return ‖found − wanted‖ / ‖wanted‖ over all arrays; NaN counts as infinitely far."""
    one, other = (np.concatenate([value.ravel() for value in values]).astype(float) for values in (found, wanted))
    difference = float(np.linalg.norm(one - other) / np.linalg.norm(other))
    return difference if np.isfinite(difference) else float("inf")


def cases(budget: float, learned_optimization: Path | None = None) -> list[Case]:
    """Return both problems, once all contenders' meta-gradients have been compared.

    Args:
        budget: Seconds that a contender is measured for in a round.
        learned_optimization: Folder with a checkout of google/learned_optimization.

    Raises:
        Disagreement: Names the contender and the difference.
    """
    prepare(Hardware())
    peers, absent = _started(learned_optimization)
    prepared = [_compared(name, peers, dict(absent)) for name in CASES]
    for case, seconds in prepared:
        case.contenders |= {name: timed(measure, budget) for name, measure in seconds.items()}
    return [case for case, _ in prepared]


def _started(learned_optimization: Path | None) -> tuple[dict[str, Peer], dict[str, str]]:
    """Return the peers, which start side by side, and why others do not."""
    peers: dict[str, Peer] = {}
    absent: dict[str, str] = {}
    modules = dict(PEERS)
    if learned_optimization is None:
        absent[LEARNED_OPTIMIZATION] = GET_IT
    else:
        folder = shlex.quote(str(learned_optimization.resolve()))
        modules[LEARNED_OPTIMIZATION] = f"tests.bench.peers.with_learned_optimization {folder}"
    for name, module in modules.items():
        try:
            peers[name] = Peer(module)
        except PeerError as error:
            absent[name] = str(error)
    return peers, absent


def _compared(name: str, peers: dict[str, Peer], absent: dict[str, str]) -> tuple[Case, dict[str, Seconds]]:
    """Return a case without measures, and the clock of each contender; all of them agree with the reference."""
    setting = meta_step_setting(name)
    problem = setting.problem()
    work = meta_step_work(setting.rule, problem.coordinates, STEPS)
    case = Case(
        "meta-step", name, {}, absent, work=dict.fromkeys([FAST, REFERENCE, *PEERS, LEARNED_OPTIMIZATION], work)
    )
    ours = {FAST: Ours(setting, fast=True), REFERENCE: Ours(meta_step_setting(name), fast=False)}
    _, wanted = ours[REFERENCE].gradient()
    case.notes[REFERENCE] = "the gradient to agree with"
    case.notes[FAST] = check_agreement(name, FAST, ours[FAST].gradient()[1], wanted)
    seconds: dict[str, Seconds] = {contender: partial(cpu_seconds, program) for contender, program in ours.items()}
    for contender, peer in peers.items():
        try:
            peer.load(name, problem)
            _, found = peer.gradient(name)
        except PeerError as error:
            absent[contender] = str(error)
            continue
        case.notes[contender] = check_agreement(name, contender, found, wanted)
        seconds[contender] = partial(peer.seconds, name)
    return case, seconds


def check_agreement(case: str, contender: str, found: list[Array], wanted: list[Array]) -> str:
    """Return how close a contender's meta-gradient is.

    Raises:
        Disagreement: It is not close enough to be the same computation.
    """
    difference = relative_difference(found, wanted)
    if difference > TOLERANCE:
        raise Disagreement(
            f"{case}: the gradient of {contender} is {difference:.2g} away from the reference's, relatively; "
            f"more than {TOLERANCE:g} means that it computes something else, and nothing was timed"
        )
    return f"within {difference:.0e}"


def thread_cases(budget: float) -> list[Case]:
    """Return both problems on one and on two threads, by the clock on the wall."""
    return [_thread_case(name, budget) for name in CASES]


def _thread_case(name: str, budget: float) -> Case:
    program = Ours(meta_step_setting(name), fast=True)

    def wall_seconds(count: int, threads: int) -> float:
        prepare(Hardware(threads=threads))
        began = time.perf_counter()
        for _ in range(count):
            program.meta_step()
        seconds = time.perf_counter() - began
        prepare(Hardware())
        return seconds

    def on(threads: int) -> Measure:
        return timed(lambda count: wall_seconds(count, threads), budget)

    return Case("threads", name, {"1 thread": on(1), "2 threads": on(2)})
