"""Figures in one style, drawn from data frames alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from l2l_cli.results.verdicts import Result

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#000000")
"""Okabe and Ito's palette, which colour-blind readers tell apart."""

STROKES = ("-", "--", "-.", ":")
"""Styles of the lines if there are more of them than colours."""

GREY = "#b3b3b3"
"""Colour of the lines beyond those that a reader can tell apart."""

OTHERS = "others"
"""Name of these lines in the legend."""

NARROW = 5.2
"""Width in inches of a figure of one panel that is legible on a phone."""

DIGITISED = "paper (digitised)"
"""Name in the legend of points that were read off the paper's figures."""

LIMIT = "#555555"

LIMIT_STYLE: Mapping[str, Any] = {"color": LIMIT, "linestyle": (0, (4, 2)), "zorder": 3}
"""Style of the line of the limit, the best result that is possible."""

NAMES: Mapping[str, str] = {"paper": "paper", "ours": "ours", "limit": "limit"}


_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so a figure looks the same on every machine
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.edgecolor": "#4d4d4d",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "xtick.color": "#4d4d4d",
    "ytick.color": "#4d4d4d",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "pdf.fonttype": 42,  # text stays text, to be searched and edited
    "svg.hashsalt": "l2l",
    "svg.fonttype": "none",  # text stays text here, too, and small
}


