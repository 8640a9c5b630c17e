"""Figure 6: the final loss over widths and depths of the network that is trained.

The paper's figure could not be read off; nothing published stands beside these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from l2l_cli.papers.andrychowicz2016.claims import against_the_best
from l2l_cli.papers.andrychowicz2016.measures import losses_of
from l2l_cli.papers.andrychowicz2016.sections import what_was_chosen
from l2l_cli.papers.andrychowicz2016.style import styles_of
from l2l_cli.papers.andrychowicz2016.tables import rivals_of, row_name
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.drawing import legend, plain_numbers
from l2l_cli.papers.losses import Losses
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section

TRAINED_ON = "20"
"""The network that the rule was meta-trained on; a problem is named by the units of its layers, as in 20-20."""


def figure6(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the final loss over the grid of networks."""
    losses, title = losses_of(rows), "Figure 6: widths and depths"
    updates = losses.marks(TRAINED_ON)[-1] if losses.contenders else 99
    results = _results(rows, losses, updates)
    if not losses.contenders:
        return Artefact(results)
    depths = sorted({len(widths(problem)) for problem in losses.problems})
    figure, axes = panels(1, len(depths), height=3.0)
    for panel, depth in zip(axes, depths, strict=True):
        _panel(panel, losses, depth, updates)
    ranges = [panel.get_ylim() for panel in axes]
    for panel in axes:
        panel.set_ylim(min(low for low, _ in ranges), max(high for _, high in ranges))
    legend(figure, axes, published=False)
    save(figure, folder / "figures" / "figure6")
    caption = f"Loss after {updates} updates by width, one panel a depth; dashed: the network of meta-training."
    drawn = Figure(folder / "figures" / "figure6.png", caption)
    table = _table(losses, updates)
    won = int((table.winner == "LSTM").sum()) if len(table) else 0
    text = [
        f"The LSTM was meta-trained on one hidden layer of {TRAINED_ON} sigmoid units.  It has the lowest loss after "
        f"{updates} updates on {won} of {len(table)} networks; the paper shows it below the four hand-made rules "
        "nearly everywhere."
    ]
    return Artefact(results, [Section(title, text, [table], [drawn]), *what_was_chosen(title, rows)])


def widths(problem: str) -> list[int]:
    """Return the units of each hidden layer of a problem's network."""
    return [int(part) for part in problem.split("-")]


def _results(rows: Mapping[str, pd.DataFrame], losses: Losses, updates: int) -> list[Result]:
    problems = losses.problems or [TRAINED_ON]
    return [
        summarise(
            ("figure6", row_name(row, problem), f"loss@{updates}"), losses.seeds(row, problem, updates), None, None
        )
        for problem in problems
        for row in rows
    ]


def _panel(axes: Axes, losses: Losses, depth: int, updates: int) -> None:
    problems = [problem for problem in losses.problems if len(widths(problem)) == depth]
    styles = styles_of(losses.contenders)
    for name in losses.contenders:
        scored = [problem for problem in problems if losses.has(name, problem, updates)]
        units = [widths(problem)[0] for problem in scored]
        values = [losses.mean(name, problem, updates) for problem in scored]
        axes.plot(units, values, marker="o", markersize=3.5, label=name, **styles[name])
    if depth == len(widths(TRAINED_ON)):
        axes.axvline(widths(TRAINED_ON)[0], color="#777777", linestyle=(0, (4, 2)), linewidth=1.0, zorder=1)
    title = f"{depth} hidden layer{'s' if depth > 1 else ''}"
    decorate(axes, title, "units of each layer", f"loss after {updates} updates" if depth == 1 else "", "xy")
    units = sorted({widths(problem)[0] for problem in problems})
    axes.set_xticks(units, [str(unit) for unit in units])
    axes.xaxis.set_minor_locator(NullLocator())
    plain_numbers(axes.yaxis)


def _table(losses: Losses, updates: int) -> pd.DataFrame:
    """Return the winner on each network, and the learned rule against the best tuned one."""
    table = []
    for problem in losses.problems:
        best = losses.best(losses.contenders, problem, updates)
        rival = losses.best(rivals_of(losses), problem, updates)
        row = {"network": problem, "winner": best}
        if losses.has("LSTM", problem, updates) and rival is not None:
            row["LSTM against the best tuned rule"] = against_the_best(losses, problem, updates)
        table.append(row)
    return pd.DataFrame(table)
