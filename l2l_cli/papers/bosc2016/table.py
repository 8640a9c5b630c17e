"""The table: test cross-entropy over 500 data sets, every contender against the learner, paired."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.bosc2016.measures import ACCURACY, HELD_OUT
from l2l_cli.papers.claims import LEVEL, significantly_below
from l2l_cli.papers.measured import TRIALS, TUNE, Measured
from l2l_cli.papers.sections import what_tuning_chose
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import COLOURS, decorate, panels
from l2l_cli.results.standings import Standings
from l2l_cli.results.statistics import bootstrap_interval, p_text
from l2l_cli.results.verdicts import Result

TITLE = "Test cross-entropy"

TEXT = (
    "Mean and standard deviation over data sets of the cross-entropy on the test part, in nats.  All contenders meet "
    "the same data sets, none of which served to choose anything.  The difference is the learner's loss less the "
    "contender's, paired over data sets, its interval and p by the bootstrap; of several seeds of the learner the "
    "least favourable one's p is given.  Fits inside a data set choose their strength on its training part; settings "
    "tried beyond that, on tune data sets, are counted."
)

TUNING = "Contenders with settings to be chosen are tuned on tune data sets, by their held-out loss."


class Table(Artefact):
    """The paper's only table.

    Args:
        learner: Row of the paper's learner.
        longer: Row of the same learner after more updates.
        linear: Rows that the paper's learner beats.
        kernel: Row that it loses to.
        online: Rows of the same network moved by a hand-made rule, once a sample.
        strongest: Rows that a sceptic asks for.
    """

    def __init__(
        self, learner: str, longer: str, linear: list[str], kernel: str, online: list[str], strongest: list[str]
    ) -> None:
        self.learner, self.longer = learner, longer
        self.linear, self.kernel, self.online, self.strongest = linear, kernel, online, strongest

    def refers_to(self) -> Sequence[str]:
        """Return the rows that claims are about."""
        return [self.learner, self.longer, *self.linear, self.kernel, *self.online, *self.strongest]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all contenders."""
        standings = measured.standings(HELD_OUT, variant="")
        mark = standings.last("")
        results = self._results(measured, standings, mark)
        if not standings.contenders:
            return Findings(results)
        claims = self._claims(standings, mark)
        table = self._table(measured, standings, mark)
        formats = {"mean": ".4f", "sd": ".3f", "accuracy": ".3f"}
        drawn = self._draw(measured, standings, mark)
        section = Section(TITLE, [TEXT], [table], [drawn], formats, claims)
        return Findings(results, [section, *what_tuning_chose(TITLE, measured, TUNING)])

    def _results(self, measured: Measured, standings: Standings, mark: int) -> list[Result]:
        results: list[Result] = []
        published = measured.published.get("", {})
        for row in measured.rows:
            paper = published.get(row, {})
            means, spreads = standings.seeds(row, "", mark), standings.spreads(row, "", mark)
            results.append(measured.result(row, "cross_entropy", means, paper.get("cross_entropy")))
            note = "over data sets"
            results.append(measured.result(row, "sd", spreads, paper.get("sd"), note=note, lower_is_better=None))
        for rival in (self.kernel, self.strongest[0]):
            both = all(standings.has(name, "", mark) for name in (self.learner, rival))
            differences = [standings.difference(self.learner, rival, "", mark)] if both else []
            papers = [published.get(name, {}).get("cross_entropy") for name in (self.learner, rival)]
            gap = papers[0] - papers[1] if papers[0] is not None and papers[1] is not None else None
            values = [one.interval.value for one in differences]
            note = "paired, seeds averaged"
            results.append(measured.result(self.learner, f"less {rival}", values, gap, note=note))
            p, note = [one.p for one in differences], "of the least favourable seed"
            results.append(measured.result(self.learner, f"p against {rival}", p, note=note))
        return results

    def _claims(self, standings: Standings, mark: int) -> list[Claim]:
        """Judge claims 1 and 2, and what a sceptic asks."""

        def lower(text: str, rivals: Sequence[str], who: str = self.learner) -> Claim:
            return significantly_below(text, standings, who, rivals, "", mark)

        return [
            lower("Claim 1, lower than logistic regression and the linear SVM", self.linear),
            self._loses("Claim 2, higher than the RBF SVM", standings, mark),
            lower("Ours, lower than the same network moved online by a tuned rule", self.online),
            lower("Ours, lower than the RBF SVM", [self.kernel]),
            lower("Ours, lower than the strongest of the others", self.strongest),
            lower("Ours, the same after five times as many updates", self.strongest, self.longer),
        ]

    def _loses(self, text: str, standings: Standings, mark: int) -> Claim:
        if not all(standings.has(name, "", mark) for name in (self.kernel, self.learner)):
            return Claim(text, None)
        difference = standings.difference(self.learner, self.kernel, "", mark)
        holds = difference.interval.value > 0 and difference.p < LEVEL
        return Claim(text, holds, f"less it {difference}; the paper loses by 0.033")

    def _table(self, measured: Measured, standings: Standings, mark: int) -> pd.DataFrame:
        accuracy, published, lines = measured.standings(ACCURACY, variant=""), measured.published.get("", {}), []
        for name in sorted(standings.contenders, key=lambda who: standings.mean(who, "", mark)):
            paper = published.get(name)
            compared = standings.has(self.learner, "", mark) and name != self.learner
            difference = standings.difference(self.learner, name, "", mark) if compared else None
            trials = measured.select(name, TRIALS, split=TUNE).value.max()
            lines.append(
                {
                    "contender": name,
                    "mean": standings.mean(name, "", mark),
                    "sd": float(np.mean(standings.spreads(name, "", mark))),
                    "paper": f"{paper['cross_entropy']:.3f} ± {paper['sd']:.3f}" if paper else "–",
                    "accuracy": accuracy.mean(name, "", mark),
                    "difference (learner − contender) [95 %]": difference.within() if difference else "–",
                    "p": p_text(difference.p) if difference else "–",
                    "sets on which the learner is better": f"{difference.won:.0%}" if difference else "–",
                    "settings tried": "–" if pd.isna(trials) else f"{trials:.0f}",
                    "seeds": len(standings.seeds(name, "", mark)),
                }
            )
        return pd.DataFrame(lines)

    def _draw(self, measured: Measured, standings: Standings, mark: int) -> Figure:
        order = sorted(standings.contenders, key=lambda who: standings.mean(who, "", mark), reverse=True)
        figure, axes = panels(1, 1, height=1.0 + 0.3 * len(order))
        for height, name in enumerate(order):
            mean = bootstrap_interval(standings.episodes(name, "", mark).tolist())
            colour = COLOURS[0] if name == self.learner else COLOURS[7]
            axes[0].plot([mean.low, mean.high], [height, height], color=colour)
            axes[0].plot(mean.value, height, "o", color=colour, markersize=4.5)
            paper = measured.published.get("", {}).get(name)
            if paper:
                hollow = {"markerfacecolor": "none", "markersize": 4.5}
                axes[0].plot(paper["cross_entropy"], height, "o", color=colour, **hollow)  # type: ignore[arg-type]
        axes[0].set_yticks(range(len(order)), order)
        decorate(axes[0], "", "mean test cross-entropy, nats", "")
        return measured.save(figure, "Mean test cross-entropy with 95 % intervals; hollow: the paper's.")
