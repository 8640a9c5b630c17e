"""The measurements of an artefact's rows, read back: contenders, numbers by seed, curves and standings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from l2l_cli.config.schema import ROLES, Row
from l2l_cli.core.layout import FIGURES
from l2l_cli.papers.panels import styles_of
from l2l_cli.results.content import Figure
from l2l_cli.results.drawing import saved
from l2l_cli.results.lines import Style
from l2l_cli.results.plot import legend
from l2l_cli.results.spread import Array
from l2l_cli.results.standings import Marking, Standings, curves_of, standings_of
from l2l_cli.results.verdicts import Result, summarise

TUNE, COST, TRAINING = "tune", "cost", "training"
"""Splits of the measurements of tuning, of what a run cost, and of the course of its meta-training."""

VALIDATION, SELECTED = "validation loss", "selected after"
"""Metrics of a training: its criterion on the validation episodes, and the number of updates of the weights kept."""

TRIALS, BEYOND, CHOSEN, EDGE = "trials", "trials beyond an edge", "chosen", "at the edge"
"""Metrics of the number of settings tried, all and those beyond an edge of their grid; parts that hold the chosen value
of a setting, and whether that lies at the edge of the values tried."""

BEGAN = "began"
"""Metric of when an activity, named in ``part``, began: in seconds since 1970."""

COMMIT, MACHINE = "commit", "machine"
"""Metrics whose ``part`` holds the commit by which a run was made and the machine on which it ran."""

REUSED = "reused"
"""Metric of the CPU-seconds once taken by those of a row's results that were found in the store."""

COSTS = ("updates", "seconds", "skipped", "meta_parameters")
"""Metrics of what a run cost; without meta-training, the number of tuning trials takes the place of updates."""


