"""Beyond the paper: larger networks that are trained longer, and functions that change without notice."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.hochreiter2001.judges import limit_of, lower, mse_of
from l2l_cli.papers.hochreiter2001.measures import BAYES, EVERY, STEPS, SWITCHING
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.palette import LIMIT_STYLE, styles_of
from l2l_cli.results.content import Figure, Section
from l2l_cli.results.plot import COLOURS, curves, decorate, panels


class Budget(Artefact):
    """Test MSEt of the quadratics against the updates of meta-training.

    Args:
        base: Row of Table 2, whose limit and printed error hold for all rows.
        larger: Rows with more cells and more updates.
    """

    def __init__(self, base: str, larger: list[str]) -> None:
        self.base, self.larger = base, larger

    def refers_to(self) -> Collection[str]:
        """Return all rows."""
        return [self.base, *self.larger]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all budgets."""
        limit, paper = limit_of(measured, self.base), measured.published[""][self.base]["test_mse"]
        figure, axes = panels(1, 1, height=2.8)
        results = []
        for index, row in enumerate(measured.rows):
            values, note = mse_of(measured, row), ""
            if values:
                weights, updates, seconds = (measured.cost(row, of) for of in ("meta_parameters", "updates", "seconds"))
                note = f"{weights:,.0f} weights, {seconds / 60:.1f} minutes a seed"
                style = {"color": COLOURS[index + 2], "label": f"{row}: {weights:,.0f} weights"}
                axes[0].plot(updates, float(np.mean(values)), "o", **style)  # type: ignore[arg-type]
            results.append(measured.result(row, "test_mse", values, paper, limit, note))
        if limit is not None:
            axes[0].axhline(limit, label="best linear predictor", **LIMIT_STYLE)
        axes[0].axhline(paper, color=COLOURS[1], linewidth=0.8, label="paper, 2001")
        axes[0].legend()
        decorate(axes[0], "Quadratic functions, 1000 examples", "updates of φ", "test MSEt", "xy")
        drawn = measured.save(figure, "Test MSEt against the updates of meta-training.")
        text = "Ours, more cells and more updates bring the error nearer to the limit"
        claim = lower(text, measured, self.larger, [self.base])
        title = "Beyond the paper: the quadratics with a larger budget"
        return Findings(results, [Section(title, figures=[drawn], claims=[claim])])


class Drift(Artefact):
    """The error after unannounced changes.

    Args:
        changing: Row that was meta-trained on functions that change.
        staying: Rows that were meta-trained on functions that stay.
    """

    def __init__(self, changing: str, staying: list[str]) -> None:
        self.changing, self.staying = changing, staying

    def refers_to(self) -> Collection[str]:
        """Return all rows."""
        return [self.changing, *self.staying]

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
    rows = {row: measured.rows[row] for row in measured.run}
    styles = {**styles_of(rows, {row: row for row in rows}), BAYES: LIMIT_STYLE}
    frames = [measured.select(row, "error", problem=SWITCHING) for row in rows]
    # Seed by seed all rows meet the same sequences, and have the same limit.
    frames += [measured.select(row, "error", BAYES, problem=SWITCHING) for row in list(rows)[:1]]
    if frames:
        curves(axes[0], pd.concat(frames), list(styles), styles)
        axes[0].legend()
    decorate(axes[0], "Unannounced changes, B14", "examples of the present function", "mean squared error", "xy")
    return measured.save(figure, "Mean squared error by the age of the present function; bands: range over seeds.")
