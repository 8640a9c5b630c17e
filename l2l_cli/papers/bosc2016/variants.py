"""Variants of the learner compared with the learner itself, and claims 6 and 7."""

from __future__ import annotations

from dataclasses import dataclass

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.bosc2016.recipe import HELD_OUT
from l2l_cli.papers.bosc2016.table import FORMATS, scores_table
from l2l_cli.papers.claims import above_bound, paired, within_bounds
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Section

HARDER, ALIKE = 0.02, 0.01
"""Differences in nats: the least at which J_test counts as much harder to train by, the largest that counts as none."""


@dataclass(frozen=True)
class Variants(Artefact):
    """Variants of the learner compared with the learner itself.

    Attributes:
        plain: Row of the unmodified learner.
        by_test: Row that is meta-trained on the loss of the test parts alone.
        order: Row with the order of events of Hochreiter et al. 2001.
    """

    plain: RowName
    by_test: RowName
    order: RowName

    def judge(self, measured: Measured) -> Findings:
        """Judge the variants; there is nothing to draw."""
        standings = measured.standings(HELD_OUT, variant="")
        mark = standings.last("")
        results = [measured.result(row, "cross_entropy", standings.values(row, "", mark)) for row in measured.rows]
        if not standings.contenders:
            return Findings(results)
        harder = "Claim 6, J_all works where J_test is much harder to train by"
        order = "Claim 7, predicting before updating makes no difference to the order of events of paper 1"
        much, none = f"much: {HARDER:g}", f"none: up to {ALIKE:g}"
        claims = [
            paired(harder, standings, self.by_test, self.plain, "", lambda one: above_bound(one, HARDER), much),
            paired(order, standings, self.order, self.plain, "", lambda one: within_bounds(one, ALIKE), none),
        ]
        table = scores_table(measured, standings).rename(columns={"contender": "variant"})
        table[f"difference (variant − {self.plain})"] = [
            str(standings.difference(name, self.plain, "", mark))
            if name != self.plain and standings.has(self.plain, "", mark)
            else "–"
            for name in table.variant
        ]
        for metric in ("updates", "seconds"):
            table[metric] = [round(measured.cost(name, metric)) for name in table.variant]
        return Findings(results, [Section("Variants of the learner", (), [table], (), FORMATS, claims)])
