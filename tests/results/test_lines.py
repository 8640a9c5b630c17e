"""Lines of many contenders in one panel: at most seven have a colour, and what is the same is drawn once."""

from __future__ import annotations

import math

import pandas as pd

from l2l_cli.results.lines import COLOURED, FAINT, emphasised, finite_curves
from l2l_cli.results.plot import LIMIT_STYLE, panels


def test_at_most_seven_lines_have_a_colour():
    names = [f"row {index}" for index in range(10)]
    styles = {name: {"color": f"#{index % 5:06d}", "linestyle": "-", "zorder": 2} for index, name in enumerate(names)}
    styles["row 9"] = {**styles["row 9"], "color": "#abcdef", "zorder": 4}  # learned
    shown = emphasised(names, styles)
    faint = [name for name in names if shown[name]["color"] == FAINT["color"]]
    assert len(names) - len(faint) == COLOURED
    assert faint == ["row 6", "row 7", "row 8"]  # second ones of their colours
    assert emphasised(names[:COLOURED], styles) == {name: styles[name] for name in names[:COLOURED]}


def test_the_learned_row_those_named_and_the_lowest_have_the_colours():
    names = [f"row {index}" for index in range(10)]
    styles = {name: {"color": f"#{index % 5:06d}", "zorder": 2} for index, name in enumerate(names)}
    styles["row 9"] = {"color": "#abcdef", "zorder": 4}  # learned, and the last at the end
    ends = dict(zip(names, [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, math.nan, 8.0, 9.0], strict=True))
    points = [(name, updates, value) for name, end in ends.items() for updates, value in ((0, 10 - end), (99, end))]
    losses = pd.DataFrame(points, columns=["contender", "updates", "value"])
    shown = emphasised(names, styles, losses, first=["row 8"])
    faint = [name for name in names if shown[name]["color"] == FAINT["color"]]
    assert faint == ["row 0", "row 1", "row 7"]


def test_curves_that_are_the_same_are_drawn_once():
    rows = [
        {"contender": name, "seed": 0, "updates": step, "value": value / step}
        for name, value in (("a", 1.0), ("b", 2.0), ("c", 1.0))
        for step in (1, 2, 3)
    ]
    _, (axes,) = panels(1, 1)
    styles = {name: {"color": colour} for name, colour in (("a", "#111111"), ("b", "#222222"), ("c", "#333333"))}
    finite_curves(axes, pd.DataFrame(rows), styles)
    assert [(line.get_label(), line.get_color()) for line in axes.lines] == [("a = c", "#111111"), ("b", "#222222")]


def test_a_limit_and_what_is_grey_already_take_no_colour_away():
    names = [f"row {index}" for index in range(COLOURED)]
    styles = {name: {"color": f"#{index:06d}"} for index, name in enumerate(names)}
    others = {"limit": LIMIT_STYLE, "faint": FAINT}
    assert emphasised([*names, *others], styles | others) == styles | others
