"""Interactive charts from Matplotlib figures: the curves of a figure as data that a page draws again.

A figure is drawn once; its charts take over its colours, line styles, axes and labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from l2l_cli.results.content import Chart, Curve
from l2l_cli.results.spread import Array

POINTS = 200
"""Largest number of points of a curve in a chart."""

FEWEST = 3
"""Smallest number of points of a line that counts as a curve."""

DASHES = {"--": (6.0, 3.0), "-.": (7.0, 3.0, 2.0, 3.0), ":": (2.0, 3.0)}
"""Lengths of dashes and gaps by line style; all other lines are solid."""


def charts_of(drawing: Drawing) -> list[Chart]:
    """Return a chart for each panel of a figure; none if a panel holds anything but curves."""
    shown = [axes for axes in drawing.axes if axes.axison]
    return [_chart(axes) for axes in shown] if shown and all(map(_holds_curves, shown)) else []


def _holds_curves(axes: Axes) -> bool:
    labels = axes.get_yticklabels() if axes.get_yscale() == "linear" else []
    named = any(re.search(r"[^\W\d_]", label.get_text()) for label in labels)
    others = [one for one in axes.collections if not isinstance(one, PolyCollection)]
    bars = any(isinstance(one, ErrorbarContainer) for one in axes.containers)
    if named or others or bars or axes.images or axes.patches:
        return False
    return any(len(np.asarray(line.get_xdata())) >= FEWEST for line in _curves(axes))


def _curves(axes: Axes) -> list[Line2D]:
    """Return the lines whose points are data, not the reference lines that cross the panel."""
    return [line for line in axes.lines if line.get_transform() is axes.transData and len(np.asarray(line.get_xdata()))]


def _chart(axes: Axes) -> Chart:
    log = "".join(letter for letter, scale in (("x", axes.get_xscale()), ("y", axes.get_yscale())) if scale == "log")
    rules = [line for line in axes.lines if line.get_transform() is not axes.transData]
    ends = [np.asarray(line.get_data(), dtype=float) for line in rules]
    across = [float(x[0]) for line, (x, _) in zip(rules, ends, strict=True) if _stands(axes, line)]
    level = [float(y[0]) for line, (_, y) in zip(rules, ends, strict=True) if not _stands(axes, line)]
    title = axes.get_title(loc="left") or axes.get_title()
    curves = [*_with_bands(axes, "x" in log)]
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    names = axes.get_xlabel(), axes.get_ylabel()
    return Chart(title.replace("\n", " "), *names, log, (low, high), (bottom, top), curves, across, level)


def _stands(axes: Axes, line: Line2D) -> bool:
    return line.get_transform() is axes.get_xaxis_transform(which="grid")


def _with_bands(axes: Axes, log: bool) -> Iterator[Curve]:
    """Yield every curve, with the band that was drawn right after it."""
    children = axes.get_children()
    bands = {id(line): band for line, band in pairwise(children) if isinstance(band, PolyCollection)}
    for line in _curves(axes):
        band = bands.get(id(line))
        yield _curve(line, band if isinstance(band, PolyCollection) else None, log)


def _curve(line: Line2D, band: PolyCollection | None, log: bool) -> Curve:
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    kept = thinned(x, y, log)
    ends = _ends(band, x) if band is not None else None
    label, style = str(line.get_label()), str(line.get_linestyle())
    hollow = line.get_markerfacecolor() == "none"
    alone = style in ("None", "", " ")
    return Curve(
        name="" if label.startswith("_") else label,
        x=x[kept].tolist(),
        y=_known(y[kept]),
        low=_known(ends[0][kept]) if ends else (),
        high=_known(ends[1][kept]) if ends else (),
        colour=_colour(line, hollow),
        dash=DASHES.get(style, ()),
        width=float(line.get_linewidth()),
        kind="line" if not alone else "ghosts" if hollow else "marks",
    )


def _colour(line: Line2D, hollow: bool) -> str:
    colour = line.get_markeredgecolor() if hollow else line.get_color()
    alpha = line.get_alpha()
    return to_hex(to_rgba(colour, alpha), keep_alpha=alpha is not None)


def _ends(band: PolyCollection, x: Array) -> tuple[Array, Array]:
    """Return the lower and upper ends of a band at each x, from the vertices of its polygons."""
    corners = np.concatenate([path.vertices for path in band.get_paths()]) if band.get_paths() else np.empty((0, 2))
    low, high = (np.full(len(x), np.nan) for _ in range(2))
    for index, place in enumerate(x):
        there = corners[corners[:, 0] == place, 1]
        if len(there):
            low[index], high[index] = there.min(), there.max()
    return low, high


def _known(values: Array) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def thinned(x: Array, y: Array, log: bool = False, most: int = POINTS) -> Sequence[int]:
    """Return the indices of the points to keep: the first, the last, and the extremes in each stretch of the axis.

    Args:
        x: Positions in ascending order, (N,).
        y: Values, (N,).
        log: Whether the axis is logarithmic.
        most: Largest number of points.
    """
    if len(x) <= most:
        return range(len(x))
    places = np.log(np.clip(x, np.min(x[x > 0], initial=1.0), None)) if log else x
    count = (most - 2) // 2
    width = (places[-1] - places[0]) or 1.0
    stretches = np.minimum(((places - places[0]) / width * count).astype(int), count - 1)
    kept = {0, len(x) - 1}
    for stretch in range(count):
        members = np.flatnonzero((stretches == stretch) & np.isfinite(y))
        if len(members):
            kept |= {int(members[np.argmin(y[members])]), int(members[np.argmax(y[members])])}
    return sorted(kept)
