"""Beyond the paper: larger networks that are trained longer, and functions that change without notice."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.hochreiter2001.judges import FORMATS, errors_table, limit_of, lower, mse_of
from l2l_cli.papers.hochreiter2001.measures import BAYES, EVERY, STEPS, SWITCHING
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.palette import LIMIT_STYLE, styles_of
from l2l_cli.results.content import Figure, Section
from l2l_cli.results.plot import curves, decorate, panels


@dataclass(frozen=True)
class Budget(Artefact):
    """Test MSEt of the quadratics with more cells and more updates of meta-training.

    Attributes:
        base: Row of Table 2, whose limit and printed error hold for all rows.
        larger: Rows with more cells and more updates.
    """

    base: RowName
    larger: list[RowName]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all budgets."""
        limit, paper = limit_of(measured, self.base), measured.published[""][self.base]["test_mse"]
        results = []
        for row in measured.rows:
            note = ""
            if row in measured.run:
                weights, seconds = (measured.cost(row, name) for name in ("meta_parameters", "seconds"))
                note = f"{weights:,.0f} weights, {seconds / 60:.1f} minutes a seed"
            results.append(measured.result(row, "test_mse", mse_of(measured, row), paper, limit, note))
        claim = lower("Ours, more cells and more updates lower the error", measured, self.larger, [self.base])
        title = "Beyond the paper: the quadratics with a larger budget"
        return Findings(results, [Section(title, tables=[errors_table(measured)], formats=FORMATS, claims=[claim])])


@dataclass(frozen=True)
class Drift(Artefact):
    """The error after unannounced changes.

    Attributes:
        changing: Row that was meta-trained on functions that change.
        staying: Rows that were meta-trained on functions that stay.
    """

    changing: RowName
    staying: list[RowName]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw the error after unannounced changes."""
        note = f"{STEPS} examples, a change every {EVERY} on average, unannounced; limit: change-point Bayes learner"
        results = [
            measured.result(row, "mse", mse_of(measured, row, problem=SWITCHING), None, limit, note)
            for row in measured.run
            for limit in [limit_of(measured, row, problem=SWITCHING)]
        ]
        text = "The abstract, an LSTM predicts what is not stationary if it was meta-trained on functions that change"
        claim = lower(text, measured, [self.changing], self.staying, SWITCHING)
        title = "Beyond the paper: functions that change"
        return Findings(results, [Section(title, figures=[_by_age(measured)], claims=[claim])])


def _by_age(measured: Measured) -> Figure:
    figure, axes = panels(1, 1, height=3.0)
    rows, limit = {row: measured.rows[row] for row in measured.run}, "Bayes limit"
    styles = {**styles_of(rows, {row: row for row in rows}), limit: LIMIT_STYLE}
    frames = [measured.select(row, "error", problem=SWITCHING) for row in rows]
    # Seed by seed all rows meet the same sequences, and have the same limit.
    frames += [measured.select(row, "error", BAYES, problem=SWITCHING).assign(contender=limit) for row in [*rows][:1]]
    if frames:
        curves(axes[0], pd.concat(frames), list(styles), styles)
        axes[0].legend()
    decorate(axes[0], "Unannounced changes, B14", "examples of the present function", "mean squared error", "xy")
    return measured.save(figure, "Mean squared error by the age of the present function; bands: range over seeds.")
