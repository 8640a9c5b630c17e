"""What the artefacts share: MSEt beside the printed one and the limit, and when an error has settled."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from l2l_cli.papers.claims import shown
from l2l_cli.papers.hochreiter2001.recipe import BAYES, SPLITS
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim
from l2l_cli.results.statistics import Array
from l2l_cli.results.verdicts import Result


def mse_of(
    measured: Measured, row: str, split: str = "test", contender: str | None = None, problem: str = ""
) -> list[float]:
    """Return the MSEt of each seed of a row; nothing if it was not run."""
    return measured.values(row, "mse", contender, split=split, problem=problem)


def limit_of(measured: Measured, row: str, split: str = "test", problem: str = "") -> float | None:
    """Return the MSEt of the Bayes learner that was measured for a row, the mean over seeds."""
    values = mse_of(measured, row, split, BAYES, problem)
    return float(np.mean(values)) if values else None


def error_results(
    measured: Measured, row: str, printed: Mapping[str, float], limits: Mapping[str, float | None], note: str
) -> list[Result]:
    """Return MSEt of each split beside the printed number, by metric, and the limit, by split.

    Of rows that are not ours the median over seeds counts, which a seed that fails does not move.
    """
    median = not measured.rows[row].ours
    note = "; ".join(filter(None, ["median over seeds" if median else "", note]))
    return [
        measured.result(row, metric, mse_of(measured, row, split), printed.get(metric), limit, note, median=median)
        for split, limit in limits.items()
        for metric in [f"{split}_mse"]
    ]


FORMATS = {"minutes": ".1f", "succeed": ".0%"}
"""Formats of ``errors_table``, and of what artefacts add to it."""


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
    """Judge whether some rows have a lower test MSEt than all others, by means over seeds."""
    values = {row: mse_of(measured, row, problem=problem) for row in (*rows, *others)}
    means = {row: float(np.mean(each)) for row, each in values.items() if each}
    ours, theirs = ([means[row] for row in each if row in means] for each in (rows, others))
    return Claim(text, max(ours) < min(theirs) if ours and theirs else None, shown(means))


def plateau(curve: Array, threshold: float) -> tuple[float, float]:
    """Return the first step from which the mean error stays at or below the threshold, and its maximum from there.

    A curve that never stays below gives the step after its last, and its last error.
    """
    above = np.flatnonzero(~(curve <= threshold))
    first = int(above[-1]) + 1 if len(above) else 0
    if first == len(curve):
        return float(first + 1), float(curve[-1])
    return float(first + 1), float(curve[first:].max())
