"""Beyond the paper: rules meta-trained to be good on all of its MNIST problems, and for ten times as many steps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import pandas as pd

from l2l_cli.papers.andrychowicz2016.curves import TUNING, Panel, draw_curves, hand_made, updates_at
from l2l_cli.papers.andrychowicz2016.move_sizes import move_size_sections
from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.claims import goes_on, shown
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.sections import loss_results, what_tuning_chose, who_leads
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import decorate, panels
from l2l_cli.results.standings import AHEAD, BEHIND, STANDS, Standings
from l2l_cli.results.verdicts import Result

TITLE = "One rule for all problems"


@dataclass(frozen=True)
class OneForAll(Artefact):
    """Every learned rule against the best tuned one, on every problem.

    Attributes:
        paper: Row of the paper's rule, with whose published losses every learned rule's are compared.
        base: Problem whose name is omitted from results.
        problems: Problems on which a rule should end at or below the best tuned one.
        longer: Problems with more updates than in meta-training.
        updates: Number of updates in meta-training.
        longest: Number of updates on the longer problems.
    """

    paper: RowName
    base: str
    problems: list[str]
    longer: list[str]
    updates: int
    longest: int

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw every learned rule on every problem."""
        measured = measured.restricted([*self.problems, *self.longer])
        standings = measured.standings(mark=updates_at)
        results = self._results(measured, standings)
        if not standings.contenders:
            return Findings(results)
        table = standings.against(measured.names("learned"), hand_made(measured))
        caption = "Loss against updates on every problem; bands: range over seeds, where there are several."
        drawn = [draw_curves(measured, [Panel(problem) for problem in standings.problems], caption, published=False)]
        if len(table):
            drawn.insert(0, _ratios(measured, table))
        followed = [problem for problem in self.problems if problem in standings.problems]
        claims = self._claims(measured, standings, table, followed)
        sections = [
            Section(TITLE, (), [table], drawn, claims=claims),
            *move_size_sections(measured, followed),
            *who_leads(TITLE, measured, standings, standings.problems),
            *what_tuning_chose(TITLE, measured, TUNING),
        ]
        return Findings(results, sections)

    def _results(self, measured: Measured, standings: Standings) -> list[Result]:
        learned = measured.names("learned")
        published = measured.published.items()
        beside = {problem: dict.fromkeys(learned, rows.get(self.paper, {})) for problem, rows in published}
        results = loss_results(
            replace(measured, published=beside),
            standings,
            standings.problems or self.problems,
            lambda row, problem: [standings.last(problem) or self.updates],
            self.base,
            judged_in="figure4_mnist and figure5",
        )
        note = f"paper: its {self.paper}"
        return [
            one if one.paper is None else replace(one, note="; ".join(filter(None, [note, one.note])))
            for one in results
        ]

    def _claims(
        self, measured: Measured, standings: Standings, table: pd.DataFrame, problems: list[str]
    ) -> list[Claim]:
        claims = []
        for name in measured.names("learned"):
            said = f"one rule for {len(problems)} networks"
            one = one_for_all(f"{name}, {said}", table, name, problems)
            claims.append(replace(one, statement=said.capitalize(), variant=name))
            said = f"a loss after {self.longest} updates no higher than after {self.updates}"
            one = goes_on(f"{name}, {said}", standings, name, self.longer, self.updates, self.longest)
            claims.append(replace(one, statement=said.capitalize(), variant=name))
        return claims


def one_for_all(text: str, table: pd.DataFrame, who: str, problems: Collection[str]) -> Claim:
    """Judge whether a rule ends below the best rival, tuned for each problem, on all of some problems.

    The claim fails if the rule is behind on one of them by the interval of the difference.
    """
    part = table[(table.contender == who) & table.problem.isin(problems)] if len(table) else table
    if not len(part):
        return Claim(text, None)
    ratios, stands = dict(zip(part.problem, part.ratio, strict=True)), set(part[STANDS])
    evidence = f"its loss as a multiple of the best tuned rule's: {shown(ratios, '.2f')}"
    verdict = False if BEHIND in stands else True if stands == {AHEAD} else None
    return Claim(text, verdict, evidence, f"at most {max(ratios.values()):.2f} ×")


def _ratios(measured: Measured, table: pd.DataFrame) -> Figure:
    problems, styles = list(dict.fromkeys(table.problem)), measured.styles()
    figure, axes = panels(1, 1, height=1.3 + 0.32 * len(problems))
    for index, (name, part) in enumerate(table.groupby("contender", sort=False)):
        height = [-problems.index(problem) for problem in part.problem]
        colour = styles[str(name)]["color"]
        axes[0].plot(part.ratio, height, "osD^v"[index % 5], color=colour, markersize=6, alpha=0.8, label=str(name))
    axes[0].axvline(1.0, color="#555555", linewidth=0.9)
    axes[0].set_yticks([-index for index in range(len(problems))], problems)
    axes[0].set_ylim(-len(problems) + 0.4, 0.6)
    decorate(axes[0], "Left of the line a learned rule is ahead", "final loss ÷ best tuned rule's", "", "x")
    caption = "Final loss of every learned rule as a multiple of the best tuned rule's, by problem."
    return measured.save(figure, caption, "_ratios", columns=5)
