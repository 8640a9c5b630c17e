"""What the artefacts share: MSEt compared with the printed one and the limit, and when an error has settled."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from l2l_cli.papers.claims import all_of, below_bound, shown
from l2l_cli.papers.hochreiter2001.recipe import BAYES, SPLITS
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim
from l2l_cli.results.spread import Array, ends_of_gap
from l2l_cli.results.statistics import LEVEL, RECIPE, Interval, mean_of, median_of
from l2l_cli.results.verdicts import Result


def mse_of(
    measured: Measured, row: str, split: str = "test", contender: str | None = None, problem: str = ""
) -> list[float]:
    """Return the MSEt of each seed of a row; an empty list if it was not run."""
    return measured.values(row, "mse", contender, split=split, problem=problem)


def limit_of(measured: Measured, row: str, split: str = "test", problem: str = "") -> float | None:
    """Return the MSEt of the Bayes learner that was measured for a row, averaged over seeds; None if none was."""
    values = mse_of(measured, row, split, BAYES, problem)
    return float(np.mean(values)) if values else None


def error_results(
    measured: Measured, row: str, printed: Mapping[str, float], limits: Mapping[str, float | None], note: str
) -> list[Result]:
    """Return the MSEt of each split, with the ``printed`` number by metric and the limit by split.

    For rows that are not ours, the median over seeds counts, which a seed that fails does not move; if the seeds are
    too few for an interval, the note lists them.
    """
    results = []
    for split, limit in limits.items():
        values, said = mse_of(measured, row, split), [note]
        middle = median_of(values, RECIPE) if values and not measured.rows[row].ours else None
        if middle:
            each = "" if middle.is_known else f" {', '.join(f'{value:.3g}' for value in sorted(values))}"
            said.insert(0, f"median over seeds{each}")
        metric, text = f"{split}_mse", "; ".join(filter(None, said))
        results.append(measured.result(row, metric, values, printed.get(metric), limit, text, interval=middle))
    return results


FORMATS = {"minutes": ".1f"}
"""Formats of ``errors_table``."""


def errors_table(measured: Measured) -> pd.DataFrame:
    """Return the size and the cost of every row that was run, and its MSEt: medians, and the best and worst seed."""
    table = []
    for row in measured.run:
        train, test = (np.array(mse_of(measured, row, split)) for split in SPLITS)
        table.append(
            {
                "row": row,
                "learning rate": measured.rows[row].x.get("lr"),
                "weights": int(measured.cost(row, "meta_parameters")),
                "updates": int(measured.cost(row, "updates")),
                "train": np.median(train),
                "median": np.median(test),
                "best": test.min(),
                "worst": test.max(),
                "seeds": len(test),
                "minutes": measured.cost(row, "seconds") / 60,
            }
        )
    return pd.DataFrame(table).dropna(axis=1, how="all")


def lower(text: str, measured: Measured, rows: Collection[str], others: Collection[str], problem: str = "") -> Claim:
    """Judge whether some rows have a lower test MSEt than all others, by intervals of differences of means over seeds.

    The seeds of two rows have nothing in common, so the interval is Welch's.
    """
    values = {row: each for row in (*rows, *others) if (each := mse_of(measured, row, problem=problem))}
    pairs = [(one, other) for one in rows for other in others if one in values and other in values]
    if not pairs:
        return Claim(text, None)
    means = {row: float(np.mean(each)) for row, each in values.items()}
    gaps = [_gap(values[one], values[other]) for one, other in pairs]
    evidence = f"{shown(means)}; the least favourable difference {_widest(gaps)}"
    return Claim(text, all_of([below_bound(gap) for gap in gaps]), evidence, f"difference {_widest(gaps)}")


def near_the_limit(
    text: str, measured: Measured, bounds: Mapping[str, float], limits: Mapping[str, float | None], problem: str = ""
) -> Claim:
    """Judge whether the test MSEt of rows is at most some multiple of the limit, by intervals of means over seeds.

    Args:
        text: Text of the claim.
        measured: Measurements.
        bounds: Multiple of the limit by row.
        limits: Limit by row; None if it is not known.
        problem: Problem on which the rows are scored.
    """
    verdicts, evidence = [], []
    for row, bound in bounds.items():
        values, limit = mse_of(measured, row, problem=problem), limits[row]
        if not values or limit is None:
            continue
        ratio = mean_of(np.asarray(values) / limit)
        verdicts.append(below_bound(ratio, bound))
        evidence.append(f"`{row}` {ratio.within('.3f')} (at most {bound:g})")
    return Claim(text, all_of(verdicts), ", ".join(evidence)) if verdicts else Claim(text, None)


def _gap(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the difference of two means of independent seeds with Welch's interval; a single seed gives none."""
    value = float(np.mean(ours) - np.mean(theirs))
    if min(len(ours), len(theirs)) < 2:
        return Interval(value, np.nan, np.nan, why_none="none of 1 seed")
    return Interval(value, *ends_of_gap(np.asarray(ours), np.asarray(theirs), LEVEL), RECIPE)


def _widest(gaps: Sequence[Interval]) -> str:
    """Return, as text, the difference least favourable to the claim; one without an interval comes first."""
    gap = max(gaps, key=lambda one: (not one.is_known, one.high if one.is_known else 0.0))
    return gap.within("+.3g")


def plateau(curve: Array, threshold: float) -> tuple[float, float]:
    """Return the first step from which the mean error stays at or below the threshold, and its maximum from there.

    A curve that never stays below it gives the step after its last, and its last error.
    """
    above = np.flatnonzero(~(curve <= threshold))
    first = int(above[-1]) + 1 if len(above) else 0
    if first == len(curve):
        return float(first + 1), float(curve[-1])
    return float(first + 1), float(curve[first:].max())
