"""Tables and verdicts: paper beside ours, who wins when, how losses spread over problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from l2l_cli.papers.andrychowicz2016.published import BASE, CG, PAPERS_OWN, SOLVERS, Curve
from l2l_cli.papers.losses import Losses
from l2l_cli.papers.losses import winners as everybody
from l2l_cli.results.frame import Result, bootstrap_interval, summarise

SOLVED = 1e-6
"""A limit below this is given as 0: a ratio to rounding errors says nothing."""


def row_name(contender: str, problem: str) -> str:
    """Return what a result is called: the contender, and the problem where it is not the base."""
    return contender if problem == BASE else f"{contender}, {problem}"


def results_of(
    artefact: str, rows: Sequence[str], losses: Losses, published: Mapping[str, Mapping[str, Curve]], note: str = ""
) -> list[Result]:
    """Return one result for each contender, problem and published step; all but CG are given at the last step.

    Args:
        artefact: Of the paper.
        rows: Of the experiment, run or not.
        losses: Of those that were run.
        published: Digitised points by problem and contender.
        note: For all of them.
    """
    results = []
    for problem, by_contender in published.items():
        last = max(step for curve in by_contender.values() for step in curve)
        for contender in [name for name in rows if name != CG]:
            points = by_contender.get(contender, {last: None})
            for step, paper in points.items():
                key = (artefact, row_name(contender, problem), f"loss@{step}")
                limit = _limit(losses, problem, step)
                results.append(summarise(key, losses.seeds(contender, problem, step), paper, limit, note))
    return results


def _limit(losses: Losses, problem: str, step: int) -> float | None:
    """Return conjugate gradient's loss there, if it was run."""
    if not losses.has(CG, problem, step):
        return None
    value = losses.mean(CG, problem, step)
    return value if value > SOLVED else 0.0


def winners(losses: Losses, problem: str, marks: Sequence[int] | None = None) -> pd.DataFrame:
    """Return who has the lowest mean loss after so many updates, solvers left out; see ``papers.losses.winners``."""
    return everybody(losses, problem, marks, SOLVERS)


def spread(losses: Losses, problem: str, updates: int) -> pd.DataFrame:
    """Return how the losses after so many updates spread over test problems: mean and median, and the tail."""
    table = []
    for name in losses.contenders:
        if losses.has(name, problem, updates):
            values = losses.episodes(name, problem, updates)
            table.append(
                {
                    "contender": name,
                    "problems": len(values),
                    "mean [95 %]": _interval(values, np.mean),
                    "median [95 %]": _interval(values, np.median),
                    **{f"{share:.0%} below": _quantile(values, share) for share in (0.1, 0.75, 0.9, 0.99)},
                    "largest": float(values.max()),
                }
            )
    return pd.DataFrame(table)


def _interval(values: np.ndarray[Any, Any], statistic: Any) -> str:
    if not np.isfinite(values).all():
        return f"{float(statistic(values)):.3g}"
    found = bootstrap_interval(values.tolist(), statistic)
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _quantile(values: np.ndarray[Any, Any], share: float) -> float:
    return float(np.quantile(values, share, method="higher"))  # an order statistic: no mean with an infinite loss


def rivals_of(losses: Losses) -> list[str]:
    """Return the paper's four hand-made rules, as far as they were run."""
    return [name for name in PAPERS_OWN if name in losses.contenders and name not in losses.learned]


def strongest_of(losses: Losses) -> list[str]:
    """Return all hand-made contenders that look at a batch once."""
    return [name for name in losses.contenders if name not in losses.learned and name not in SOLVERS]
