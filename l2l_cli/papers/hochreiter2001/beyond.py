"""Beyond the paper: larger networks trained longer, functions that change, and a test of §2.2's theory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm, spearmanr

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.claims import below_bound
from l2l_cli.papers.hochreiter2001.judges import FORMATS, errors_table, limit_of, lower, mse_of, near_the_limit
from l2l_cli.papers.hochreiter2001.recipe import AFTER, BAYES, BEFORE, EVERY, STEPS, SWITCHING
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import LIMIT, LIMIT_STYLE, curves, decorate, panels
from l2l_cli.results.statistics import LEVEL, Interval, mean_of


@dataclass(frozen=True)
class Budget(Artefact):
    """Test MSEt of the quadratics, for larger budgets or other kinds of learner, beside the modern recipe's.

    Attributes:
        base: Row of Table 2, whose limit and printed error hold for all rows.
        larger: Rows that are claimed to have a lower error.
        title: Title of the section.
        claim: Text of the claim about these rows.
    """

    base: RowName
    larger: list[RowName]
    title: str = "The quadratics with a larger budget"
    claim: str = "Ours, more cells and more updates lower the error"

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all rows."""
        limit, paper = limit_of(measured, self.base), measured.published[""][self.base]["test_mse"]
        costs = {row: [measured.cost(row, name) for name in ("meta_parameters", "seconds")] for row in measured.run}
        notes = {row: f"{size:,.0f} weights, {time / 60:.1f} minutes a seed" for row, (size, time) in costs.items()}
        results = [
            measured.result(row, "test_mse", mse_of(measured, row), paper, limit, notes.get(row, ""))
            for row in measured.rows
        ]
        results = [one.without_verdict("judged in table2") for one in results]
        claim = lower(self.claim, measured, self.larger, [self.base])
        return Findings(
            results, [Section(self.title, tables=[errors_table(measured)], formats=FORMATS, claims=[claim])]
        )


