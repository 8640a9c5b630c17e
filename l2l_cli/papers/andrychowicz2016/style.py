"""One colour a contender over all figures, and what the figures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from l2l_cli.papers.andrychowicz2016.published import CG, SOLVERS, Curve
from l2l_cli.papers.drawing import plain_numbers
from l2l_cli.papers.losses import Losses
from l2l_cli.results.plot import COLOURS, LIMIT, curves

DASHES, DOTS, DASHDOTS = "--", ":", "-."

STYLES: Mapping[str, Mapping[str, Any]] = {
    "LSTM": {"color": COLOURS[0], "zorder": 4},
    "LSTM-sub": {"color": COLOURS[0], "linestyle": DASHES, "zorder": 4},
    "LSTM, one for all": {"color": COLOURS[0], "linestyle": DOTS, "zorder": 4},
    "SGD": {"color": COLOURS[1]},
    "NAG": {"color": COLOURS[2]},
    "RMSprop": {"color": COLOURS[3]},
    "Adam": {"color": COLOURS[4]},
    "Adam, all tuned": {"color": COLOURS[4], "linestyle": DASHES},
    "heavy ball": {"color": COLOURS[5]},
    "heavy ball, all tuned": {"color": COLOURS[5], "linestyle": DASHES},
    "L-BFGS": {"color": COLOURS[6]},
    CG: {"color": LIMIT, "linestyle": (0, (4, 2))},
}
"""Learned rules are blue, or black where they are ours; a dash says that more than the learning rate was tuned."""

STROKES = ("-", DASHES, DASHDOTS, DOTS)


def styles_of(contenders: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return line properties by contender; those that the table does not know are ours and black."""
    others = [name for name in contenders if name not in STYLES]
    ours = {
        name: {"color": COLOURS[7], "linestyle": STROKES[index % len(STROKES)], "zorder": 4}
        for index, name in enumerate(others)
    }
    return {name: STYLES[name] if name in STYLES else ours[name] for name in contenders}


def draw_curves(axes: Axes, frame: pd.DataFrame, contenders: Sequence[str], published: Mapping[str, Curve]) -> None:
    """Draw loss against updates, the paper's points as hollow marks of the same colour.

    Args:
        axes: Where to draw.
        frame: From ``curves_of``.
        contenders: From first to last.
        published: Digitised points by contender; empty draws none.
    """
    styles = styles_of(contenders)
    # A loss that diverged has no place on the axis, and one of exactly 0 none on a logarithmic one.
    finite = frame.assign(value=frame.value.where(np.isfinite(frame.value) & (frame.value > 0)))
    shown = [name for name in contenders if finite[finite.contender == name].value.notna().any()]
    curves(axes, finite, shown, styles, x="updates")
    for name in shown:
        points = published.get(name, {})
        mark: dict[str, Any] = {
            "marker": "o",
            "markersize": 4.0,
            "markerfacecolor": "none",
            "linestyle": "none",
            "alpha": 0.8,
        }
        axes.plot(list(points), list(points.values()), color=styles[name]["color"], zorder=3, **mark)
    limit_axis(axes, finite, [value for name in shown for value in published.get(name, {}).values()])


def limit_axis(axes: Axes, frame: pd.DataFrame, points: Sequence[float]) -> None:
    """Choose the range of a logarithmic loss axis: one that diverges or solves must not squeeze all the others."""
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    rivals = frame[~frame.contender.isin(SOLVERS)]
    if not rivals.value.notna().any():
        return
    start = rivals[rivals.updates == rivals.updates.min()].value.median()
    high = min(max([rivals.value.max(), *points]), max([3 * start, *points]))
    axes.set_ylim(max(min([rivals.value.min(), *points]), start * 1e-4) * 0.75, high * 1.3)


def draw_ecdf(axes: Axes, losses: Losses, contenders: Sequence[str], problem: str, updates: int) -> None:
    """Draw the share of test problems whose loss lies below, mean over seeds: a heavy tail is seen at the right."""
    styles = styles_of(contenders)
    for name in contenders:
        if name not in SOLVERS and losses.has(name, problem, updates):
            values = np.sort(losses.at[name, problem, updates].flatten())
            share = np.arange(1, len(values) + 1) / len(values)
            shown = np.isfinite(values) & (values > 0)
            axes.plot(values[shown], share[shown], label=name, **{"drawstyle": "steps-post", **styles[name]})
    axes.set_ylim(0.0, 1.02)
