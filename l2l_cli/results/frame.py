"""Tidy records: the metrics of a run, and one row for each published number."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.results.run import atomic_write


class Metric(NamedTuple):
    """One number: ``episode`` is an index or the name of a statistic over episodes, such as "mean"."""

    contender: str
    seed: int
    episode: str
    step: int
    split: str
    metric: str
    value: float


class MetricsFile:
    """metrics.csv: appended to while a run goes on, cut back to the checkpoint when it is resumed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, rows: Iterable[Metric]) -> None:
        """Write rows at the end."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self.length() == 0:
            writer.writerow(Metric._fields)
        # repr is the shortest text that reads back as the very same float.
        writer.writerows((*row[:-1], repr(float(row.value))) for row in rows)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())

    def length(self) -> int:
        """Return the size in bytes, which a checkpoint remembers."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, length: int) -> None:
        """Drop what was written after a checkpoint, so that the resumed run writes it again.

        Raises:
            RunFailed: The file is shorter than the checkpoint says, so rows are lost.
        """
        if self.length() < length:
            raise RunFailed(
                f"{self.path} has {self.length()} bytes, its checkpoint says {length}: rows are lost; delete "
                f"{self.path.parent} and run again"
            )
        if self.path.exists():
            os.truncate(self.path, length)

    def read(self) -> pd.DataFrame:
        """Read all rows but a torn last one, which a killed run may leave behind."""
        data = self.path.read_bytes() if self.path.exists() else b""
        whole, _, _ = data.rpartition(b"\n")
        text = whole.decode() or ",".join(Metric._fields)
        # All as text at first: a name may look like a number or like nothing ("0", "None"), and pandas' own parser may
        # miss the last digit of a float that was written to be read back exactly.
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        numbers = {"seed": int, "step": int, "value": float}
        return frame.assign(**{name: np.array([*map(kind, frame[name])], kind) for name, kind in numbers.items()})


@dataclass(frozen=True)
class Result:
    """One published number beside ours; the columns of results.csv in their order.

    Attributes:
        artefact: Table or figure.
        row: In the table.
        metric: In the row.
        paper: The published number.
        ours: Mean over seeds, or the median where the note says so.
        sd: Standard deviation over seeds.
        seeds: How many.
        limit: The best that is possible.
        ratio_to_limit: ``ours`` as a multiple of it.
        verdict: See ``RULE``.
        note: Whatever a reader must know.
    """

    artefact: str
    row: str
    metric: str
    paper: float | None
    ours: float | None
    sd: float | None
    seeds: int
    limit: float | None
    ratio_to_limit: float | None
    verdict: str
    note: str


COLUMNS = tuple(field.name for field in fields(Result))
"""Of results.csv."""

_NUMBERS = ("paper", "ours", "sd", "limit", "ratio_to_limit")


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write results.csv; what is unknown is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(result) for result in results)
    atomic_write(path, text.getvalue())


