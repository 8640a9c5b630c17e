"""All timings of the project in one table: ``python -m tests.bench``; tests/bench/README.md says what they mean."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench import (
    applying,
    cells,
    curved,
    figures,
    floors,
    growth,
    history,
    meta_step,
    mixing,
    online_rules,
    products,
    rules,
    table,
)
from tests.bench.samples import Case, Sample, interleaved, write_csv

OUTPUT = Path("outputs", "bench")
ROUNDS, BUDGET = 7, 0.4
QUICK_BUDGET = 0.05
"""Seconds that a contender is measured for in a round."""

BENCHES: dict[str, Callable[[float], list[Case]]] = {
    "meta-step": meta_step.cases,
    "threads": meta_step.thread_cases,
    "cells": cells.cases,
    "applying": applying.cases,
    "mixing": mixing.cases,
    "rules": rules.cases,
    "products": products.cases,
    "curved": curved.cases,
    "online": online_rules.cases,
    "growth": lambda budget: growth.cases(thinned=budget <= QUICK_BUDGET),
}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything, to see that it works")
    parser.add_argument("--only", choices=list(BENCHES), help="one bench alone")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds ({ROUNDS})")
    parser.add_argument(
        "--learned-optimization", type=Path, metavar="FOLDER", help="a checkout of google/learned_optimization"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"folder of CSV, figures and history ({OUTPUT})")
    return parser.parse_args()


def main() -> int:
    """Measure, print and write."""
    chosen, began = arguments(), time.monotonic()
    rounds = chosen.rounds or (1 if chosen.quick else ROUNDS)
    budget = QUICK_BUDGET if chosen.quick else BUDGET
    machine = history.machine()
    benches = BENCHES | {"meta-step": partial(meta_step.cases, learned_optimization=chosen.learned_optimization)}
    cases = floors.machine()
    try:
        for name in [chosen.only] if chosen.only else benches:
            say(f"preparing {name}")
            cases += benches[name](budget)
    except meta_step.Disagreement as error:
        say("")
        print(f"error: {error}", file=sys.stderr)
        return 1
    samples = interleaved(cases, rounds, say)
    say("")
    print(history.line(machine))
    table.show(table.build(cases, samples, rounds))
    for path in [*write(cases, samples, chosen.output), history.write(machine, samples, chosen.output / "history")]:
        print(path)
    print(f"{time.monotonic() - began:.0f} seconds")
    return 0


def say(what: str) -> None:
    """Show what is being done, on one line of a terminal; a live display's thread would be timed too."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def write(cases: list[Case], samples: list[Sample], folder: Path) -> list[Path]:
    """Write what was measured, and the figures of it."""
    write_csv(samples, folder / "samples.csv")
    written = [folder / "samples.csv"]
    compared = [case for case in cases if case.bench == "meta-step"]
    if compared:
        written += figures.meta_step(compared, samples, folder / "meta_step")
    if any(case.bench.startswith("growth") for case in cases):
        written += figures.growth(samples, folder / "growth")
    return written


if __name__ == "__main__":
    sys.exit(main())
