"""Figures in one style, drawn from data frames alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from l2l_cli.results.frame import Result

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#000000")
"""Okabe and Ito's palette, which colour-blind readers tell apart."""

LIMIT = "#555555"

_STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.hashsalt": "l2l",
}


def panels(rows: int, columns: int, width: float = 7.2, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure of rows × columns axes, ``height`` inches a row."""
    # The whole program draws in one style; a context would end before the labels and legends are made.
    for key, value in _STYLE.items():
        matplotlib.rcParams[key] = value  # type: ignore[index]
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``.png and .pdf, the same bytes for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None, "Producer": None})):
        target = path.with_suffix(suffix)
        figure.savefig(target, dpi=150, metadata=metadata)
        written.append(target)
    return written


def curves(axes: Axes, frame: pd.DataFrame, order: Sequence[str], styles: Mapping[str, Any] | None = None) -> None:
    """Draw value against step, one line a contender: the mean over seeds, with their range as a band.

    Args:
        axes: Where to draw.
        frame: Columns contender, seed, step, value.
        order: Contenders from first to last; the limit, if any, is called "bayes" and drawn dashed.
        styles: Further line properties by contender.
    """
    hues = iter(COLOURS)
    for name in order:
        table = frame[frame.contender == name].pivot_table(index="step", columns="seed", values="value")
        limit = name.startswith("bayes")
        style: dict[str, Any] = {"color": LIMIT, "linestyle": "--"} if limit else {"color": next(hues)}
        style |= (styles or {}).get(name, {})
        axes.plot(table.index, table.mean(axis=1), label=name, **style)
        if table.shape[1] > 1:
            axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=style["color"], alpha=0.15, lw=0)


def decorate(axes: Axes, title: str, x: str, y: str, log: str = "") -> None:
    """Name a panel and its axes; ``log`` holds the letters of the logarithmic ones."""
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")


def error_over_time(
    axes: Axes, errors: np.ndarray[Any, Any], floor: np.ndarray[Any, Any], switches: Sequence[int]
) -> None:
    """Draw |y − o| against time with the limit's error below, and a line where each new function starts.

    Args:
        axes: Where to draw.
        errors: The learner's absolute error, (T,).
        floor: The limit's, (T,).
        switches: First step of each new function, counted from 1.
    """
    time = np.arange(1, len(errors) + 1)
    for switch in switches:
        axes.axvline(switch, color="#b0b0b0", linestyle=":", linewidth=1.0)
    axes.plot(time, errors, color=COLOURS[0], linewidth=0.9, label="learned by the LSTM")
    axes.plot(time, floor, color=COLOURS[1], linewidth=0.9, alpha=0.8, label="Bayes limit")
    axes.set_xlim(1, len(errors))


def dots(axes: Axes, results: Sequence[Result], names: Mapping[str, str]) -> None:
    """Draw paper, ours and limit of each row on a logarithmic axis, with the ratio to the limit at the right.

    Args:
        axes: Where to draw.
        results: One a row, from top to bottom.
        names: What to call paper, ours and limit in the legend.
    """
    for height, result in enumerate(reversed(results)):
        label = height == 0
        marks = [value for value in (result.limit, result.ours, result.paper) if value]
        axes.plot([min(marks), max(marks)], [height, height], color="#dddddd", lw=2.5, zorder=1)
        called = names if label else dict.fromkeys(names)
        if result.limit is not None:
            axes.scatter(
                result.limit, height, marker="|", s=170, lw=2.4, color="black", zorder=2, label=called["limit"]
            )
        if result.ours is not None:
            style: dict[str, Any] = {"fmt": "o", "ms": 6.5, "color": COLOURS[0], "zorder": 4, "label": called["ours"]}
            axes.errorbar(result.ours, height, xerr=result.sd, **style)
        if result.paper is not None:
            axes.scatter(result.paper, height, marker="D", s=34, color=COLOURS[1], zorder=3, label=called["paper"])
        if result.ratio_to_limit is not None:
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
            axes.annotate(f"{result.ratio_to_limit:.2f} ×", (1.01, height), **place)
    axes.set_yticks(range(len(results)), [result.row for result in reversed(results)])
    axes.set_ylim(-0.6, len(results) - 0.4)
    axes.set_xscale("log")
    axes.grid(axis="y", visible=False)