@dataclass(frozen=True)
class Measured:
    """The measurements for one artefact.

    Attributes:
        artefact: Name of the artefact.
        rows: Description of each row, in the order of the experiment.
        frames: Measurements of all seeds by row; an empty frame for a row that was not run.
        folder: Folder of the report.
        published: Published numbers by problem, row and metric.
        problems: What changes in the task, by name of the problem, over all rows.
        family: Rows of all artefacts of the paper, which have the same line styles in all of its figures.
    """

    artefact: str
    rows: Mapping[str, Row]
    frames: Mapping[str, pd.DataFrame]
    folder: Path
    published: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    problems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    family: Mapping[str, Row] = field(default_factory=dict)

    @property
    def run(self) -> list[str]:
        """Rows that were run."""
        return [row for row in self.rows if len(self.frames[row])]

    def restricted(self, problems: Iterable[str]) -> Measured:
        """Return only the measurements on some problems, and those that belong to no problem."""
        kept = {*problems, ""}
        frames = {row: frame[frame.problem.isin(kept)] if len(frame) else frame for row, frame in self.frames.items()}
        return replace(self, frames=frames)

    @cached_property
    def _own(self) -> dict[str, tuple[str, str, pd.DataFrame]]:
        """Row, variant and measurements of each contender."""
        own = {}
        for row in self.run:
            frame = self.frames[row]
            frame = frame[(frame.contender == row) & ~frame.split.isin([COST, TRAINING])]
            for variant, part in frame.groupby("variant", sort=False):
                own[name_of(row, str(variant))] = row, str(variant), part
        return own

    @property
    def contenders(self) -> dict[str, pd.DataFrame]:
        """Measurements by contender: each row's learner, once for each variant in which it was run."""
        return {name: frame for name, (_, _, frame) in self._own.items()}

    @cached_property
    def _by_metric(self) -> dict[tuple[str, str], pd.DataFrame]:
        """Measurements by contender and metric."""
        frames = self.contenders.items()
        return {(name, str(metric)): part for name, frame in frames for metric, part in frame.groupby("metric")}

    def _of(self, metric: str) -> dict[str, pd.DataFrame]:
        """Return the measurements of one metric by contender; an empty frame where there are none."""
        return {name: self._by_metric.get((name, metric), frame[:0]) for name, frame in self.contenders.items()}

    @property
    def origin(self) -> dict[str, str]:
        """Name of the row of each contender that was run."""
        return {name: row for name, (row, _, _) in self._own.items()}

    def names(self, *roles: str, variant: str | None = None) -> list[str]:
        """Return the contenders that were run, restricted to some roles and to one variant if these are given."""
        own = [(name, self.rows[row].role, way) for name, (row, way, _) in self._own.items()]
        return [name for name, role, way in own if role in (roles or ROLES) and variant in (None, way)]

    def styles(self) -> dict[str, Style]:
        """Return line properties by contender, the same in all figures of a paper and at every scale."""
        own, rows = self.origin, {**self.rows, **self.family}
        rows = {row: rows[row] for row in {**self.family, **self.rows}}
        origin = {name: row for row in rows for name in [one for one in own if own[one] == row] or [row]}
        styles = styles_of({name: rows[row] for name, row in origin.items()}, origin)
        return {name: styles[name] for name in own}

    def select(self, row: str, metric: str, contender: str | None = None, **where: object) -> pd.DataFrame:
        """Return the measurements of one metric of a row, where other columns have given values.

        They are those of the row's own learner unless another ``contender`` is named.
        """
        frame = self.frames[row]
        if not len(frame):
            return frame
        kept = (frame.metric == metric) & (frame.contender == (row if contender is None else contender))
        for column, value in where.items():
            kept &= frame[column] == value
        return frame[kept]

    def values(self, row: str, metric: str, contender: str | None = None, **where: object) -> list[float]:
        """Return the mean of the selected measurements for each seed; an empty list if the row was not run."""
        part = self.select(row, metric, contender, **where)
        return [float(value) for value in part.groupby("seed").value.mean()] if len(part) else []

    def curve(self, row: str, metric: str, contender: str | None = None, **where: object) -> pd.DataFrame:
        """Return the selected measurements with one column per seed, indexed by step."""
        part = self.select(row, metric, contender, **where)
        return part.pivot_table(index="step", columns="seed", values="value") if len(part) else pd.DataFrame()

    def cost(self, row: str, metric: str) -> float:
        """Return what a row's runs cost: the mean over seeds of one of ``COSTS``."""
        return float(self.select(row, metric, split=COST).value.mean())

    def standings(
        self, metric: str = "loss", mark: Marking = lambda step: step, variant: str | None = None
    ) -> Standings:
        """Return the losses on every problem, of the contenders of one variant or of all; see ``standings_of``."""
        frames, names = self._of(metric), self.names(variant=variant)
        return standings_of({name: frames[name] for name in names}, metric, mark)

    def curves(
        self, problem: str, metric: str = "loss", statistic: str = "mean", mark: Marking = lambda step: step
    ) -> pd.DataFrame:
        """Return one statistic of a metric along the steps, of every contender; see ``curves_of``."""
        return curves_of(self._of(metric), problem, metric, statistic, mark)

    def points(self, problem: str, metric: str = "loss") -> dict[str, dict[int, float]]:
        """Return the published values of a metric on a problem by row and mark, from keys such as "loss@99"."""
        prefix = f"{metric}@"
        return {
            row: {int(key.removeprefix(prefix)): value for key, value in values.items() if key.startswith(prefix)}
            for row, values in self.published.get(problem, {}).items()
        }

    def result(
        self,
        row: str,
        metric: str,
        values: Sequence[float] | Array,
        paper: float | None = None,
        *args: Any,
        **options: Any,
    ) -> Result:
        """Return a result of this artefact; see ``summarise``."""
        return summarise((self.artefact, row, metric), values, paper, *args, **options)

    def save(self, drawing: Drawing, caption: str, suffix: str = "", columns: int = 0) -> Figure:
        """Write a figure under the artefact's name, with a legend in ``columns`` columns unless 0, and return it."""
        if columns:
            legend(drawing, drawing.axes, columns=columns)
        return saved(drawing, self.folder / FIGURES / f"{self.artefact}{suffix}".replace(" ", "_"), caption)


def name_of(row: str, variant: str) -> str:
    """Return the name of a contender: the row's learner in some variant."""
    return f"{row}, {variant}" if variant else row


def on_problem(contender: str, problem: str, base: str = "") -> str:
    """Return the name of a contender's result, with the problem unless that is the base."""
    return contender if problem in ("", base) else f"{contender}, {problem}"