@dataclass(frozen=True)
class Drift(Artefact):
    """The error after unannounced changes.

    Attributes:
        changing: Row that was meta-trained on functions that change.
        staying: Rows that were meta-trained on functions that stay.
        beside: Largest multiple of the limit that is claimed for further rows, by row.
    """

    changing: RowName
    staying: list[RowName]
    beside: dict[RowName, float]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw the error after unannounced changes."""
        note = f"{STEPS} examples, a change every {EVERY} on average, unannounced; limit: change-point Bayes learner"
        results = [
            measured.result(row, "mse", mse_of(measured, row, problem=SWITCHING), None, limit, note)
            for row in measured.run
            for limit in [limit_of(measured, row, problem=SWITCHING)]
        ]
        text = "The abstract, an LSTM predicts what is not stationary if it was meta-trained on functions that change"
        claims = [lower(text, measured, [self.changing], self.staying, SWITCHING)]
        limits = {row: limit_of(measured, row, problem=SWITCHING) for row in self.beside}
        text = "Ours, online least squares with change points comes near the learner that knows how often they come"
        claims.append(near_the_limit(text, measured, self.beside, limits, SWITCHING))
        title = "Functions that change"
        return Findings(results, [Section(title, figures=[_by_age(measured)], claims=claims)])


def _by_age(measured: Measured) -> Figure:
    figure, axes = panels(1, 1, height=3.0)
    rows, limit = measured.run, "Bayes limit"
    styles = {**{row: measured.styles()[row] for row in rows}, limit: LIMIT_STYLE}
    frames = [measured.select(row, "error", problem=SWITCHING) for row in rows]
    # Seed by seed all rows meet the same sequences, and have the same limit.
    frames += [measured.select(row, "error", BAYES, problem=SWITCHING).assign(contender=limit) for row in rows[:1]]
    if frames:
        curves(axes[0], pd.concat(frames), list(styles), styles)
    decorate(axes[0], "Unannounced changes, B14", "examples of the present function", "mean squared error", "xy")
    caption = "Mean squared error by the age of the present function; bands: range over seeds, where there are several."
    return measured.save(figure, caption, columns=3)


class Volume(Artefact):
    """log|det| along sequences for each network's best setting, and against the error for all settings.

    A step maps the state s_l to s_{l+1}.  By §2.2 information about every example is retained equally only if that map
    neither shrinks nor stretches: log|det ∂s_{l+1}/∂s_l| should be 0 on average.
    """

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all networks, a colour for each group of rows."""
        errors = {row: mse_of(measured, row) for row in measured.run}
        before, after, cells = (
            {row: measured.values(row, "log_volume", variant=variant, part=part) for row in errors}
            for variant, part in ((BEFORE, ""), (AFTER, ""), (AFTER, "cells"))
        )
        results = []
        for row, values in after.items():
            note = f"mean over a sequence; before meta-training {np.mean(before[row]):.3g}; the theory predicts 0"
            note += f"; of the cells alone {np.mean(cells[row]):.3g}" if cells[row] else ""
            spread = mean_of(np.asarray(values))
            results.append(
                measured.result(row, "log_det_per_unit", values, note=note, lower_is_better=None, interval=spread)
            )
        best: dict[str, str] = {}
        for row in sorted(errors, key=lambda name: np.median(errors[name])):
            best.setdefault(measured.rows[row].group, row)
        figure, axes = panels(1, 2, height=3.2)
        styles = measured.styles()
        for group, row in best.items():
            colour = styles[row]["color"]
            for variant, style in ((BEFORE, {"linestyle": ":"}), (AFTER, {"label": row})):
                curve = measured.curve(row, "log_volume", variant=variant, part="").mean(axis=1)
                axes[0].plot(curve.index, curve, color=colour, **style)  # type: ignore[arg-type]
            members = [row for row in errors if measured.rows[row].group == group]
            axes[1].scatter(_joined(after, members), _joined(errors, members), s=16, color=colour, alpha=0.7)
        axes[0].axhline(0.0, color=LIMIT, linewidth=0.8)
        decorate(axes[0], "Along a sequence (dotted: before)", "example", "log|det| per unit of state")
        decorate(axes[1], "Against success", "log|det| per unit, after", "test MSEt", "y")
        caption = "log|det ∂s/∂s| per unit of state.  Left: each network's best setting, mean over seeds.  "
        caption += "Right: every seed of every setting after meta-training against its test MSEt."
        title, drawn = "§2.2: is volume conserved?", measured.save(figure, caption, columns=3)
        claim = _claim(*(_joined(values, errors) for values in (before, after, errors)))
        return Findings(results, [Section(title, figures=[drawn], claims=[claim])])


def _joined(values: Mapping[str, list[float]], rows: Iterable[str]) -> list[float]:
    return [value for row in rows for value in values[row]]


def _claim(before: list[float], after: list[float], errors: list[float]) -> Claim:
    """Judge whether the networks that conserve volume, by log|det| before and after, are those that learn."""
    text = "§2.2, networks learn to learn as far as they conserve volume"
    if len(errors) < 4:
        return Claim(text, None)
    early, late = (float(spearmanr(volumes, errors).statistic) for volumes in (before, after))
    # Fisher's transformation; the variance of a rank correlation is that of Bonett and Wright 2000.
    reach = norm.ppf((1 + LEVEL) / 2) * ((1 + late**2 / 2) / (len(errors) - 3)) ** 0.5
    low, high = np.tanh(np.arctanh(np.clip(late, -0.999, 0.999)) + np.array([-reach, reach]))
    evidence = f"over {len(errors)} networks the rank correlation of log|det| with the test error is {late:+.2f} "
    evidence += f"[{low:+.2f}, {high:+.2f}], and {early:+.2f} before meta-training (mark, ours: −0.5)"
    interval = Interval(late, float(low), float(high))
    return Claim(text, below_bound(interval, -0.5), evidence, f"rank correlation {interval.within('+.2f')}")
