"""The paper's claims, as an experiment's file states them.

Source: Andrychowicz et al. 2016, §3; no claim there has a criterion, so each is ours and is said with its verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from l2l_cli.papers.claims import alike, below, fails
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim
from l2l_cli.results.standings import Standings

JUDGES = ("below", "alike", "fails")


class Statement(NamedTuple):
    """A claim about one problem, to be judged.

    Attributes:
        judge: Function of ``papers.claims`` that judges it, one of ``JUDGES``.
        text: The claim.
        problem: Problem that it is about.
        who: Row that it is about; empty for "alike", which compares the rivals with each other.
        rivals: Rows that it names beside; none are the paper's hand-made rules.
        all_rivals: Whether those that are ours are among the rivals, too.
        marks: Numbers of updates; none is the last one.
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

    @property
    def rows(self) -> list[str]:
        """Rows that the claim names."""
        return [*([self.who] if self.who else []), *self.rivals]

    def judged(self, measured: Measured, standings: Standings) -> Claim:
        """Judge the claim by the standings."""
        rivals = self.rivals or hand_made(measured, self.all_rivals)
        marks = self.marks or [standings.last(self.problem)]
        if self.judge == "alike":
            return alike(self.text, standings, rivals, self.problem, marks[-1])
        if self.judge == "fails":
            return fails(self.text, standings, self.who, rivals, self.problem, marks[-1], self.first_loss)
        return below(self.text, standings, self.who, rivals, self.problem, marks)


def hand_made(measured: Measured, ours: bool = False) -> list[str]:
    """Return the paper's hand-made rules that were run, and those that are ours if asked for."""
    return [name for name in measured.names("rival") if ours or not measured.row_of(name).ours]
