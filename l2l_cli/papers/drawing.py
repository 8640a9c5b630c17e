"""What the figures of several papers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times the powers of ten, as plain numbers where they are short."""
    axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    for set_formatter in (axis.set_major_formatter, axis.set_minor_formatter):
        set_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def legend(figure: Figure, panels: Sequence[Axes], published: bool, columns: int = 5) -> None:
    """Name every line once, below the panels, and say what hollow marks are."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if published:
        (mark,) = panels[0].plot([], [], "o", markerfacecolor="none", color="#777777", markersize=4.0)
        found["paper (digitised)"] = mark
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)
