"""Learned rules as multiples of tuned ones: how much a recipe hangs on its settings, and how far its rule goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from l2l_cli.papers.andrychowicz2016.beyond import draw_ratios
from l2l_cli.papers.andrychowicz2016.curves import TUNING, Panel, draw_curves, hand_made, updates_at
from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.sections import loss_results, what_tuning_chose
from l2l_cli.results.content import Section
from l2l_cli.results.standings import Standings


@dataclass(frozen=True)
class Ratios(Artefact):
    """The final loss of every learned row on every problem, as a multiple of the best tuned rival's.

    Attributes:
        title: Title of the sections.
        updates: Number of updates at which results are named where nothing was run.
        base: Problem that results need not name.
        rivals: Rows that are set beside; none are the paper's hand-made rules.
    """

    title: str
    updates: int
    base: str = ""
    rivals: list[RowName] = field(default_factory=list)

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw every learned row on every problem."""
        standings = measured.standings(mark=updates_at)
        problems = standings.problems or list(measured.problems) or [self.base]
        marks = {problem: standings.last(problem) or self.updates for problem in problems}
        results = loss_results(measured, standings, problems, lambda row, problem: [marks[problem]], self.base)
        if not standings.contenders:
            return Findings(results)
        rivals = [name for name in self.rivals or hand_made(measured) if name in standings.contenders]
        table = standings.against(measured.names("learned"), rivals)
        panels = [Panel(problem) for problem in standings.problems]
        drawn = [draw_curves(measured, panels, "Loss against updates; bands: range over seeds.", published=False)]
        text = []
        if len(table):
            table.insert(list(table.columns).index("ratio") + 1, "ratio of each seed", by_seed(standings, table))
            drawn.insert(0, draw_ratios(measured, table))
            text = [_counted(table, rivals)]
        section = Section(self.title, text, [table], drawn)
        return Findings(results, [section, *what_tuning_chose(self.title, measured, TUNING)])


def by_seed(standings: Standings, table: pd.DataFrame) -> list[str]:
    """Return the loss of each seed as a multiple of the rival's of its line, as text; lines of ``against``."""
    return [
        " · ".join(
            f"{loss / line['its loss']:.2f}" for loss in standings.seeds(line.contender, line.problem, line.updates)
        )
        for _, line in table.iterrows()
    ]


def _counted(table: pd.DataFrame, rivals: Sequence[str]) -> str:
    ahead = int((table.ratio < 1).sum())
    return (
        f"A ratio below 1 is a learned rule whose mean loss is below that of the best of {', '.join(rivals)}, each "
        f"tuned on the problem for its number of steps: {ahead} of {len(table)} are.  Nothing was chosen by this table."
    )
