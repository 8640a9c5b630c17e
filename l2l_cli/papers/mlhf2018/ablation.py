"""Figure 3: what RNN_p is worth, by leaving it out and by the number of iterations.

Each configuration is meta-trained and then runs by itself, so that no two solve the same systems.  l_p is lower where
RNN_s infers less damping, whatever RNN_p does; so ours is also the *efficiency*: l_p as a share of what a near-exact
solution of the same system has, from the same start, 1 at best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.mlhf2018.sections import draw
from l2l_cli.papers.mlhf2018.track import EFFICIENCY, LOSS, RELATIVE, RESIDUAL, SECONDS, SOLVER
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import decorate, legend, panels
from l2l_cli.results.standings import last_values

COLUMNS = {"l_p": SOLVER, "efficiency": EFFICIENCY, "‖r_n‖": RESIDUAL, "‖r_n‖ ÷ ‖g‖": RELATIVE}
"""Metrics of the table by column."""

FORMATS = {"l_p": ".3f", "efficiency": ".3f", "loss": ".3f", "seconds ÷ default's": ".2f"}


@dataclass(frozen=True)
class Ablation(Artefact):
    """Configurations of the preconditioner, each compared with the default.

    Deviation: at scale short the network is the reduced one of figure 1, where the paper has its small residual
    network, and each configuration is meta-trained for fewer updates.

    Attributes:
        default: Row that the others are compared with.
        leads: Smallest lead of the default's efficiency over that of a row, by statement; below 0 it may be behind.
        residuals: Smallest ratio of the default's ‖r_n‖ ÷ ‖g‖ to that of a row, by statement.
    """

    default: RowName
    leads: dict[str, dict[RowName, float]]
    residuals: dict[str, dict[RowName, float]]

    def judge(self, measured: Measured) -> Findings:
        """Judge the orderings one by one, and draw l_p, ‖r_n‖ and the efficiency."""
        note = "limit: the same systems solved nearly exactly"
        results = []
        for row in measured.rows:
            efficiency, solver = (measured.values(row, metric) for metric in (EFFICIENCY, SOLVER))
            results.append(measured.result(row, EFFICIENCY, efficiency, None, 1.0, note, lower_is_better=False))
            results.append(measured.result(row, SOLVER, solver))
        if not measured.run:
            return Findings(results)
        tables, drawn = [self._table(measured)], [self._draw(measured)]
        section = Section("Figure 3: ablation", (), tables, drawn, FORMATS, self._claims(measured))
        return Findings(results, [section])

    def _draw(self, measured: Measured) -> Figure:
        figure, axes = panels(1, 3, height=3.0)
        styles = {measured.origin[name]: style for name, style in measured.styles().items()}
        titles = {SOLVER: "(a) l_p", RESIDUAL: "(b) mean ‖r_n‖", EFFICIENCY: "ours: efficiency"}
        for panel, (metric, title) in zip(axes, titles.items(), strict=True):
            draw(panel, _by_row(measured, metric), styles, log=metric == RESIDUAL, cut=False)
            decorate(panel, title, "updates", "")
        legend(figure, axes)
        caption = "(a) l_p, lower is better; (b) ‖r_n‖; ours, l_p as a share of a near-exact solution's, 1 is best."
        return measured.save(figure, caption)

    def _table(self, measured: Measured) -> pd.DataFrame:
        loss, seconds = (last_values(_by_row(measured, metric)) for metric in (LOSS, SECONDS))
        return pd.DataFrame(
            {
                "configuration": row,
                **{column: np.mean(measured.values(row, metric)) for column, metric in COLUMNS.items()},
                "loss": loss[row],
                "seconds ÷ default's": seconds[row] / seconds.get(self.default, np.nan),
                "seeds": len(measured.values(row, SOLVER)),
            }
            for row in measured.run
        )

    def _claims(self, measured: Measured) -> list[Claim]:
        """Judge claim 4, one ordering after the other, by the efficiency and by the residual relative to ‖g‖."""
        return [
            self._claim(measured, metric, text, *pair)
            for metric, stated in ((EFFICIENCY, self.leads), (RELATIVE, self.residuals))
            for text, marks in stated.items()
            for pair in marks.items()
        ]

    def _claim(self, measured: Measured, metric: str, text: str, row: str, mark: float) -> Claim:
        ours, theirs = (measured.values(name, metric) for name in (self.default, row))
        if not ours or not theirs:
            return Claim(text, None)
        a, b = float(np.mean(ours)), float(np.mean(theirs))
        if metric == EFFICIENCY:
            return Claim(text, a - b >= mark, f"efficiency {a:.3f} against {b:.3f} (mark: a lead of at least {mark:g})")
        return Claim(text, a >= mark * b, f"‖r_n‖ ÷ ‖g‖ {a:.2g} against {b:.2g} (mark: {mark:g} times)")


def _by_row(measured: Measured, metric: str) -> pd.DataFrame:
    """Return the curves of a metric, each called by its row: all are run at one learning rate."""
    table = measured.curves(measured.standings().problems[0], metric)
    return table.assign(contender=table.contender.map(measured.origin))
