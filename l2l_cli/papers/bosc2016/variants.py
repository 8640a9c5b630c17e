"""Claims 6 and 7, and other ways to meta-train the learner: all for the same number of updates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.bosc2016.measures import ACCURACY, HELD_OUT
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.standings import Standings

HARDER = 0.02
"""Difference in nats by which J_test must be behind, after as many updates, to be called much harder to train by."""

ALIKE = 0.01
"""Difference in nats that counts as none."""

TEXT = (
    "The learner of the table and its variants, each meta-trained for the same number of updates, except for the "
    "paper's own recipe: SMORMS3 at 0.001 (its default, the paper's rate is lost), one data set per update.  Mixed "
    "samples are scored with training and test samples mixed at random as well.  The difference is the variant's loss "
    "less that of the learner as it is, paired over data sets, seeds averaged."
)


class Variants(Artefact):
    """Variants of the learner beside the learner as it is.

    Args:
        plain: Row of the learner as it is.
        by_test: Row that is meta-trained by the loss of the test parts alone.
        order: Row with the order of events of Hochreiter et al. 2001.
    """

    def __init__(self, plain: str, by_test: str, order: str) -> None:
        self.plain, self.by_test, self.order = plain, by_test, order

    def refers_to(self) -> Sequence[str]:
        """Return the rows that claims are about."""
        return [self.plain, self.by_test, self.order]

    def judge(self, measured: Measured) -> Findings:
        """Judge the variants; there is nothing to draw."""
        standings = measured.standings(HELD_OUT, variant="")
        mark = standings.last("")
        results = [measured.result(row, "cross_entropy", standings.seeds(row, "", mark)) for row in measured.rows]
        if not standings.contenders:
            return Findings(results)
        claims = self._claims(standings, mark)
        formats = {"loss": ".4f", "sd": ".3f", "accuracy": ".3f"}
        table = self._table(measured, standings, mark)
        return Findings(results, [Section("Variants of the learner", [TEXT], [table], (), formats, claims)])

    def _claims(self, standings: Standings, mark: int) -> list[Claim]:
        def claim(text: str, variant: str, behind: float | None) -> Claim:
            if not all(standings.has(name, "", mark) for name in (self.plain, variant)):
                return Claim(text, None)
            difference = standings.difference(variant, self.plain, "", mark)
            gap = difference.interval.value
            holds = gap >= behind if behind is not None else abs(gap) <= ALIKE
            means = f"{standings.mean(variant, '', mark):.4f} against {standings.mean(self.plain, '', mark):.4f}"
            limit = f"much: {behind:g}" if behind is not None else f"none: up to {ALIKE:g}"
            return Claim(text, holds, f"{variant} {means}, difference {difference} ({limit})")

        order = "Claim 7, predicting before updating makes no difference to the order of events of paper 1"
        return [
            claim("Claim 6, J_all works where J_test is much harder to train by", self.by_test, HARDER),
            claim(order, self.order, None),
        ]

    def _table(self, measured: Measured, standings: Standings, mark: int) -> pd.DataFrame:
        accuracy, lines = measured.standings(ACCURACY, variant=""), []
        for name in standings.contenders:
            against = name != self.plain and standings.has(self.plain, "", mark)
            lines.append(
                {
                    "variant": name,
                    "loss": standings.mean(name, "", mark),
                    "sd": float(np.mean(standings.spreads(name, "", mark))),
                    "accuracy": accuracy.mean(name, "", mark),
                    f"difference (variant − {self.plain})": (
                        str(standings.difference(name, self.plain, "", mark)) if against else "–"
                    ),
                    "updates": int(measured.cost(name, "updates")),
                    "seconds": measured.cost(name, "seconds"),
                    "seeds": len(standings.seeds(name, "", mark)),
                }
            )
        return pd.DataFrame(lines)