def read_results(path: Path) -> list[Result]:
    """Read results.csv.

    Raises:
        UsageError: It has other columns.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UsageError(f"{path} is no results.csv of this version: its columns are not {', '.join(COLUMNS)}")
        return [_result(row) for row in reader]


def frame_of(results: Sequence[Result]) -> pd.DataFrame:
    """Return results as a frame with the columns of results.csv."""
    return pd.DataFrame([astuple(result) for result in results], columns=list(COLUMNS))


def _result(row: dict[str, str]) -> Result:
    numbers = {name: float(row[name]) if row[name] else None for name in _NUMBERS}
    return Result(
        artefact=row["artefact"],
        row=row["row"],
        metric=row["metric"],
        seeds=int(row["seeds"]),
        verdict=row["verdict"],
        note=row["note"],
        **numbers,
    )


TOLERANCE = 0.10
"""Relative distance from the published number that still counts as reproduced."""

SLACK = 0.01
"""Share of the limit by which a published number may pass it: the limit is itself measured on a sample."""

RULE = (
    f"Verdicts: *reproduced* if our mean lies within {100 * TOLERANCE:g} % of the published number, or that number "
    "within two standard errors of our mean; otherwise *better* or *worse* by the side it lies on.  *differs* if there "
    "is no better side, or if the published number lies where no learner can be, more than "
    f"{100 * SLACK:g} % beyond the limit.  *not run* if this scale leaves it out; no verdict where nothing was "
    "published."
)
"""How ``summarise`` judges, for reports."""


def summarise(
    key: tuple[str, str, str],
    values: Sequence[float],
    paper: float | None,
    limit: float | None = None,
    note: str = "",
    tolerance: float = TOLERANCE,
    lower_is_better: bool | None = True,
    median: bool = False,
) -> Result:
    """Set the seeds' values beside the published number and judge by ``RULE``.

    A value that is not finite counts as infinitely bad: a diverged seed is not averaged away.

    Args:
        key: Artefact, row and metric.
        values: One number a seed.
        paper: The published number; None if there is none.
        limit: The best that is possible; None if it is not known.
        note: Whatever a reader must know.
        tolerance: Relative distance from the published number that counts as reproduced.
        lower_is_better: Which side of the published number is better; None if neither is.
        median: Take the median over seeds for the mean, which one diverged seed does not move; the note says so.
    """
    if not values:
        return Result(*key, paper, None, None, 0, limit, None, "not run", note)
    notes = [note] if note else []
    lost = sum(not math.isfinite(value) for value in values)
    worst = -math.inf if lower_is_better is False else math.inf
    finite = [value if math.isfinite(value) else worst for value in values]
    mean = float(np.median(finite) if median else np.mean(finite))
    sd = float(np.std(values, ddof=1)) if len(values) > 1 and not lost else None
    if lost:
        notes.append(f"{lost} of {len(values)} seeds not finite")
    ratio = mean / limit if limit and math.isfinite(mean) else None
    error = sd / len(values) ** 0.5 if sd is not None else 0.0
    if _is_impossible(paper, limit, lower_is_better):
        verdict = "differs"
        if "the limit" not in note:  # a caller that explains the matter in its own words is not repeated
            notes.append("the published number lies beyond the limit, where no learner can be")
    else:
        verdict = _verdict(mean, error, paper, tolerance, lower_is_better)
    return Result(*key, paper, mean, sd, len(values), limit, ratio, verdict, "; ".join(notes))


def _is_impossible(paper: float | None, limit: float | None, lower_is_better: bool | None) -> bool:
    if paper is None or limit is None or lower_is_better is None:
        return False
    beyond = limit - paper if lower_is_better else paper - limit
    return beyond > SLACK * abs(limit)


def _verdict(mean: float, error: float, paper: float | None, tolerance: float, lower_is_better: bool | None) -> str:
    if paper is None:
        return ""
    if abs(mean - paper) <= max(tolerance * abs(paper), 2.0 * error):
        return "reproduced"
    if lower_is_better is None:
        return "differs"
    return "better" if (mean < paper) == lower_is_better else "worse"


class Interval(NamedTuple):
    """A statistic with a confidence interval."""

    value: float
    low: float
    high: float


Statistic = Callable[[np.ndarray[Any, Any]], Any]
"""From values to one number, such as ``np.mean`` or ``np.median``."""


def bootstrap_interval(
    values: Sequence[float], statistic: Statistic = np.mean, level: float = 0.95, seed: int = 0, draws: int = 2000
) -> Interval:
    """Return a statistic with its percentile bootstrap interval; the same seed gives the same interval."""
    data = np.asarray(values, dtype=float)
    return _interval(lambda index: float(statistic(data[index])), len(data), level, seed, draws)


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    statistic: Statistic = np.mean,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """Return statistic(a) − statistic(b) with its interval, where a and b were measured on the same episodes.

    Each draw takes the same episodes of both, so what they share cancels; an interval without 0 is a difference that
    the choice of episodes does not explain.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values come in pairs, not {len(a)} and {len(b)}")
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return _interval(
        lambda index: float(statistic(first[index])) - float(statistic(second[index])), len(first), level, seed, draws
    )


def _interval(
    measure: Callable[[np.ndarray[Any, Any]], float], count: int, level: float, seed: int, draws: int
) -> Interval:
    if not count:
        raise ValueError("no values to resample")
    rng = np.random.default_rng(seed)
    resampled = [measure(rng.integers(count, size=count)) for _ in range(draws)]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(measure(np.arange(count)), float(low), float(high))
