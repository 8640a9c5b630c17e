"""Losses of learned rules as multiples of others': how recipes depend on settings and parts, and how rules transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from l2l_cli.papers.andrychowicz2016.curves import TUNING, Panel, draw_curves, hand_made, updates_at
from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.sections import loss_results, what_tuning_chose
from l2l_cli.results.content import Figure, Section
from l2l_cli.results.plot import COLOURS, decorate, panels
from l2l_cli.results.standings import Standings


@dataclass(frozen=True)
class Ratios(Artefact):
    """The final loss of every learned row on every problem, as a multiple of that of the best of some other rows.

    Attributes:
        title: Title of the sections.
        updates: Number of updates in the names of results that were not run.
        base: Problem whose name is omitted from results.
        rivals: Rows to compare with, hand-made or learned; if empty, the paper's hand-made rules.
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
        learned = [name for name in measured.names("learned") if name not in rivals]
        table = standings.against(learned, rivals)
        shown = [Panel(problem) for problem in standings.problems]
        drawn = [
            draw_curves(
                measured,
                shown,
                "Loss against updates; bands: range over seeds, where there are several.",
                published=False,
            )
        ]
        text = []
        if len(table):
            each = by_seed(standings, table)
            texts = [" · ".join(f"{ratio:.2f}" for ratio in ratios) for ratios in each]
            table.insert(list(table.columns).index("ratio") + 1, "ratio of each seed", texts)
            tuned = not {*rivals} & {*measured.names("learned")}
            drawn.insert(0, _drawn(measured, table, each, "the best tuned rule" if tuned else " and ".join(rivals)))
            text = [_counted(table, rivals, tuned)]
        section = Section(self.title, text, [table], drawn)
        return Findings(results, [section, *what_tuning_chose(self.title, measured, TUNING)])


def by_seed(standings: Standings, table: pd.DataFrame) -> list[list[float]]:
    """Return the loss of each seed as a multiple of the rival's, for each line of ``Standings.against``."""
    lines = zip(table.contender, table.problem, table.updates, table["its loss"], strict=True)
    return [[loss / bar for loss in standings.seeds(name, problem, mark)] for name, problem, mark, bar in lines]


def _drawn(measured: Measured, table: pd.DataFrame, each: Sequence[Sequence[float]], bar: str) -> Figure:
    """Draw the ratios, one line per row of the table: the ratio of the mean, and that of every seed."""
    several = table.problem.nunique() > 1
    names = [
        on_problem(name, problem, "" if several else problem)
        for name, problem in zip(table.contender, table.problem, strict=True)
    ]
    figure, axes = panels(1, 1, height=1.1 + 0.26 * len(names))
    for index, (ratio, seeds) in enumerate(zip(table.ratio, each, strict=True)):
        axes[0].plot(seeds, [-index] * len(seeds), "|", color=COLOURS[1], markersize=11)
        axes[0].plot([ratio], [-index], "o", color=COLOURS[0], markersize=6)
    axes[0].axvline(1.0, color="#555555", linewidth=0.9)
    axes[0].set_yticks([-index for index in range(len(names))], names)
    axes[0].set_ylim(-len(names) + 0.4, 0.6)
    decorate(axes[0], "Left of the line a row's loss is lower", f"final loss ÷ that of {bar}", "", "x")
    return measured.save(figure, f"Final loss as a multiple of that of {bar}; strokes: seeds.", "_ratios")


def _counted(table: pd.DataFrame, rivals: Sequence[str], tuned: bool) -> str:
    ahead = int((table.ratio < 1).sum())
    bar = f"the best of {' and '.join(rivals)}, each tuned on the problem for its number of steps"
    return (
        "A ratio below 1 means that the learned rule has a lower mean loss than "
        f"{bar if tuned else ' and '.join(rivals)}; {ahead} of {len(table)} ratios are below 1.  Nothing was chosen by "
        "this table."
    )
