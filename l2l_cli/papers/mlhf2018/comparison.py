"""Comparisons of MLHF with its rivals: figures 1 and 2, and what goes beyond them."""

from __future__ import annotations

from collections.abc import Sequence

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.mlhf2018.claims import Statements, downhill
from l2l_cli.papers.mlhf2018.measures import AT_ONE, TUNED
from l2l_cli.papers.mlhf2018.sections import end_results, ends_sections, inside_sections, loss_panels
from l2l_cli.papers.sections import ratio_result, what_tuning_chose
from l2l_cli.results.content import Section
from l2l_cli.results.standings import Standings
from l2l_cli.results.verdicts import Result

SECONDS = (
    "Seconds are those that the process spent on its CPU, on a GPU those on the wall, accumulated over the steps "
    "alone; the paper's are those of a GPU."
)

TUNING = (
    "Tuned for the mean training loss over the last tenth of the steps, on tune episodes alone; every contender tries "
    "equally many settings, MLHF those of its learning rate, and their number is stated."
)

CAPTION = "Training cross-entropy against samples (a) and seconds (b), bands: range over seeds"


class TrainingCurves(Artefact):
    """Curves of MLHF, in each variant, and of its rivals.

    Args:
        titles: Title of the section by problem; the first problem is the base, which results do not mention.
        text: Description of the contenders.
        rivals: Rows by group of rivals.
        claims: Claims about each learned rule at learning rate 1, and at a tuned one.
        ratios: Groups as a multiple of whose best each learned rule's loss is a result.
        held_out: Whether scores on held-out images are drawn, too.
        log: Whether losses are drawn on a logarithmic axis.

    Raises:
        ValueError: A claim or ratio refers to a group that ``rivals`` does not have.
    """

    def __init__(
        self,
        titles: dict[str, str],
        text: str,
        rivals: dict[str, list[str]],
        claims: Statements,
        ratios: list[str],
        held_out: bool = False,
        log: bool = False,
    ) -> None:
        if unknown := {*claims.groups, *ratios} - set(rivals):
            raise ValueError(f"rivals has no group {', '.join(sorted(unknown))} (groups: {', '.join(rivals)})")
        self.titles, self.text, self.rivals = titles, text, rivals
        self.claims, self.ratios, self.held_out, self.log = claims, ratios, held_out, log

    def refers_to(self) -> Sequence[str]:
        """Return the rivals."""
        return [row for rows in self.rivals.values() for row in rows]

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
        title, judged = self.titles[problem], self.claims.judged
        claims = [one for rule in rules for one in judged(measured, standings, rule, self.rivals, problem)]
        claims.append(downhill(measured, problem))
        drawing = loss_panels(measured, problem, self.held_out, self.log)
        drawn = measured.save(drawing, CAPTION + ("; below, held-out images." if self.held_out else "."), suffix)
        return [
            Section(title, [self.text, SECONDS], figures=[drawn], claims=claims),
            *ends_sections(title, measured, standings, problem),
            *inside_sections(title, measured, problem, suffix),
        ]
