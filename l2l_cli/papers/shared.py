"""What recipes of several papers share: claims, the problems of an evaluation, and what tuning chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from l2l_cli.config.schema import Settings
from l2l_cli.evaluation.tune import Tuning
from l2l_cli.papers.base import TRIALS
from l2l_cli.results.frame import Metric
from l2l_cli.results.report import Section
from l2l_cli.runs.building import variation
from l2l_cli.tasks.base import Task

BASE = "base"
"""Name of the problem that is the task as it is."""

TUNING = "tuning"
"""Stands for the episode in rows that say what was chosen."""

EDGE = "edge "
"""Begins the metric that says whether a chosen value ends its grid, 1 or 0; the key follows."""


@dataclass(frozen=True)
class Claim:
    """What the paper says, whether it holds here (None: not run), and the numbers."""

    text: str
    holds: bool | None
    evidence: str

    def __str__(self) -> str:
        """Return a sentence for the report."""
        verdict = {True: "This holds", False: "**This does not hold**", None: "Not run at this scale"}[self.holds]
        return f"{self.text}: {verdict}{': ' if self.evidence else ''}{self.evidence}."


def listed(claims: Sequence[Claim]) -> str:
    """Return claims as a list for the report."""
    return "* " + "\n* ".join(map(str, claims))


def problems_of(settings: Settings) -> dict[str, Task]:
    """Build the problems of an evaluation; without any, the task as it is.

    One that names a ``_target_`` is a task of its own, of another class; others say what changes in the task.
    """
    problems = settings.evaluation.problems or {BASE: {}}
    return {name: variation(settings, changes, f"evaluation.problems.{name}") for name, changes in problems.items()}


def tuning_rows(row: str, seed: int, problem: str, tuning: Tuning | None) -> Iterator[Metric]:
    """Yield the number of trials and, by key, the value chosen and whether it ends its grid."""
    if tuning is None:
        return
    yield Metric(row, seed, TUNING, 0, problem, TRIALS, float(len(tuning.trials)))
    for key, value in tuning.best.setting.items():
        yield Metric(row, seed, TUNING, 0, problem, key, float(value))
        yield Metric(row, seed, TUNING, 0, problem, EDGE + key, float(key in tuning.at_edge))


def chosen(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what tuning chose for each hand-made contender and problem, out of how many, and what ends its grid."""
    table = []
    for row, frame in rows.items():
        part = frame[frame.episode == TUNING] if len(frame) else frame
        for problem, group in part.groupby("split", sort=False) if len(part) else ():
            found = dict(zip(group.metric, group.value, strict=True))
            keys = [name for name in found if name != TRIALS and not name.startswith(EDGE)]
            edges = [_short(key) for key in keys if found.get(EDGE + key)]
            table.append(
                {
                    "contender": row,
                    "problem": problem,
                    "trials": int(found.get(TRIALS, 0)),
                    "chosen": ", ".join(f"{_short(key)}={found[key]:.3g}" for key in keys),
                    "at the edge of its grid": ", ".join(edges) or "–",
                }
            )
    return pd.DataFrame(table)


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def edge_warning(table: pd.DataFrame) -> str:
    """Return a sentence that counts the settings at the edge of their grid, where a wider one might do better."""
    if not len(table):
        return "Nothing was tuned."
    ends = table[table["at the edge of its grid"] != "–"]
    if not len(ends):
        return "No chosen setting lies at the edge of its grid."
    names = ", ".join(f"{row.contender} on {row.problem}" for row in ends.itertuples())
    return (
        f"**{len(ends)} of {len(table)} chosen settings lie at the edge of their grid** and might be better: {names}."
    )


def tuning_sections(title: str, rows: Mapping[str, pd.DataFrame], text: str) -> list[Section]:
    """Return what tuning chose, with a warning for settings at the edge of their grid; nothing if nothing was tuned."""
    table = chosen(rows)
    if not len(table):
        return []
    return [Section(f"{title}: what tuning chose", [text, edge_warning(table)], [table])]
