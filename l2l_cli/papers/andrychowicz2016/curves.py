"""Figures 4, 5 and 7: loss curves beside the paper's points, and the paper's claims about them.

Source: Andrychowicz et al. 2016, Figures 4, 5 and 7; the published points of Figures 4 and 5 are digitised, ±5 % on
logarithmic axes.  No claim of §3 comes with a criterion, so each criterion is ours and is given with its verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.claims import alike, below, fails
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.panels import loss_curves
from l2l_cli.papers.sections import how_they_spread, loss_results, what_tuning_chose, who_leads
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.lines import emphasised
from l2l_cli.results.plot import DIGITISED, decorate, grid, legend
from l2l_cli.results.standings import Standings

TUNING = (
    "Hand-made rules are tuned on each problem by their final loss, as in the paper, on tune episodes alone; the "
    "number of settings tried is stated."
)

COLUMNS = 3
"""Largest number of panels side by side."""

JUDGES = ("below", "alike", "fails")
"""Functions of ``papers.claims`` that judge a statement."""

Fields = dict[str, Any]
"""Arguments of one panel or claim, by name."""


def updates_at(step: int) -> int:
    """Return how many updates were made before the answer of a step; steps count from 1."""
    return step - 1


class Panel(NamedTuple):
    """A panel of loss curves.

    Attributes:
        problem: Problem whose losses it shows.
        title: Title; if empty, the problem's name.
        statistic: Statistic over test problems; the paper's points are means.
        updates: Number of updates of those results that are neither published nor run.
        without: Rows that are not measured on the problem.
        note: Note on the problem's results.
        judged_in: Place where the published numbers are judged, if not here; each is counted once.
    """

    problem: str
    title: str = ""
    statistic: str = "mean"
    updates: int = 99
    without: Sequence[str] = ()
    note: str = ""
    judged_in: str = ""


class Statement(NamedTuple):
    """A claim about one problem, to be judged.

    Attributes:
        judge: One of ``JUDGES``.
        text: The claim.
        problem: Problem that it is about.
        who: Row that it is about; empty for "alike", which compares the rivals with each other.
        rivals: Rows that it compares with; if empty, the paper's hand-made rules.
        all_rivals: Whether these include our own hand-made rules, too.
        marks: Numbers of updates; if empty, the last one.
        first_loss: Loss before the first update, in nats, for "fails".
    """

    judge: str
    text: str
    problem: str
    who: str = ""
    rivals: Sequence[str] = ()
    all_rivals: bool = False
    marks: Sequence[int] = ()
    first_loss: float = 0.0

    def judged(self, measured: Measured, standings: Standings) -> Claim:
        """Judge the claim by the standings."""
        rivals = self.rivals or hand_made(measured, self.all_rivals)
        marks = self.marks or [standings.last(self.problem)]
        if self.judge == "alike":
            return alike(self.text, standings, rivals, self.problem, marks[-1])
        if self.judge == "fails":
            return fails(self.text, standings, self.who, rivals, self.problem, marks[-1], self.first_loss)
        return below(self.text, standings, self.who, rivals, self.problem, marks)


class LossCurves(Artefact):
    """Loss curves on some problems.

    Args:
        title: Title of the sections.
        caption: Caption of the figure.
        panels: Fields of each ``Panel``.
        claims: Fields of each ``Statement``.
        base: Problem whose name is omitted from results, and whose losses are also shown as a distribution.
    """

    def __init__(self, title: str, caption: str, panels: list[Fields], claims: list[Fields], base: str = "") -> None:
        self.title, self.caption, self.base = title, caption, base
        try:
            self.panels = [Panel(**fields) for fields in panels]
            self.claims = [Statement(**fields) for fields in claims]
        except TypeError as error:
            raise ValueError(f"a field is unknown or missing: {error}") from error
        for claim in self.claims:
            if claim.judge not in JUDGES:
                raise ValueError(f"a claim's judge must be {', '.join(JUDGES)}, not {claim.judge!r}")

    def refers_to(self) -> list[str]:
        """Return the rows that claims and panels name."""
        named = [[claim.who, *claim.rivals] for claim in self.claims] + [[*panel.without] for panel in self.panels]
        return [row for rows in named for row in rows if row]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw the curves."""
        measured = measured.restricted(panel.problem for panel in self.panels)
        standings = measured.standings(mark=updates_at)
        results = []
        for panel in {panel.problem: panel for panel in self.panels}.values():
            marks = _marks(panel, measured, standings)
            results += loss_results(measured, standings, [panel.problem], marks, self.base, panel.note, panel.judged_in)
        if not standings.contenders:
            return Findings(results)
        shown = [panel for panel in self.panels if panel.problem in standings.problems]
        drawn = draw_curves(measured, shown, self.caption)
        claims = [claim.judged(measured, standings) for claim in self.claims]
        sections = [
            Section(self.title, figures=[drawn], claims=claims),
            *who_leads(self.title, measured, standings, standings.problems),
            *how_they_spread(self.title, measured, standings, self.base, standings.last(self.base)),
            *what_tuning_chose(self.title, measured, TUNING),
        ]
        return Findings(results, sections)


def _marks(panel: Panel, measured: Measured, standings: Standings) -> Callable[[str, str], Sequence[int]]:
    """Return a function from a row and a problem to the published marks, or to the last mark if there are none."""
    points = measured.points(panel.problem)
    last = max((mark for row in points.values() for mark in row), default=0) or standings.last(panel.problem)
    return lambda row, _: [] if row in panel.without else list(points.get(row, {})) or [last or panel.updates]


def draw_curves(measured: Measured, shown: Sequence[Panel], caption: str, published: bool = True) -> Figure:
    """Draw loss curves in panels side by side; the paper's points are drawn in the panels of means."""
    figure, axes = grid(len(shown), COLUMNS, height=3.1)
    drawn = [measured.curves(panel.problem, statistic=panel.statistic, mark=updates_at) for panel in shown]
    run = set().union(*(table.contender for table in drawn))
    names = [name for name in measured.styles() if name in run]
    known = set().union(*(measured.points(panel.problem) for panel in shown)) if published else set()
    styles = emphasised(names, measured.styles(), drawn[0], known)  # the same in all panels
    apart = measured.names("solver", "limit")
    for index, (axis, panel, curves) in enumerate(zip(axes, shown, drawn, strict=True)):
        points = measured.points(panel.problem) if published and panel.statistic == "mean" else {}
        loss_curves(axis, curves, styles, points, apart)
        # Narrow panels in one line share the label of their vertical axis.
        name = f"loss, {panel.statistic}" if len(shown) < COLUMNS or index % COLUMNS == 0 else ""
        decorate(axis, panel.title or panel.problem, "updates", name)
    has_points = published and any(measured.points(panel.problem) for panel in shown)
    legend(figure, axes, DIGITISED if has_points else "")
    return measured.save(figure, caption)


def hand_made(measured: Measured, ours: bool = False) -> list[str]:
    """Return the paper's hand-made rules that were run, and if ``ours`` also our own."""
    return [name for name in measured.names("rival") if ours or not measured.rows[measured.origin[name]].ours]
