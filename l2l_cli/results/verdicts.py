"""One row for each published number: the number, ours, the limit, and the verdict."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from l2l_cli.core.files import atomic_write


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


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write results.csv; what is unknown is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(result) for result in results)
    atomic_write(path, text.getvalue())


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
        lower_is_better: Whether lower is the better side of the published number; None if neither is.
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
        verdict = _verdict(mean, error, paper, lower_is_better)
    return Result(*key, paper, mean, sd, len(values), limit, ratio, verdict, "; ".join(notes))


def _is_impossible(paper: float | None, limit: float | None, lower_is_better: bool | None) -> bool:
    if paper is None or limit is None or lower_is_better is None:
        return False
    beyond = limit - paper if lower_is_better else paper - limit
    return beyond > SLACK * abs(limit)


def _verdict(mean: float, error: float, paper: float | None, lower_is_better: bool | None) -> str:
    if paper is None:
        return ""
    if abs(mean - paper) <= max(TOLERANCE * abs(paper), 2.0 * error):
        return "reproduced"
    if lower_is_better is None:
        return "differs"
    return "better" if (mean < paper) == lower_is_better else "worse"
