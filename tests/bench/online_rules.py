"""Seed-steps a second of the compiled rules of 1997, as many seeds side by side as the registers hold."""

from __future__ import annotations

import time

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.meta.online_training import OnlineTraining
from l2l_cli.runs.building import build_learner, build_task, prepare
from tests.bench.meta_step import FAST
from tests.bench.samples import Case, Measure

RECIPES = {
    "lstm1997, 697 weights": "B14-64",
    "lstm1997, 5373 weights": "quadratic-1000",
    "elman, 15 units": "elman",
    "recurrent, 20 units, BPTT(2)": "bptt2",
    "recurrent, 10 units, RTRL": "rtrl",
}
SEQUENCES = 16


def cases(budget: float) -> list[Case]:
    """Return a case for each rule and size."""
    found = []
    for name, recipe in RECIPES.items():
        runs = company(recipe)
        notes = {FAST: f"M seed-steps/s; {len(runs)} at once"}
        found.append(Case("1997 rules", name, {FAST: _rate(runs, budget)}, notes=notes))
    return found


def company(recipe: str) -> list[OnlineTraining]:
    """Return as many seeds as run side by side, on a small training set, so that a round is a fraction of a second."""
    runs: list[OnlineTraining] = []
    while not runs or len(runs) < runs[0].kernel.lanes:
        experiment = f"recipe=hochreiter2001/literal/{recipe}"
        settings = compose("meta-train", [experiment, f"seed={len(runs)}", f"task.functions={SEQUENCES}"])
        prepare(settings.hardware)
        rule, optimizer = build(settings.gradient, "gradient"), build(settings.optimizer, "optimizer")
        rule.horizon = type(rule)().horizon  # whole sequences at once, whatever the curriculum
        learner = build_learner(settings, build_task(settings))
        runs.append(OnlineTraining(learner, rule, optimizer, settings.meta, settings.seed))
    runs[0].together_with(runs)
    return runs


def _rate(runs: list[OnlineTraining], budget: float) -> Measure:
    """Return the measure of million seed-steps a second of CPU time, over one epoch or more."""

    def measure() -> dict[str, float]:
        steps, began = 0, time.process_time()
        while time.process_time() - began < budget:
            for run in runs:
                run.update()
                steps += SEQUENCES * run.learner.task.horizon
        return {"M seed-steps/s": steps / (time.process_time() - began) / 1e6}

    measure()
    return measure
