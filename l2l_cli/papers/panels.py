"""Panels that the figures of several papers share: loss curves and distributions, and the styles of their lines.

In every figure of every paper, the colour of a line depends on what its row is, never on the row's name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from l2l_cli.config.schema import Row
from l2l_cli.results.lines import Style, emphasised, finite_curves
from l2l_cli.results.plot import COLOURS, LIMIT_STYLE, STROKES
from l2l_cli.results.standings import Standings

LEARNED, OURS = COLOURS[0], COLOURS[7]
"""Colours of the paper's learned rows, and of those that are ours."""

APART: Mapping[str, Style] = {"limit": LIMIT_STYLE, "best known": {**LIMIT_STYLE, "linestyle": ":"}}
"""Line styles of the rows that do not compete for a colour, by role."""

RIVALS = COLOURS[1:7]


def styles_of(rows: Mapping[str, Row], origin: Mapping[str, str]) -> dict[str, Style]:
    """Return line properties by contender.

    The paper's learned rows are blue, ours black, limits grey and dashed, the best known grey and dotted.  All others,
    among them the paper's learned rows outside its first group, take the remaining colours in order, one for each
    group.  Lines of the same colour differ in their strokes.

    Both arguments are by contender; the variants of a row share its colour.
    """
    colours: dict[str, str] = {}
    strokes: dict[str, int] = {}
    styles: dict[str, Style] = {}
    first = next((row.group for row in rows.values() if row.role == "learned" and not row.ours), "")
    for name, row in rows.items():
        if row.role in APART:
            styles[name] = APART[row.role]
            continue
        learned = row.role == "learned"
        family = row.group or origin[name]
        colour = OURS if learned and row.ours else LEARNED if learned and row.group == first else colours.get(family)
        if colour is None:
            colour = RIVALS[len(colours) % len(RIVALS)]
            colours[family] = colour
        index = strokes.get(colour, 0)
        strokes[colour] = index + 1
        styles[name] = {"color": colour, "linestyle": STROKES[index % len(STROKES)], "zorder": 4 if learned else 2}
    return styles


def loss_curves(
    axes: Axes,
    frame: pd.DataFrame,
    styles: Mapping[str, Style],
    published: Mapping[str, Mapping[int, float]] | None = None,
    unlimited: Collection[str] = (),
    x: str = "updates",
) -> None:
    """Draw loss against updates on a logarithmic axis, the paper's points as hollow marks of the same colour.

    Points are given by contender and number of updates; contenders that are ``unlimited``, such as solvers, do not
    determine the range of the axis.
    """
    finite = finite_curves(axes, frame, styles, x, log=True)
    drawn = finite[finite.value.notna()].contender.unique()
    points = {name: values for name, values in (published or {}).items() if name in drawn}
    for name, values in points.items():
        mark: dict[str, Any] = {"marker": "o", "markersize": 4.0, "markerfacecolor": "none", "linestyle": "none"}
        axes.plot(list(values), list(values.values()), color=styles[name]["color"], zorder=3, alpha=0.8, **mark)
    marks = [value for values in points.values() for value in values.values()]
    _limit(axes, finite[~finite.contender.isin(list(unlimited))], marks)


def _limit(axes: Axes, rivals: pd.DataFrame, points: Sequence[float]) -> None:
    """Set the range of a logarithmic loss axis so that a loss that diverges or vanishes does not squeeze the others."""
    if not rivals.value.notna().any():
        return
    start = rivals[rivals.updates == rivals.updates.min()].value.median()
    high = min(max([rivals.value.max(), *points]), max([3 * start, *points]))
    axes.set_ylim(max(min([rivals.value.min(), *points]), start * 1e-4) * 0.75, high * 1.3)


def ecdf(
    axes: Axes, standings: Standings, contenders: Sequence[str], styles: Mapping[str, Style], problem: str, mark: int
) -> None:
    """Draw the share of test episodes, of all seeds, whose loss lies below x; a heavy tail shows at the right."""
    names = standings.scored(contenders, problem, mark)
    styles = emphasised(names, styles)
    for name in names:
        values = np.sort(standings.losses[name, problem, mark].flatten())
        share = np.arange(1, len(values) + 1) / len(values)
        kept = np.isfinite(values) & (values > 0)
        axes.plot(values[kept], share[kept], label=name, **{"drawstyle": "steps-post", **styles[name]})
    axes.set_ylim(0.0, 1.02)
