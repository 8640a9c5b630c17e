"""Panels that papers share: colours that a reader can tell apart, the same in all figures of a paper."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from l2l_cli.config.catalogue import listing
from l2l_cli.config.groups import papers
from l2l_cli.papers.experiments import rows_of_paper
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.mlhf2018 import track
from l2l_cli.papers.mlhf2018.sections import loss_panels
from l2l_cli.papers.panels import COLOURED, FAINT, emphasised, finite_curves
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


@pytest.mark.parametrize("paper", papers())
def test_a_contender_looks_the_same_in_all_figures_of_a_paper(paper, tmp_path):
    found: dict[str, list[object]] = {}
    for name in papers()[paper]:
        rows = listing(paper, name).rows
        frames = {row: pd.DataFrame({"contender": [row], "split": "test", "variant": ""}) for row in rows}
        measured = Measured(name, rows, frames, tmp_path, family=rows_of_paper(paper, None))
        for row, style in measured.styles().items():
            found.setdefault(row, []).append(style)
    assert any(len(styles) > 1 for styles in found.values())
    assert [row for row, styles in found.items() if any(style != styles[0] for style in styles)] == []


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


def test_whoever_learned_the_same_is_one_line_in_all_panels():
    def curves_of(_, metric):
        speed = {"a": 1.0, "b": 3.0, "c": 2.0}
        values = {track.SECONDS: speed, track.LOSS: {"a": 1.0, "b": 1.0, "c": 2.0}}.get(metric, speed)
        rows = [
            {
                "contender": name,
                "seed": 0,
                "updates": step,
                "value": value / step if metric == track.LOSS else value * step,
            }
            for name, value in values.items()
            for step in (1, 2, 3)
        ]
        return pd.DataFrame(rows)

    styles = {name: {"color": f"#{index}{index}2222"} for index, name in enumerate("abc")}
    measured = SimpleNamespace(curves=curves_of, styles=lambda: styles)
    figure = loss_panels(measured, "base", held_out=True, log=False)
    named = [[line.get_label() for line in panel.lines] for panel in figure.axes]
    assert named == [["a = b", "c"]] * 4


def test_a_limit_and_what_is_grey_already_take_no_colour_away():
    names = [f"row {index}" for index in range(COLOURED)]
    styles = {name: {"color": f"#{index:06d}"} for index, name in enumerate(names)}
    others = {"limit": LIMIT_STYLE, "faint": FAINT}
    assert emphasised([*names, *others], styles | others) == styles | others
