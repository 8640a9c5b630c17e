"""Figure 3: what RNN_p is worth, by leaving it out and by the number of iterations.

Each configuration is meta-trained and then runs by itself, so that no two solve the same systems.  l_p is lower where
RNN_s infers less damping, whatever RNN_p does; so ours is also the *efficiency*: l_p as a share of what a near-exact
solution of the same system has, from the same start, 1 at best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.mlhf2018.diagnostics import CONVERGED, EFFICIENCY, RELATIVE, RESIDUAL, SOLVER
from l2l_cli.papers.mlhf2018.drawing import draw
from l2l_cli.papers.mlhf2018.track import LOSS, SECONDS
from l2l_cli.papers.panels import legend
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import decorate, panels
from l2l_cli.results.standings import last_values
from l2l_cli.results.verdicts import Result

TEXT = (
    "Every configuration is meta-trained as itself, runs at learning rate 1, and is diagnosed at the same steps.  "
    f"*Efficiency* is l_p ÷ that of {CONVERGED} iterations with P = 1/ŝ on the same system.  *Jacobi* is a control: "
    "P = 1/ŝ with nothing learned about it."
)

FORMATS = {"l_p": ".3f", "efficiency": ".3f", "loss": ".3f", "seconds ÷ default's": ".2f"}


class Ablation(Artefact):
    """Configurations of the preconditioner, each compared with the default.

    Deviation: at scale short the network is the reduced one of figure 1, where the paper has its small residual
    network, and each configuration is meta-trained for fewer updates.

    Args:
        default: Row that the others are compared with.
        leads: Smallest lead of the default's efficiency over that of a row, by statement; below 0 it may be behind.
        residuals: Smallest ratio of the default's ‖r_n‖ ÷ ‖g‖ to that of a row, by statement.
    """

    def __init__(
        self, default: str, leads: dict[str, dict[str, float]], residuals: dict[str, dict[str, float]]
    ) -> None:
        self.default, self.leads, self.residuals = default, leads, residuals

    def refers_to(self) -> Sequence[str]:
        """Return the configurations that claims are about."""
        return [self.default, *(row for marks in [*self.leads.values(), *self.residuals.values()] for row in marks)]

    def judge(self, measured: Measured) -> Findings:
        """Judge the orderings one by one, and draw l_p, ‖r_n‖ and the efficiency."""
        results = [result for row in measured.rows for result in self._results(measured, row)]
        if not measured.run:
            return Findings(results)
        table, claims = self._table(measured), self.claims(measured)
        return Findings(
            results, [Section("Figure 3: ablation", [TEXT], [table], [self._draw(measured)], FORMATS, claims)]
        )

    def _results(self, measured: Measured, row: str) -> list[Result]:
        note = "limit: the same systems solved nearly exactly"
        efficiency, solver = (measured.values(row, metric) for metric in (EFFICIENCY, SOLVER))
        return [
            measured.result(row, EFFICIENCY, efficiency, None, 1.0, note, lower_is_better=False),
            measured.result(row, SOLVER, solver),
        ]

    def _draw(self, measured: Measured) -> Figure:
        figure, axes = panels(1, 3, height=3.0)
        problem = measured.standings().problems[0]
        styles = {measured.origin[name]: style for name, style in measured.styles().items()}
        titles = {SOLVER: "(a) l_p", RESIDUAL: "(b) mean ‖r_n‖", EFFICIENCY: "ours: efficiency"}
        for panel, (metric, title) in zip(axes, titles.items(), strict=True):
            table = measured.curves(problem, metric)
            table = table.assign(contender=table.contender.map(measured.origin))
            draw(panel, table, styles, log=metric == RESIDUAL, limits=False)
            decorate(panel, title, "updates", "")
        legend(figure, axes)
        caption = "(a) l_p, lower is better; (b) ‖r_n‖; ours, l_p as a share of a near-exact solution's, 1 is best."
        return measured.save(figure, caption)

    def _table(self, measured: Measured) -> pd.DataFrame:
        problem = measured.standings().problems[0]
        loss, seconds = (
            {measured.origin[name]: value for name, value in last_values(measured.curves(problem, metric)).items()}
            for metric in (LOSS, SECONDS)
        )
        return pd.DataFrame(
            [
                {
                    "configuration": row,
                    "l_p": np.mean(measured.values(row, SOLVER)),
                    "efficiency": np.mean(measured.values(row, EFFICIENCY)),
                    "‖r_n‖": np.mean(measured.values(row, RESIDUAL)),
                    "‖r_n‖ ÷ ‖g‖": np.mean(measured.values(row, RELATIVE)),
                    "loss": loss[row],
                    "seconds ÷ default's": seconds[row] / seconds.get(self.default, np.nan),
                    "seeds": len(measured.values(row, SOLVER)),
                }
                for row in measured.run
            ]
        )

    def claims(self, measured: Measured) -> list[Claim]:
        """Judge claim 4, one ordering after the other, by efficiency and residual; l_p itself is said beside it."""
        return [
            judge(measured, text, row, mark) if {self.default, row} <= set(measured.run) else Claim(text, None)
            for judge, stated in ((self._leads, self.leads), (self._is_looser, self.residuals))
            for text, marks in stated.items()
            for row, mark in marks.items()
        ]

    def _leads(self, measured: Measured, text: str, row: str, mark: float) -> Claim:
        (ours, theirs), (solver, other) = (self._pair(measured, row, metric) for metric in (EFFICIENCY, SOLVER))
        evidence = f"efficiency {ours:.3f} against {theirs:.3f} (mark: a lead of {mark:g}); l_p {solver:.3f} against"
        return Claim(text, ours - theirs >= mark, f"{evidence} {other:.3f}")

    def _is_looser(self, measured: Measured, text: str, row: str, mark: float) -> Claim:
        ours, theirs = self._pair(measured, row, RELATIVE)
        evidence = f"‖r_n‖ ÷ ‖g‖ {ours:.2g} against {theirs:.2g} (mark: {mark:g} times)"
        return Claim(text, ours >= mark * theirs, evidence)

    def _pair(self, measured: Measured, row: str, metric: str) -> tuple[float, float]:
        """Return one metric of the default and of another row, means over seeds and steps."""
        ours, theirs = (measured.select(name, metric) for name in (self.default, row))
        return float(ours.value.mean()), float(theirs.value.mean())
