"""The cost of a learned rule in use, without meta-gradients, beside Adam's."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from l2l_cli.learners.descent import DescentState
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from tests.bench.floors import applying_work
from tests.bench.meta_step import FAST, REFERENCE
from tests.bench.problems import Bowl, Setting
from tests.bench.samples import Case, Measure

SIZES = (100_000, 1_000_000)
ADAM = "torch's Adam, fused"


@torch.no_grad()
def apply_fast(setting: Setting, state: DescentState) -> DescentState:
    """Take one step as users do; ``Descent.step`` uses the compiled rule where there is one.

    The bowl's own gradient is part of it: a few passes over θ, next to hundreds over the rule's states.
    """
    return setting.learner.step(state, setting.batches.at(0))[0]


@torch.no_grad()
def apply_reference(setting: Setting, state: DescentState) -> DescentState:
    """Take one step of the rule alone, the gradient given."""
    moves, memory = setting.rule.update({"theta": setting.batches.inputs[0, :, 0]}, state.memory)
    return DescentState({name: value + moves[name] for name, value in state.params.items()}, memory)


def cases(budget: float) -> list[Case]:
    """Return a case for each number of coordinates."""
    return [_case(size, budget) for size in SIZES]


def _case(size: int, budget: float) -> Case:
    setting = Setting(Bowl(size), CoordinatewiseLSTM(), 1, steps=1)
    contenders = {
        FAST: timed(_stepping(setting, apply_fast), budget),
        REFERENCE: timed(_stepping(setting, apply_reference), budget),
        ADAM: timed(_adam(setting), budget),
    }
    work = dict.fromkeys([FAST, REFERENCE], applying_work(setting.rule, size))
    notes = {FAST: "with the bowl's gradient", REFERENCE: "gradient given", ADAM: "gradient given"}
    return Case("applying", f"{size:,} coordinates", contenders, notes=notes, work=work)


def timed(step: Callable[[], None], budget: float) -> Measure:
    """Return the measure of one step, over as many as fill the budget."""

    def measure() -> dict[str, float]:
        count, began = 0, time.process_time()
        while time.process_time() - began < budget:
            step()
            count += 1
        return {"ms": 1e3 * (time.process_time() - began) / count}

    step()
    return measure


def _stepping(setting: Setting, apply: Callable[[Setting, DescentState], DescentState]) -> Callable[[], None]:
    state = setting.state

    def step() -> None:
        nonlocal state
        state = apply(setting, state)

    return step


def _adam(setting: Setting) -> Callable[[], None]:
    theta = torch.nn.Parameter(setting.state.params["theta"].clone())
    theta.grad = setting.batches.inputs[0, :, 0].clone()
    adam = torch.optim.Adam([theta], fused=True)

    def step() -> None:
        adam.step()

    return step
