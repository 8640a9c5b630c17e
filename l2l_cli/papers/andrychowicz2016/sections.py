"""Sections that the reports of several artefacts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from l2l_cli.papers.andrychowicz2016.measures import curves_of
from l2l_cli.papers.andrychowicz2016.published import Curve
from l2l_cli.papers.andrychowicz2016.style import draw_curves, draw_ecdf
from l2l_cli.papers.andrychowicz2016.tables import spread, winners
from l2l_cli.papers.drawing import legend
from l2l_cli.papers.losses import Losses
from l2l_cli.papers.shared import tuning_sections
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section

WHO = (
    "Everybody meets the same test problems, so the lead is a paired difference, its interval bootstrapped over them.  "
    "A learned rule's loss is the mean over its seeds.  L-BFGS and CG look at each batch more than once and do not "
    "compete."
)


def who_wins(title: str, losses: Losses, problems: Sequence[str]) -> list[Section]:
    """Return one section a problem: the winner after every number of updates."""
    tables = {problem: winners(losses, problem) for problem in problems}
    return [
        Section(f"{title}: who wins when{f', {problem}' if len(problems) > 1 else ''}", [WHO], [table])
        for problem, table in tables.items()
        if len(table)
    ]


def how_they_spread(title: str, losses: Losses, problem: str, updates: int, folder: Path, name: str) -> list[Section]:
    """Return mean, median and tail of the losses over test problems, as a table and as their distribution."""
    table = spread(losses, problem, updates)
    if not len(table):
        return []
    figure, axes = panels(1, 1, height=3.4)
    draw_ecdf(axes[0], losses, losses.contenders, problem, updates)
    label = f"loss after {updates} updates"
    decorate(axes[0], f"{title}: spread over test problems", label, "share of problems below", "x")
    legend(figure, axes, published=False)
    save(figure, folder / "figures" / name)
    drawn = Figure(folder / "figures" / f"{name}.png", f"Distribution of the {label} over test problems.")
    text = "Intervals are bootstrapped over test problems.  Where mean and median part, few problems make the mean."
    return [Section(f"{title}: spread over test problems", [text], [table], [drawn])]


def what_was_chosen(title: str, rows: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return what tuning chose, with a warning for settings at the edge of their grid."""
    text = (
        "Hand-made rules are tuned on each problem, on tune episodes alone, for the loss at its end, as in the paper; "
        "the number of settings tried is stated."
    )
    return tuning_sections(title, rows, text)


def curve_panels(
    rows: Mapping[str, pd.DataFrame],
    contenders: Sequence[str],
    shown: Sequence[tuple[str, str, str]],
    published: Mapping[str, Mapping[str, Curve]],
    path: Path,
    columns: int = 2,
) -> None:
    """Draw loss curves, one panel for each (problem, statistic, title), and write the figure.

    The paper's points, which are means, are drawn in the panels of means.
    """
    figure, axes = panels(-(-len(shown) // columns), columns, height=3.1)
    for index, (panel, (problem, statistic, title)) in enumerate(zip(axes, shown, strict=False)):
        points = published.get(problem, {}) if statistic == "mean" else {}
        draw_curves(panel, curves_of(rows, problem, statistic), contenders, points)
        # Where panels are narrow, those of one line share the name of their axis.
        name = f"loss, {statistic}" if columns < 3 or index % columns == 0 else ""
        decorate(panel, title, "updates", name)
    for panel in axes[len(shown) :]:
        panel.set_axis_off()
    legend(figure, axes, any(published.get(problem) for problem, _, _ in shown))
    save(figure, path)
