"""What was measured, and what is made of it: ratios within a round, their spread, and slopes."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One number of one round."""

    bench: str
    case: str
    contender: str
    round: int
    value: float
    unit: str


Measure = Callable[[], dict[str, float]]
"""Measures a contender once: {unit: value}."""


class Work(NamedTuple):
    """What no contender can do without, for the time that is measured: operations, and bytes to or from memory."""

    flops: float
    moved: float


@dataclass
class Case:
    """Contenders for one piece of work.

    Attributes:
        bench: The group of cases that it belongs to.
        name: Of the case.
        contenders: How to measure each; the first is what the others are compared with.
        absent: Why others could not take part.
        notes: What else to say of a contender.
        work: What each contender's floors are made of, where times are measured.
        rounds: At most so many, for what takes long.
    """

    bench: str
    name: str
    contenders: dict[str, Measure]
    absent: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)
    rounds: int = 1_000


def interleaved(cases: Sequence[Case], rounds: int, say: Callable[[str], None]) -> list[Sample]:
    """Measure everything once a round, in an order that turns round each time: drifts of the machine hit all alike."""
    samples = []
    for number in range(rounds):
        for case in cases:
            if number >= case.rounds:
                continue
            order = list(case.contenders.items())
            for name, measure in order if number % 2 == 0 else reversed(order):
                say(f"round {number + 1} of {rounds}: {case.bench}, {case.name}, {name}")
                found = measure()
                samples += [Sample(case.bench, case.name, name, number, value, unit) for unit, value in found.items()]
    return samples


class Spread(NamedTuple):
    """Median, least and greatest of some rounds."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """Return the spread of at least one value."""
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1])


def by_round(samples: Iterable[Sample], bench: str, case: str, contender: str, unit: str) -> dict[int, float]:
    """Return a contender's values by round."""
    wanted = (bench, case, contender, unit)
    return {s.round: s.value for s in samples if (s.bench, s.case, s.contender, s.unit) == wanted}


def ratios(values: dict[int, float], baseline: dict[int, float]) -> list[float]:
    """Return value ÷ baseline of each round that has both."""
    return [value / baseline[number] for number, value in values.items() if baseline.get(number)]


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the exponent p of the least-squares fit value ∝ sizeᵖ; NaN without two positive values."""
    points = [(size, value) for size, value in zip(sizes, values, strict=True) if value > 0]
    if len(points) < 2:
        return float("nan")
    x, y = np.log(points).T
    return float(np.polyfit(x, y, 1)[0])


def write_csv(samples: Iterable[Sample], path: Path) -> None:
    """Write one sample a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in fields(Sample)])
        writer.writerows(astuple(sample) for sample in samples)
