"""Lines of many contenders in one panel: which of them have a colour, and which coincide."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from l2l_cli.results.plot import GREY, LIMIT, curves

Style = Mapping[str, Any]
"""Properties of a line, as Matplotlib takes them."""

COLOURED = 7
"""Largest number of coloured lines in a panel."""

FAINT: Style = {"color": GREY, "linewidth": 0.9, "zorder": 1}
"""Style of the other lines."""


def emphasised(
    names: Sequence[str],
    styles: Mapping[str, Style],
    losses: pd.DataFrame | None = None,
    first: Collection[str] = (),
) -> dict[str, Style]:
    """Return styles in which at most ``COLOURED`` lines keep their colour; the rest are grey.

    Limits do not count.  Given the curves of the ``losses``, the first learned row takes precedence, then the
    contenders in ``first``, then those with the lowest final loss.  Without them, the first line of each colour
    precedes the second ones, and learned rows precede the others.
    """
    colours = [styles[name]["color"] for name in names]
    height = {name: styles[name].get("zorder", 0) for name in names}
    keys: dict[str, tuple[float, ...]]
    if losses is None:
        keys = {name: (colours[:index].count(colours[index]), -height[name]) for index, name in enumerate(names)}
    else:
        last = losses[losses.updates == losses.updates.max()].groupby("contender").value.mean()
        top = max(names, key=lambda name: height[name], default="")
        keys = {name: (name != top, name not in first, last.get(name, math.inf)) for name in names}
    ranked = sorted((name for name in names if styles[name]["color"] not in (GREY, LIMIT)), key=lambda name: keys[name])
    return {name: {**styles[name], **FAINT} if name in ranked[COLOURED:] else styles[name] for name in names}


def finite_curves(
    axes: Axes,
    frame: pd.DataFrame,
    styles: Mapping[str, Style],
    x: str = "updates",
    log: bool = False,
    once: bool = True,
) -> pd.DataFrame:
    """Draw the curves of all contenders that have one, in the order of their styles, and return them.

    If ``once``, identical curves are drawn as one, under all their names.
    """
    # A loss that diverged has no place on the axis, and one of exactly 0 none on a logarithmic one.
    kept = np.isfinite(frame.value) & (frame.value > (0.0 if log else -np.inf))
    finite = frame.assign(value=frame.value.where(kept))
    names = [name for name in styles if finite[finite.contender == name].value.notna().any()]
    labels = labels_of(finite, names, x) if once else {name: name for name in names}
    shown = {labels[name]: style for name, style in emphasised(list(labels), styles).items()}
    curves(axes, relabelled(finite, labels), list(shown), shown, x=x)
    if log:
        axes.set_yscale("log")
    return finite


def labels_of(frame: pd.DataFrame, names: Sequence[str], x: str = "updates") -> dict[str, str]:
    """Return a label for each distinct curve, by its first contender: the names of all contenders that share it."""
    found: dict[bytes, list[str]] = {}
    for name in names:
        part = frame[frame.contender == name].sort_values(["seed", x])
        found.setdefault(part[["seed", x, "value"]].to_numpy(float).tobytes(), []).append(name)
    return {alike[0]: " = ".join(alike) for alike in found.values()}


def relabelled(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Return the curves of the contenders that have a label, renamed to it."""
    kept = frame[frame.contender.isin(list(labels))]
    return kept.assign(contender=kept.contender.map(labels).to_numpy())  # the index may have duplicates
