"""Tidy records: the metrics of a run, and one row for each published number."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

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
        if not self.path.exists() or self.path.stat().st_size == 0:
            writer.writerow(Metric._fields)
        writer.writerows(row._replace(value=repr(float(row.value))) for row in rows)  # type: ignore[arg-type]
        with self.path.open("a") as file:
            file.write(text.getvalue())

    def length(self) -> int:
        """Return the size in bytes, which a checkpoint remembers."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, length: int) -> None:
        """Drop what was written after a checkpoint, so that the resumed run writes it again."""
        if self.path.exists():
            os.truncate(self.path, length)

    def read(self) -> pd.DataFrame:
        """Read all rows."""
        return pd.read_csv(self.path, dtype={"episode": str})


@dataclass(frozen=True)
class Result:
    """One published number beside ours; the columns of results.csv in their order."""

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


RULE = (
    "Verdicts: *reproduced* if the published number lies within 10 % of our mean, or within two standard errors of "
    "it; otherwise *better* or *worse* by which side it lies on; *differs* if it lies where no learner can be, below "
    "the limit; *not run* if this scale leaves it out."
)


def summarise(
    key: tuple[str, str, str],
    values: Sequence[float],
    paper: float | None,
    limit: float | None = None,
    note: str = "",
    tolerance: float = 0.10,
) -> Result:
    """Set the seeds' values beside the published number and judge.

    Args:
        key: Artefact, row and metric.
        values: One number a seed; smaller is better.
        paper: The published number; None if there is none.
        limit: The best that is possible; None if it is not known.
        note: Whatever a reader must know.
        tolerance: Relative distance that counts as reproduced.
    """
    if not values:
        return Result(*key, paper, None, None, 0, limit, None, "not run", note)
    mean = float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    ratio = mean / limit if limit else None
    return Result(
        *key, paper, mean, sd, len(values), limit, ratio, _verdict(mean, sd, values, paper, limit, tolerance), note
    )


def _verdict(
    mean: float, sd: float | None, values: Sequence[float], paper: float | None, limit: float | None, tolerance: float
) -> str:
    if paper is None:
        return ""
    if limit is not None and paper < 0.99 * limit:
        return "differs"
    error = 2.0 * sd / len(values) ** 0.5 if sd is not None else 0.0
    if abs(mean - paper) <= max(tolerance * abs(paper), error):
        return "reproduced"
    return "better" if mean < paper else "worse"


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write results.csv."""
    atomic_write(path, frame_of(results).to_csv(index=False))


def read_results(path: Path) -> list[Result]:
    """Read results.csv."""
    frame = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in _NUMBERS})
    rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
    return [Result(**dict(zip(frame.columns, row, strict=True))) for row in rows]


def frame_of(results: Sequence[Result]) -> pd.DataFrame:
    """Return results as a frame with the columns of results.csv."""
    return pd.DataFrame([astuple(result) for result in results], columns=[field.name for field in fields(Result)])


_NUMBERS = ("paper", "ours", "sd", "limit", "ratio_to_limit")


class Interval(NamedTuple):
    """A statistic with a confidence interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(values: Sequence[float], level: float = 0.95, draws: int = 2000, seed: int = 0) -> Interval:
    """Return the mean with its percentile bootstrap interval."""
    data = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(len(data), size=(draws, len(data)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(data.mean()), float(low), float(high))
