"""Comparisons of MLHF with its rivals: figures 1 and 2, what goes beyond them, and the claims.

Source: Chen and Lu 2018, §4; no claim there comes with a criterion, so each criterion is ours, given with its verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.claims import all_of, at_most, below, below_bound, goes_on, shown
from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.mlhf2018.recipe import AT_ONE, TUNED
from l2l_cli.papers.mlhf2018.sections import end_results, ends_sections, inside_sections, loss_panels
from l2l_cli.papers.mlhf2018.track import DOWNHILL, SECONDS
from l2l_cli.papers.sections import ratio_result, what_tuning_chose
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.standings import Standings
from l2l_cli.results.statistics import difference_of
from l2l_cli.results.verdicts import Result

ANY = "MLHF"
"""Name in a claim's statement for each of the variants that it is judged for."""

FELL = 0.01
"""Nats by which the loss must still fall over the last half of a run to count as progress."""

TIMING = (
    "Seconds are CPU time of the process, or wall-clock time on a GPU, accumulated over the steps alone; the paper's "
    "are those of a GPU."
)

TUNING = (
    "Tuned for the mean training loss over the last tenth of the steps, on tune episodes alone.  All contenders start "
    "from the settings given for them, and the search continues in the same way wherever the best lies at an edge; "
    "MLHF tunes only its learning rate.  The numbers of settings tried are stated."
)

CAPTION = "Training cross-entropy against updates (a) and seconds (b); bands: range over seeds"


