"""Seed-steps a second of the compiled rules of 1997, in interleaved rounds on one thread: medians, and their spread."""

from __future__ import annotations

import platform
import statistics
import time

from l2l_cli.build import build
from l2l_cli.config import compose
from l2l_cli.meta.online import OnlineTraining
from l2l_cli.runs import build_learner, build_task, prepare

CASES = {
    "lstm1997, 697 weights": "B14-64",
    "lstm1997, 5373 weights": "quadratic-1000",
    "elman, 15 units": "elman",
    "recurrent, 20 units, BPTT(2)": "bptt2",
    "recurrent, 10 units, RTRL": "rtrl",
}
ROUNDS, SEQUENCES = 5, 16


def company(name: str) -> list[OnlineTraining]:
    """As many seeds as run side by side, on a small training set, so that a round is a fraction of a second."""
    runs: list[OnlineTraining] = []
    while not runs or len(runs) < runs[0].kernel.lanes:
        recipe = f"experiment=hochreiter2001/recipe/literal/{name}"
        settings = compose("meta-train", [recipe, f"seed={len(runs)}", f"task.functions={SEQUENCES}"])
        prepare(settings.hardware)
        rule, optimizer = build(settings.gradient, "gradient"), build(settings.optimizer, "optimizer")
        rule.horizon = type(rule)().horizon  # whole sequences at once, whatever the curriculum
        learner = build_learner(settings, build_task(settings))
        runs.append(OnlineTraining(learner, rule, optimizer, settings.meta, settings.seed))
    runs[0].together_with(runs)
    return runs


def rate(runs: list[OnlineTraining]) -> float:
    """Million seed-steps a second of processor time, over one epoch or more."""
    steps, began = 0, time.process_time()
    while time.process_time() - began < 0.3:
        for run in runs:
            run.update()
            steps += SEQUENCES * run.learner.task.horizon
    return steps / (time.process_time() - began) / 1e6


def main() -> None:
    runs = {name: company(recipe) for name, recipe in CASES.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for one in runs.values():
        rate(one)
    for _ in range(ROUNDS):
        for name, one in runs.items():
            rates[name].append(rate(one))
    print(f"{platform.processor() or platform.machine()}, Numba kernels, one thread, {ROUNDS} rounds")
    for name, values in rates.items():
        lanes = runs[name][0].kernel.lanes
        spread = f"({min(values):.2f} … {max(values):.2f})"
        print(f"{name:30s} {lanes} at once {statistics.median(values):8.2f} million seed-steps/s  {spread}")


if __name__ == "__main__":
    main()
