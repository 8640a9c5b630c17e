"""Panels that the figures of several papers share: loss curves, distributions, and the legend below them.

Lines are coloured in every figure of every paper by what a row is, never by what it is called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from l2l_cli.config.schema import Row
from l2l_cli.results.plot import COLOURS, GREY, LIMIT, LIMIT_STYLE, STROKES, curves
from l2l_cli.results.standings import Standings

Style = Mapping[str, Any]
"""Properties of a line, as Matplotlib takes them."""

LEARNED, OURS = COLOURS[0], COLOURS[7]
"""Colours of the paper's learned rows, and of those that are ours."""

APART: Mapping[str, Style] = {"limit": LIMIT_STYLE, "best known": {**LIMIT_STYLE, "linestyle": ":"}}
"""Lines of the rows that do not compete for a colour, by their role."""

RIVALS = COLOURS[1:7]

COLOURED = 7
"""Lines of a panel that have a colour, at most."""

FAINT: Style = {"color": GREY, "linewidth": 0.9, "zorder": 1}
"""Lines of the others."""


def styles_of(rows: Mapping[str, Row], origin: Mapping[str, str]) -> dict[str, Style]:
    """Return line properties by contender.

    The paper's learned rows are blue, ours black, limits grey and dashed, the best known grey and dotted; all others
    take the other colours in their order, those of one group the same, and so do learned rows of another group than the
    paper's first.  What shares a colour is told apart by the stroke.

    Both arguments are by contender; what one row was measured as in several ways shares its colour.
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


def emphasised(names: Sequence[str], styles: Mapping[str, Style]) -> dict[str, Style]:
    """Return styles in which as many of some lines have a colour as a panel can show; the rest are grey.

    The first line of every colour comes before the second ones, and learned rows before the others; limits are none of
    them.
    """
    colours = [styles[name]["color"] for name in names]
    again = {name: colours[:index].count(colours[index]) for index, name in enumerate(names)}
    ranked = sorted(
        (name for name in names if styles[name]["color"] not in (GREY, LIMIT)),
        key=lambda name: (again[name], -styles[name].get("zorder", 0)),
    )
    return {name: {**styles[name], **FAINT} if name in ranked[COLOURED:] else styles[name] for name in names}


def finite_curves(
    axes: Axes, frame: pd.DataFrame, styles: Mapping[str, Style], x: str = "updates", log: bool = False
) -> pd.DataFrame:
    """Draw the curves of all contenders that have one, in the order of their styles, each curve once; return them."""
    # A loss that diverged has no place on the axis, and one of exactly 0 none on a logarithmic one.
    kept = np.isfinite(frame.value) & (frame.value > (0.0 if log else -np.inf))
    finite = frame.assign(value=frame.value.where(kept))
    names = [name for name in styles if finite[finite.contender == name].value.notna().any()]
    labels = labels_of(finite, names, x)
    shown = {labels[name]: style for name, style in emphasised(list(labels), styles).items()}
    curves(axes, relabelled(finite, labels), list(shown), shown, x=x)
    if log:
        axes.set_yscale("log")
    return finite


def labels_of(frame: pd.DataFrame, names: Sequence[str], x: str = "updates") -> dict[str, str]:
    """Return the contenders whose curves differ, each with its name and those of all whose curves are the same."""
    found: dict[bytes, list[str]] = {}
    for name in names:
        part = frame[frame.contender == name].sort_values(["seed", x])
        found.setdefault(part[["seed", x, "value"]].to_numpy(float).tobytes(), []).append(name)
    return {alike[0]: " = ".join(alike) for alike in found.values()}


def relabelled(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Return the curves of the contenders that have a label, under it."""
    return frame[frame.contender.isin(list(labels))].assign(contender=frame.contender.map(labels))


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
    decide the range of the axis.
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
    """Choose the range of a logarithmic loss axis: one that diverges or solves must not squeeze all the others."""
    if not rivals.value.notna().any():
        return
    start = rivals[rivals.updates == rivals.updates.min()].value.median()
    high = min(max([rivals.value.max(), *points]), max([3 * start, *points]))
    axes.set_ylim(max(min([rivals.value.min(), *points]), start * 1e-4) * 0.75, high * 1.3)


def ecdf(
    axes: Axes, standings: Standings, contenders: Sequence[str], styles: Mapping[str, Style], problem: str, mark: int
) -> None:
    """Draw the share of test episodes whose loss lies below, mean over seeds: a heavy tail is seen at the right."""
    names = standings.scored(contenders, problem, mark)
    styles = emphasised(names, styles)
    for name in names:
        values = np.sort(standings.losses[name, problem, mark].flatten())
        share = np.arange(1, len(values) + 1) / len(values)
        kept = np.isfinite(values) & (values > 0)
        axes.plot(values[kept], share[kept], label=name, **{"drawstyle": "steps-post", **styles[name]})
    axes.set_ylim(0.0, 1.02)