@dataclass(frozen=True)
class TrainingCurves(Artefact):
    """Curves of MLHF, in each variant, and of its rivals.

    Attributes:
        titles: Title of the section by problem; the first problem is the base, which results do not mention.
        rivals: Rows by group of rivals.
        lowest: Groups of rivals, by statement that a learned rule, ``{rule}``, is below all of them per ``{unit}``: per
            "sample", judged at every tenth of the run, and per "second", judged when the quickest rival has finished.
        at_most: Shares by group of rivals, by statement that a rule ends at or below that share of the best one.
        ratios: Groups of rivals; the ratio of each learned rule's loss to that of the best one is a result.
        progress: Statement that a rule keeps making progress; empty if that is not claimed.
        held_out: Whether scores on held-out images are drawn, too.
        log: Whether losses are drawn on a logarithmic axis.

    Raises:
        ValueError: A claim or ratio refers to a group that ``rivals`` does not have.
    """

    titles: dict[str, str]
    rivals: dict[str, list[RowName]]
    lowest: dict[str, list[str]]
    at_most: dict[str, dict[str, float]]
    ratios: list[str]
    progress: str = ""
    held_out: bool = False
    log: bool = False

    def __post_init__(self) -> None:
        """Check that all groups that are referred to exist."""
        named = {name for names in (*self.lowest.values(), *self.at_most.values(), self.ratios) for name in names}
        if unknown := named - set(self.rivals):
            raise ValueError(f"rivals has no group {', '.join(sorted(unknown))} (groups: {', '.join(self.rivals)})")

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw every problem that was run."""
        standings, (base, *_) = measured.standings(), self.titles
        results, sections = list[Result](), list[Section]()
        rules = [name for variant in (AT_ONE, TUNED) for name in measured.names("learned", variant=variant)]
        for problem in [name for name in self.titles if name in standings.problems] or [base]:
            results += end_results(measured, standings, problem, base)
            results += [
                ratio_result(measured, standings, rule, self.rivals[group], group, problem, row)
                for rule, row in {rule: on_problem(rule, problem, base) for rule in rules}.items()
                for group in self.ratios
            ]
            if standings.contenders:
                suffix = "" if problem == base else f"_{problem}"
                sections += self._sections(measured, standings, rules, problem, suffix)
        return Findings(results, [*sections, *what_tuning_chose(self.titles[base], measured, TUNING)])

    def _sections(
        self, measured: Measured, standings: Standings, rules: Sequence[str], problem: str, suffix: str
    ) -> list[Section]:
        title = self.titles[problem]
        claims = [one for rule in rules for one in self._claims(measured, standings, rule, problem)]
        claims.append(downhill(measured, problem))
        drawing = loss_panels(measured, problem, self.held_out, self.log)
        drawn = measured.save(
            drawing,
            CAPTION + ("; the other panels, ours: held-out images." if self.held_out else "."),
            suffix,
            columns=4,
        )
        return [
            Section(title, [TIMING], figures=[drawn], claims=claims),
            *ends_sections(title, measured, standings, problem),
            *inside_sections(title, measured, problem, suffix),
        ]

    def _claims(self, measured: Measured, standings: Standings, who: str, problem: str) -> Iterator[Claim]:
        """Yield the verdicts on one rule and problem."""
        for text, names in self.lowest.items():
            rows = [row for name in names for row in self.rivals[name]]
            per_sample, per_time = (text.format(rule=who, unit=unit) for unit in ("sample", "second"))
            said = [text.format(rule=ANY, unit=unit) for unit in ("sample", "second")]
            one = below(per_sample, standings, who, rows, problem, standings.marks(problem))
            yield replace(one, statement=said[0], variant=who)
            one = per_second(per_time, measured, standings, who, rows, problem)
            yield replace(one, statement=said[1], variant=who)
        if self.progress:
            one = progresses(self.progress.format(rule=who), standings, who, problem)
            yield replace(one, statement=self.progress.format(rule=ANY), variant=who)
        for text, shares in self.at_most.items():
            for name, share in shares.items():
                rivals, end = self.rivals[name], standings.last(problem)
                one = at_most(text.format(rule=who), standings, who, rivals, problem, end, share)
                yield replace(one, statement=text.format(rule=ANY), variant=who)


def per_second(
    text: str, measured: Measured, standings: Standings, who: str, rivals: Collection[str], problem: str
) -> Claim:
    """Judge whether a contender has a lower loss than every rival at the time when the quickest rival has finished.

    Each contender counts with the last tenth of its run that it has completed by then, on the same episodes.
    """
    table = measured.curves(problem, SECONDS)
    seconds = {str(name): part.groupby("updates").value.mean() for name, part in table.groupby("contender", sort=False)}
    run = [name for name in rivals if name in seconds]
    if who not in seconds or not run:
        return Claim(text, None)
    until = min(float(seconds[name].max()) for name in run)
    marks = {  # tenths of each contender's own run, at other numbers of updates if its batch size differs
        name: [
            mark
            for mark in standings.marks(problem)
            if standings.has(name, problem, mark) and np.interp(mark, spent.index, spent) <= until * (1 + 1e-9)
        ]
        for name, spent in seconds.items()
    }
    price = seconds[who].max() / min(float(seconds[name].max()) for name in run)
    slow = f"one of its steps takes {price:.1f} times as long as one of the quickest"
    if not marks[who]:
        evidence = f"it is not through with a tenth of the run when the quickest has ended; {slow}"
        return Claim(text, False, evidence, f"{price:.1f} times the time per step")
    reached = {name: standings.values(name, problem, marks[name][-1]) for name in [who, *run] if marks[name]}
    best = min((name for name in reached if name != who), key=lambda name: reached[name].mean())
    gaps = {name: difference_of(reached[who], losses).interval for name, losses in reached.items() if name != who}
    evidence = f"after {until:.3g} s, when the quickest is through, {reached[who].mean():.3g} against "
    evidence += f"{reached[best].mean():.3g} of {best}, difference {gaps[best].within('+.3g')}; {slow}"
    number = f"difference {gaps[best].within('+.3g')}"
    return Claim(text, all_of([below_bound(gap) for gap in gaps.values()]), evidence, number)


def progresses(text: str, standings: Standings, who: str, problem: str) -> Claim:
    """Judge whether the loss still falls over the last half of a run."""
    marks = [mark for mark in standings.marks(problem) if standings.has(who, problem, mark)]
    if len(marks) < 2:
        return Claim(text, None)
    return goes_on(text, standings, who, [problem], marks[(len(marks) - 1) // 2], marks[-1], FELL)


def downhill(measured: Measured, problem: str) -> Claim:
    """Judge whether ⟨g, x_n⟩ > 0 at every step that was diagnosed."""
    text, table = "Claim 5, ⟨g, xₙ⟩ > 0", measured.curves(problem, DOWNHILL)
    if not len(table):
        return Claim(text, None)
    shares = {str(name): float(part.value.mean()) for name, part in table.groupby("contender", sort=False)}
    evidence = f"share of the steps diagnosed: {shown(shares, '.1%')}"
    return Claim(text, set(shares.values()) == {1.0}, evidence, f"in {100 * min(shares.values()):.4g} % of steps")


def stays_finite(text: str, lost: Mapping[str, Sequence[float]]) -> Claim:
    """Judge whether every loss of some contenders was finite, given the numbers of those that were not, by seed."""
    if not lost:
        return Claim(text, None)
    bad = {name: sum(counts) for name, counts in lost.items() if any(counts)}
    evidence = f"losses that were not finite: {shown(bad, '.0f') or 'none'}"
    return Claim(text, not bad, evidence, f"{sum(bad.values())} losses not finite")
