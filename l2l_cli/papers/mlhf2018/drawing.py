"""Curves of all contenders against updates and seconds, and on held-out images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2l_cli.papers.measured import Measured
from l2l_cli.papers.mlhf2018.track import HELD_OUT_ACCURACY, HELD_OUT_LOSS, LOSS, SECONDS
from l2l_cli.papers.palette import Style
from l2l_cli.papers.panels import legend, plain_numbers
from l2l_cli.results.plot import curves, decorate, panels

ABOVE = 1.15
"""What is above this multiple of the first loss is cut off."""


def draw(
    axes: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, Style],
    x: str = "updates",
    log: bool = False,
    limits: bool = True,
) -> None:
    """Draw the curves of all contenders that have one.

    Args:
        axes: Where to draw.
        table: Curves, from ``Measured.curves``.
        styles: Line properties by contender, in the order in which they are drawn.
        x: Column along the horizontal axis.
        log: Whether the vertical axis is logarithmic.
        limits: Whether what is far above where all begin is cut off.
    """
    table = table.assign(value=table.value.where(np.isfinite(table.value)))
    order = [name for name in styles if table[table.contender == name].value.notna().any()]
    curves(axes, table, order, styles, x=x)
    if log:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    start, low = table[table.updates == table.updates.min()].value.median(), table.value.min()
    if limits and np.isfinite(start) and low < start:
        axes.set_ylim(low * 0.9 if log else low - 0.05 * (start - low), ABOVE * start)


def loss_panels(measured: Measured, problem: str, held_out: bool, log: bool) -> Figure:
    """Draw training loss against updates and seconds, and scores on held-out images if asked for."""
    figure, axes = panels(2 if held_out else 1, 2, height=3.0)
    loss, styles = measured.curves(problem, LOSS), measured.styles()
    draw(axes[0], loss, styles, log=log)
    decorate(axes[0], "(a) against samples", "updates", "training cross-entropy")
    seconds = measured.curves(problem, SECONDS).groupby(["contender", "updates"]).value.mean()
    timed = loss.join(seconds.rename("seconds"), on=["contender", "updates"])
    draw(axes[1], timed, styles, x="seconds", log=log)
    decorate(axes[1], "(b) against seconds", "seconds", "", "x")
    if held_out:
        draw(axes[2], measured.curves(problem, HELD_OUT_LOSS), styles)
        decorate(axes[2], "ours: held-out images", "updates", "cross-entropy")
        draw(axes[3], measured.curves(problem, HELD_OUT_ACCURACY), styles, limits=False)
        decorate(axes[3], "ours: held-out images", "updates", "accuracy")
    legend(figure, axes, columns=4)
    return figure
