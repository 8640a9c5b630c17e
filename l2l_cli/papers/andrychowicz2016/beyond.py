"""Beyond the paper: rules meta-trained to be good on all of its MNIST problems, and for ten times as many steps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import pandas as pd

from l2l_cli.papers.andrychowicz2016.curves import TUNING, Panel, draw_curves, hand_made, updates_at
from l2l_cli.papers.andrychowicz2016.move_sizes import move_size_sections
from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.claims import all_of, at_most, goes_on, shown
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.sections import loss_results, what_tuning_chose, who_leads
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import decorate, panels
from l2l_cli.results.standings import AHEAD, BEHIND, STANDS, Standings

TITLE = "One rule for all problems"


@dataclass(frozen=True)
class OneForAll(Artefact):
    """Every learned rule against the best tuned one, on every problem.

    Attributes:
        base: Problem whose name is omitted from results.
        problems: Problems on which a rule should end below the best tuned one.
        longer: Problems with ``longest`` updates, on which it should end within ``margin`` of the best tuned one.
        unlike: Problems with networks or data unlike those of meta-training, on which it should end within ``slack``.
        updates: Number of updates of all problems that are not longer.
        longest: Number of updates of the longer problems.
        margin: Share by which a rule may end above the best tuned one on the longer problems.
        slack: The same on the problems unlike those of meta-training.
    """

    base: str
    problems: list[str]
    longer: list[str]
    unlike: list[str]
    updates: int
    longest: int
    margin: float
    slack: float

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw every learned rule on every problem."""
        measured = measured.restricted([*self.problems, *self.longer, *self.unlike])
        standings = measured.standings(mark=updates_at)
        run = standings.problems or self.problems
        mark = {problem: standings.last(problem) or self.updates for problem in run}
        results = loss_results(measured, standings, run, lambda row, problem: [mark[problem]], self.base)
        if not standings.contenders:
            return Findings(results)
        rivals = hand_made(measured, ours=True)
        table = standings.against(measured.names("learned"), rivals)
        caption = "Loss against updates on every problem; bands: range over seeds, where there are several."
        drawn = [draw_curves(measured, [Panel(problem) for problem in standings.problems], caption, published=False)]
        if len(table):
            drawn.insert(0, _ratios(measured, table))
        followed = [problem for problem in self.problems if problem in standings.problems]
        by_rule = [self._claims(measured, standings, table, name, rivals) for name in measured.names("learned")]
        claims = [claim for one in by_rule for claim in one]
        sections = [
            Section(TITLE, (), [table], drawn, claims=claims),
            *move_size_sections(measured, followed),
            *who_leads(TITLE, measured, standings, standings.problems),
            *what_tuning_chose(TITLE, measured, TUNING),
        ]
        return Findings(results, sections)

    def _claims(
        self, measured: Measured, standings: Standings, table: pd.DataFrame, name: str, rivals: Collection[str]
    ) -> list[Claim]:
        """Return the claims about one learned rule."""
        run = [problem for problem in self.problems if problem in standings.problems]
        everywhere = [*self.problems, *self.longer, *self.unlike]
        far = f"within {100 * self.margin:.0f} % of the best tuned rule after {self.longest} updates"
        elsewhere = f"within {100 * self.slack:.0f} % of it on networks and data unlike any before"
        on = f"a loss after {self.longest} updates no higher than after {self.updates}"
        own = f"{name}, "
        judged = [
            one_for_all(f"{own}one rule for {len(run)} networks", table, name, run),
            within_reach(own + far, standings, name, rivals, self.longer, 1.0 + self.margin),
            within_reach(own + elsewhere, standings, name, rivals, self.unlike, 1.0 + self.slack),
            ends_below_start(f"{own}no run ends above its start", measured, standings, name, everywhere),
            goes_on(own + on, standings, name, self.longer, self.updates, self.longest),
        ]
        said = [one.text.removeprefix(own) for one in judged]
        return [
            replace(one, statement=text[0].upper() + text[1:], variant=name)
            for text, one in zip(said, judged, strict=True)
        ]


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


def within_reach(
    text: str, standings: Standings, who: str, rivals: Collection[str], problems: Collection[str], share: float
) -> Claim:
    """Judge whether a rule ends at or below a multiple of the best rival's loss, on each of some problems."""
    judged, ratios = dict[str, Claim](), dict[str, float]()
    for problem in problems:
        mark = standings.last(problem)
        best = standings.best(rivals, problem, mark)
        if best is not None and standings.has(who, problem, mark):
            judged[problem] = at_most(text, standings, who, rivals, problem, mark, share)
            ratios[problem] = standings.mean(who, problem, mark) / standings.mean(best, problem, mark)
    if not judged:
        return Claim(text, None)
    evidence = "; ".join(f"{name}: {one.evidence}" for name, one in judged.items())
    verdict = all_of([one.holds for one in judged.values()])
    return Claim(text, verdict, evidence, f"{shown(ratios, '.3f')}, mark {share:.2f}")


def ends_below_start(text: str, measured: Measured, standings: Standings, who: str, problems: Collection[str]) -> Claim:
    """Judge whether no episode of any seed ends above the mean loss before the first update."""
    above, ends = list[str](), list[float]()
    for problem in problems:
        course = measured.curves(problem, mark=updates_at)
        first = course[(course.contender == who) & (course.updates == 0)].value
        if len(first):
            values = standings.values(who, problem, standings.last(problem))
            over = int((values > first.mean()).sum())
            above += [f"{over} on {problem}"] if over else []
            ends += [*values.ravel()]
    if not ends:
        return Claim(text, None)
    said = f"highest loss at an end {max(ends):.3g}"
    return Claim(text, not above, f"{', '.join(above) or 'none'} of {len(ends)} episodes; {said}", said)


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
