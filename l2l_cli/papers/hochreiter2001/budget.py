"""Beyond the paper: how near to the limit a larger network and a longer meta-training come on the quadratics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.hochreiter2001.measures import cost_of, limit_of, values_of
from l2l_cli.papers.hochreiter2001.published import TABLE2
from l2l_cli.results.frame import summarise
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels, save
from l2l_cli.results.report import Figure, Section

ROW = "quadratic-1000"
"""The row of Table 2, whose limit holds for all: they are scored on the same sequences."""


def budget(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw test MSEt against updates, which no other work on the machine slows down."""
    run = {row: frame for row, frame in rows.items() if len(frame)}
    limit, paper = limit_of(rows[ROW], "test"), TABLE2[ROW].test_mse
    results, table = [], []
    for row, frame in rows.items():
        values = values_of(frame, "learner", "test")
        note = ""
        if row in run:
            weights, minutes = cost_of(frame, "meta_parameters"), cost_of(frame, "seconds") / 60
            note = f"{weights:,.0f} weights, {minutes:.1f} minutes a seed"
            table.append((f"{row}: {weights:,.0f} weights", cost_of(frame, "updates"), float(np.mean(values))))
        results.append(summarise(("budget", row, "test_mse"), values, paper, limit, note))
    figure, axes = panels(1, 1, height=2.8)
    for index, (name, updates, value) in enumerate(table):
        axes[0].plot(updates, value, "o", color=COLOURS[index + 2], label=name)
    if limit is not None:
        axes[0].axhline(limit, color=LIMIT, linestyle=(0, (4, 2)), label="best linear predictor")
    axes[0].axhline(paper, color=COLOURS[1], linewidth=0.8, label="paper, 2001")
    axes[0].legend()
    decorate(axes[0], "Quadratic functions, 1000 examples", "updates of φ", "test MSEt", "xy")
    save(figure, folder / "figures" / "budget")
    text = [
        "The same recipe with more cells and more updates.  The limit is the best linear predictor's error, which "
        "bounds the best possible from above; points are means over seeds."
    ]
    drawn = Figure(folder / "figures" / "budget.png", "Test MSEt against the updates of meta-training.")
    return Artefact(results, [Section("Beyond the paper: the quadratics with a larger budget", text, figures=[drawn])])
