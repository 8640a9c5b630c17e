"""Updates a second of each default meta-training, in interleaved rounds on one thread: medians, and their spread."""

from __future__ import annotations

import platform
import statistics
import time

import torch

from l2l_cli.config import compose
from l2l_cli.meta.train import MetaTraining
from l2l_cli.runs import build_learner, build_task, prepare

CASES = {
    "coordinatewise_lstm on quadratic": ["task=quadratic", "learner=coordinatewise_lstm"],
    "lstm on b14, 64 steps": ["task=b14", "learner=lstm", "learner.hidden=16"],
    "lstm on b16, 256 steps": ["task=b16", "learner=lstm", "learner.hidden=16"],
    "lstm on quadratic_function, 1000 steps": ["task=quadratic_function", "learner=lstm", "learner.readout=40"],
}
ROUNDS, SECONDS = 5, 1.0


def training(overrides: list[str]) -> MetaTraining:
    from l2l_cli.build import build

    settings = compose("meta-train", [*overrides, "meta.updates=1000000", "meta.validate_every=1000000"])
    prepare(settings.hardware)
    learner = build_learner(settings, build_task(settings))
    return MetaTraining(
        learner, build(settings.gradient, "gradient"), build(settings.optimizer, "optimizer"), settings.meta, 0
    )


def rate(run: MetaTraining) -> float:
    """Updates a second over about a second."""
    records, began, count = run.records(), time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        next(records)
        count += 1
    return count / (time.perf_counter() - began)


def main() -> None:
    runs = {name: training(overrides) for name, overrides in CASES.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        next(run.records())
    for _ in range(ROUNDS):
        for name, run in runs.items():
            rates[name].append(rate(run))
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, {ROUNDS} rounds")
    for name, values in rates.items():
        print(f"{name:42s} {statistics.median(values):8.1f} updates/s  ({min(values):.1f} … {max(values):.1f})")


if __name__ == "__main__":
    main()
