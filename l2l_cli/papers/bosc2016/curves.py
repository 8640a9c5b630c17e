"""Beyond the paper: test loss against one number that varies, such as the number of training samples or the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.bosc2016.recipe import HELD_OUT, LATE
from l2l_cli.papers.claims import below_bound, paired
from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.sections import what_tuning_chose
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.lines import Style
from l2l_cli.results.plot import curves, decorate, panels
from l2l_cli.results.standings import Standings


class Axis(NamedTuple):
    """A panel: each seed's losses by contender and by the number in the column ``name``.

    Attributes:
        name: Name of the column.
        label: Label of the horizontal axis.
        head: Format of a number in the head of the table.
        frame: Losses, one row for each contender, seed and number.
    """

    name: str
    label: str
    head: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Samples(Artefact):
    """Loss against the number of training samples, on the same test part.

    Attributes:
        learner: Row of the paper's learner.
        samples: Number of training samples by problem.
    """

    learner: RowName
    samples: dict[str, int]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw every contender's loss against samples."""
        title, standings = "Loss against samples seen", measured.standings(LATE, variant="")
        results = [
            measured.result(row, f"loss@{count}", standings.values(row, problem, standings.last(problem)))
            for row in measured.rows
            for problem, count in self.samples.items()
        ]
        if not standings.contenders:
            return Findings(results)
        ends = standings.ends()
        axis = Axis("samples", "training samples", "{:g} samples", ends.assign(samples=ends.problem.map(self.samples)))
        claims = [self._leads(standings, problem) for problem in self.samples]
        section = _section(title, measured, self.learner, [axis], claims)
        tuning = what_tuning_chose(title, measured, "Tuned for each number of samples.")
        return Findings(results, [section, *tuning])

    def _leads(self, standings: Standings, problem: str) -> Claim:
        """Judge whether the learner is ahead of the best other contender after a problem's number of samples."""
        others = [name for name in standings.contenders if name != self.learner]
        best, text = standings.best(others, problem, standings.last(problem)), f"Ours, after {problem} the learner has"
        return paired(f"{text} the lowest loss", standings, self.learner, best, problem, below_bound)


@dataclass(frozen=True)
class Sweeps(Artefact):
    """Loss against the noise of the test data sets, and against their dimension.

    Attributes:
        learner: Row of the paper's learner, which is meta-trained at one noise.
    """

    learner: RowName

    def judge(self, measured: Measured) -> Findings:
        """Draw the losses on the problems that change the noise, and those of the rows that state their dimension."""
        title, standings = "Noise and dimension", measured.standings(HELD_OUT, variant="")
        results = []
        for row in measured.rows:
            problems = [name for name in standings.problems if standings.has(row, name, standings.last(name))] or [""]
            for problem in problems:
                values = standings.values(row, problem, standings.last(problem))
                results.append(measured.result(on_problem(row, problem), "cross_entropy", values))
        if not standings.contenders:
            return Findings(results)
        ends = standings.ends()
        noise = {name: float(changes["noise"]) for name, changes in measured.problems.items() if "noise" in changes}
        noisy = ends[ends.problem.isin(noise)]
        rows = {name: row for name, row in measured.rows.items() if "dimension" in row.x}
        sized = ends[ends.contender.isin(rows)]
        dimension = sized.contender.map({name: row.x["dimension"] for name, row in rows.items()})
        group = sized.contender.map({name: row.group for name, row in rows.items()})
        axes = [
            Axis("noise", "mean variance of the noise", "noise {:g}", noisy.assign(noise=noisy.problem.map(noise))),
            Axis("dimension", "inputs d", "dimension {:g}", sized.assign(dimension=dimension, contender=group)),
        ]
        tuning = what_tuning_chose(title, measured, "Tuned on tune data sets of each problem.")
        return Findings(results, [_section(title, measured, self.learner, axes), *tuning])


def _styles(measured: Measured) -> dict[str, Style]:
    """Return line properties by contender and by group of rows, which has those of its first contender."""
    own, groups = measured.styles(), dict[str, Style]()
    for name, style in own.items():
        groups.setdefault(measured.rows[measured.origin[name]].group or name, style)
    return {**groups, **own}


def _section(
    title: str, measured: Measured, learner: str, axes_of: Sequence[Axis], claims: Sequence[Claim] = ()
) -> Section:
    """Return a section with the losses as tables, one column per number, and as curves, the learner's the widest."""
    figure, axes = panels(1, len(axes_of), height=3.4)
    order = list(dict.fromkeys(name for axis in axes_of for name in axis.frame.contender))
    tables = []
    styles = _styles(measured)
    styles[learner] = {**styles.get(learner, {}), "linewidth": 2.4, "zorder": 4}
    for panel, (column, label, head, frame) in zip(axes, axes_of, strict=True):
        curves(panel, frame, order, styles, x=column)
        decorate(panel, "", label, "held-out cross-entropy, nats")
        wide = frame.pivot_table(index="contender", columns=column, values="value", sort=False).reset_index()
        wide.columns = ["contender", *map(head.format, wide.columns[1:])]
        tables.append(wide)
    names = " and ".join(axis.label for axis in axes_of)
    drawn = measured.save(
        figure, f"Mean held-out loss against {names}; bands: range over seeds, where there are several.", columns=4
    )
    formats = {name: ".3f" for table in tables for name in table.columns[1:]}
    return Section(title, (), tables, [drawn], formats, claims)
