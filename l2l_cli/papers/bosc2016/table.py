"""The table: test cross-entropy over 500 data sets, paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.bosc2016.recipe import ACCURACY, HELD_OUT
from l2l_cli.papers.claims import Verdict, above_bound, below_at_the_end, below_bound, paired
from l2l_cli.papers.measured import TRIALS, TUNE, Measured
from l2l_cli.papers.sections import what_tuning_chose
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import LIMIT, NARROW, decorate, legend, panels
from l2l_cli.results.standings import Standings
from l2l_cli.results.statistics import Difference, Interval, mean_of, p_value, sd_of
from l2l_cli.results.verdicts import Result

TITLE = "Test cross-entropy"
TUNING = "Contenders with settings to choose are tuned on tune data sets, by their held-out loss."
FORMATS = {"mean": ".4f", "sd": ".3f", "accuracy": ".3f"}

NEAR = 0.02
"""Nats by which the learner may be behind the best known and still be called near it."""

COLUMNS: Mapping[str, Callable[[Difference], str]] = {
    "difference (learner − contender) [95 %]": Difference.within,
    "p": lambda difference: p_value(difference.p),
    "sets on which the learner is better": lambda difference: f"{difference.won:.0%}",
}
"""Functions from a paired difference to a column of the table."""


@dataclass(frozen=True)
class Table(Artefact):
    """The paper's only table.

    Attributes:
        learner: Row of the paper's learner.
        longer: Row of the same learner after more updates.
        linear: Rows that the paper's learner beats.
        kernel: Row that it loses to.
        online: Rows of the same network trained by a hand-made rule, with one step per sample.
        strongest: Rows of the strongest other rivals.
        best_known: Row of the best known method, which is not a limit.
    """

    learner: RowName
    longer: RowName
    linear: list[RowName]
    kernel: RowName
    online: list[RowName]
    strongest: list[RowName]
    best_known: RowName

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all contenders."""
        standings = measured.standings(HELD_OUT, variant="")
        results = self._results(measured, standings)
        if not standings.contenders:
            return Findings(results)
        tables, drawn = [self._table(measured, standings)], [self._draw(measured, standings)]
        section = Section(TITLE, (), tables, drawn, FORMATS, self._claims(standings))
        return Findings(results, [section, *what_tuning_chose(TITLE, measured, TUNING)])

    def _results(self, measured: Measured, standings: Standings) -> list[Result]:
        results: list[Result] = []
        published, mark = measured.published.get("", {}), standings.last("")
        for row in measured.rows:
            paper = published.get(row, {})
            losses, note = standings.values(row, "", mark), "over data sets"
            results.append(measured.result(row, "cross_entropy", losses, paper.get("cross_entropy")))
            spread = sd_of(losses) if losses.size else None
            values = losses.std(1).tolist() if losses.size else []
            results.append(
                measured.result(row, "sd", values, paper.get("sd"), note=note, lower_is_better=None, interval=spread)
            )
        for rival in (self.kernel, self.strongest[0], self.best_known):
            both = self.learner, rival
            run = len(standings.scored(both, "", mark)) == len(both)
            found = standings.difference(*both, "", mark) if run else None
            papers = [published[name]["cross_entropy"] for name in both if name in published]
            gap = papers[0] - papers[1] if len(papers) == len(both) else None
            values = standings.values(both[0], "", mark) - standings.values(both[1], "", mark) if run else np.empty(0)
            options = {"note": "paired over data sets", "interval": found and found.interval}
            less = measured.result(self.learner, f"less {rival}", values, gap, **options)
            results.append(less.without_verdict("no verdict: the difference of two published numbers"))
            p = [found.p] if found else []
            results.append(measured.result(self.learner, f"p against {rival}", p, note="of the paired difference"))
        return results

    def _claims(self, standings: Standings) -> list[Claim]:
        """Judge claims 1 and 2, and ours."""

        def lower(text: str, rivals: Sequence[str], who: str = self.learner) -> Claim:
            return below_at_the_end(text, standings, who, rivals, "", standings.last(""))

        def loses(difference: Interval) -> Verdict:
            return above_bound(difference, 0.0)

        higher, remark = "Claim 2, higher than the RBF SVM", "the paper loses by 0.033"
        near, known = f"Ours, within {NEAR:g} of the best known, {self.best_known}", "best known, not a limit"
        return [
            lower("Claim 1, lower than logistic regression and the linear SVM", self.linear),
            paired(higher, standings, self.learner, self.kernel, "", loses, remark),
            lower("Ours, lower than the same network moved online by a tuned rule", self.online),
            lower("Ours, lower than the RBF SVM", [self.kernel]),
            lower("Ours, lower than the strongest of the others", self.strongest),
            lower("Ours, the same after five times as many updates", self.strongest, self.longer),
            paired(near, standings, self.learner, self.best_known, "", lambda one: below_bound(one, NEAR), known),
        ]

    def _table(self, measured: Measured, standings: Standings) -> pd.DataFrame:
        table = scores_table(measured, standings).sort_values("mean", kind="stable")
        published, mark = measured.published.get("", {}), standings.last("")
        rivals = [
            name for name in standings.contenders if standings.has(self.learner, "", mark) and name != self.learner
        ]
        differences = {name: standings.difference(self.learner, name, "", mark) for name in rivals}
        trials = {name: measured.select(name, TRIALS, split=TUNE).value.max() for name in table.contender}
        table["paper"] = [
            "{cross_entropy:.3f} ± {sd:.3f}".format(**published[name]) if name in published else "–"
            for name in table.contender
        ]
        for column, text in COLUMNS.items():
            table[column] = [text(differences[name]) if name in differences else "–" for name in table.contender]
        table["settings tried"] = ["–" if pd.isna(count) else f"{count:.0f}" for count in trials.values()]
        return table

    def _draw(self, measured: Measured, standings: Standings) -> Figure:
        mark, published = standings.last(""), measured.published.get("", {})
        order = sorted(standings.contenders, key=lambda who: standings.mean(who, "", mark), reverse=True)
        styles = measured.styles()
        figure, axes = panels(1, 1, NARROW, 1.3 + 0.26 * len(order))
        for height, name in enumerate(order):
            mean = mean_of(standings.values(name, "", mark))
            colour = styles[name]["color"]
            if mean.is_known:
                axes[0].plot([mean.low, mean.high], [height, height], color=colour)
            axes[0].plot(mean.value, height, "o", color=colour, markersize=4.5)
            if name in published:
                paper = published[name]["cross_entropy"]
                axes[0].plot(paper, height, "o", color=colour, markersize=4.5, markerfacecolor="none")
        axes[0].plot([np.nan], [np.nan], "o-", color=LIMIT, markersize=4.5, label="ours, 95 % interval")
        axes[0].set_yticks(range(len(order)), order)
        decorate(axes[0], "", "mean test cross-entropy, nats", "")
        legend(figure, axes, published="paper")
        caption = f"Mean test cross-entropy over data sets; the {self.best_known} is the best known, not a limit."
        return measured.save(figure, caption)


def scores_table(measured: Measured, standings: Standings) -> pd.DataFrame:
    """Return every contender's mean loss over data sets, its standard deviation and accuracy, and number of seeds."""
    mark, accuracy = standings.last(""), measured.standings(ACCURACY, variant="")
    return pd.DataFrame(
        {
            "contender": name,
            "mean": standings.mean(name, "", mark),
            "sd": sd_of(standings.values(name, "", mark)).value,
            "accuracy": accuracy.mean(name, "", mark),
            "seeds": len(standings.seeds(name, "", mark)),
        }
        for name in standings.contenders
    )