def panels(rows: int, columns: int, width: float = 7.2, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure of rows × columns axes, with ``height`` inches per row."""
    # The whole program draws in one style; a context would end before the labels and legends are made.
    for key, value in _STYLE.items():
        matplotlib.rcParams[key] = value  # type: ignore[index]
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def grid(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` axes, at most ``columns`` of them side by side, with ``height`` inches per row."""
    columns = min(columns, count)
    figure, axes = panels(-(-count // columns), columns, height=height)
    for panel in axes[count:]:
        panel.set_axis_off()
    return figure, axes[:count]


def curves(
    axes: Axes,
    frame: pd.DataFrame,
    order: Sequence[str],
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    x: str = "step",
) -> None:
    """Draw values against x, one line per contender: the mean over seeds, and their range as a band.

    Grey lines, which are only background, have none.

    Args:
        axes: Axes to draw in.
        frame: Columns ``x``, value, contender and seed.
        order: Contenders in the order of their lines.
        styles: Further line properties by contender.
        x: Column along the horizontal axis.
    """
    for index, name in enumerate(order):
        table = frame[frame.contender == name].pivot_table(index=x, columns="seed", values="value")
        stroke, colour = divmod(index, len(COLOURS))
        style = {"color": COLOURS[colour], "linestyle": STROKES[stroke % len(STROKES)], **(styles or {}).get(name, {})}
        axes.plot(table.index, table.mean(axis=1), label=name, **style)
        if table.shape[1] > 1 and style["color"] != GREY:
            axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=style["color"], alpha=0.15, lw=0)


def decorate(axes: Axes, title: str, x: str, y: str, log: str = "") -> None:
    """Set the title and axis labels of a panel; ``log`` holds the letters of its logarithmic axes."""
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")


def legend(figure: Figure, axes: Sequence[Axes], published: str = "", columns: int = 5) -> None:
    """Draw a legend below the panels that names every line once, and the hollow marks if ``published`` names them.

    It has as few rows as ``columns`` allow, and these are about equally long.
    """
    handles, greys = dict[str, Any](), dict[str, Any]()
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            if isinstance(handle, Line2D) and not len(np.asarray(handle.get_xdata())):
                continue  # it has no points
            if isinstance(handle, Line2D) and handle.get_color() == GREY:
                greys.setdefault(OTHERS, handle)
            else:
                handles.setdefault(label, handle)
    handles |= greys
    if published:
        (mark,) = axes[0].plot([], [], "o", markerfacecolor="none", color="#777777", markersize=4.0)
        handles[published] = mark
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=_even(len(handles), columns))


def _even(entries: int, columns: int) -> int:
    """Return the number of columns, at most ``columns``, that divides entries into the fewest and most equal rows."""
    rows = max(1, math.ceil(entries / columns))
    return max(1, math.ceil(entries / rows))


def heat_map(
    axes: Axes,
    values: np.ndarray[Any, Any],
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    ratio: bool,
    limits: tuple[float, float],
) -> AxesImage:
    """Draw a table of positive numbers as colours, with a text in each cell, and return the image for a colour bar.

    Args:
        axes: Axes to draw in.
        values: (rows, columns); NaN is grey.
        rows: Names, from top to bottom.
        columns: Names.
        texts: Text of each cell.
        ratio: Whether numbers are blue below 1, white at 1 and red above; otherwise larger ones are darker.
        limits: The numbers at the ends of the colours; the scale between them is logarithmic.
    """
    colours = matplotlib.colormaps["RdBu_r" if ratio else "YlGnBu"].with_extremes(bad="#dddddd")
    shown = np.clip(values, *limits)
    image = axes.imshow(shown, cmap=colours, norm=LogNorm(*limits), aspect="auto")
    for row, column in np.ndindex(values.shape):
        red, green, blue, _ = image.to_rgba(shown)[row, column] if np.isfinite(shown[row, column]) else (1, 1, 1, 1)
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        axes.text(column, row, texts[row][column], ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.tick_params(which="both", length=0)
    axes.grid(visible=False)
    axes.grid(which="minor", color="white", linewidth=2.0)
    axes.set_axisbelow(False)
    axes.spines[:].set_visible(False)
    return image


def error_over_time(
    axes: Axes,
    errors: np.ndarray[Any, Any],
    floor: np.ndarray[Any, Any] | None,
    switches: Sequence[int],
    names: tuple[str, str] = ("learned by the LSTM", "Bayes limit"),
    colour: str = COLOURS[0],
) -> None:
    """Draw |y − o| against time, with the limit's error and a vertical line where each new function starts.

    Args:
        axes: Axes to draw in.
        errors: The learner's absolute error, (T,).
        floor: The limit's absolute error, (T,); None if it is not known.
        switches: First step of each new function, counted from 1.
        names: What to call the learner and the limit.
        colour: Colour of the learner.
    """
    time = np.arange(1, len(errors) + 1)
    for switch in switches:
        axes.axvline(switch, color="#9a9a9a", linestyle=(0, (1, 2)), linewidth=1.0, zorder=1)
    axes.plot(time, errors, color=colour, linewidth=1.0, label=names[0])
    if floor is not None:
        axes.plot(time, floor, linewidth=1.0, label=names[1], **LIMIT_STYLE)
    axes.set_xlim(1, len(errors))
    axes.set_ylim(bottom=0.0)
    if 1 < len(switches) <= 8:
        axes.set_xticks(sorted(switches))


def dots(axes: Axes, results: Sequence[Result], names: Mapping[str, str] = NAMES) -> None:
    """Draw the paper's number, ours and the limit of each row on a logarithmic axis, with the ratio at the right.

    Rows are drawn from top to bottom; ``names`` holds the legend's names for paper, ours and limit.
    """
    axes.set_xscale("log")
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
    axes.annotate("ours ÷ limit", (1.01, len(results) - 0.35), fontsize=7.5, color=LIMIT, **beside)
    labels = dict(names)  # each is removed by the first row that has the mark
    for height, result in enumerate(reversed(results)):
        _marks(axes, height, result, labels)
        if result.ratio_to_limit is not None:
            axes.annotate(f"{result.ratio_to_limit:.2f} ×", (1.01, height), **beside)
        elif result.ours is None:
            axes.annotate("not run", (1.01, height), color=LIMIT, **beside)
    axes.set_yticks(range(len(results)), [result.row for result in reversed(results)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.6, len(results) - 0.4)
    axes.grid(axis="y", visible=False)


def _marks(axes: Axes, height: int, result: Result, labels: dict[str, str]) -> None:
    """Draw one row, and remove the labels of its marks from ``labels``."""
    shown = [value for value in (result.limit, result.ours, result.paper) if value is not None and 0 < value < np.inf]
    if shown:
        axes.plot([min(shown), max(shown)], [height, height], color="#dddddd", lw=2.5, zorder=1)
    if result.limit in shown:
        style: dict[str, Any] = {"marker": "|", "s": 150, "lw": 2.4, "color": "black"}
        axes.scatter(result.limit, height, zorder=2, label=labels.pop("limit", None), **style)
    if result.paper in shown:
        style = {"marker": "D", "s": 34, "color": COLOURS[1]}
        axes.scatter(result.paper, height, zorder=3, label=labels.pop("paper", None), **style)
    if result.ours in shown:
        assert result.ours is not None
        bar = None
        if result.low is not None and result.high is not None and math.isfinite(result.high):
            # A bar to zero has no end on a logarithmic axis.
            bar = [[min(result.ours - result.low, 0.9 * result.ours)], [result.high - result.ours]]
        style = {"fmt": "o", "ms": 6.5, "mec": "white", "mew": 0.8, "color": COLOURS[0]}
        axes.errorbar(result.ours, height, xerr=bar, zorder=4, label=labels.pop("ours", None), **style)
