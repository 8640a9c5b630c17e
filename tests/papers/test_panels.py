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
from l2l_cli.results.lines import COLOURED, FAINT


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
        return pd.DataFrame(rows, index=[0] * len(rows))  # as of several files that were joined

    styles = {name: {"color": f"#{index}{index}2222"} for index, name in enumerate("abc")}
    measured = SimpleNamespace(curves=curves_of, styles=lambda: styles)
    figure = loss_panels(measured, "base", held_out=True, log=False)
    named = [[line.get_label() for line in panel.lines] for panel in figure.axes]
    assert named == [["a = b", "c"]] * 4


def test_who_is_grey_in_one_panel_is_grey_in_all(tmp_path):
    names = [f"row {index}" for index in range(COLOURED + 2)]

    def curves_of(_, metric):
        def value(index, step):
            return 0.5 if metric == track.HELD_OUT_ACCURACY and index < 5 else (index + 1) * step

        rows = [
            {"contender": name, "seed": 0, "updates": step, "value": value(index, step)}
            for index, name in enumerate(names)
            for step in (1, 2, 3)
        ]
        return pd.DataFrame(rows)

    styles = {name: {"color": f"#{index:06d}"} for index, name in enumerate(names)}
    figure = loss_panels(SimpleNamespace(curves=curves_of, styles=lambda: styles), "base", held_out=True, log=False)
    colours = [{line.get_label(): line.get_color() for line in panel.lines} for panel in figure.axes]
    assert colours == [colours[0]] * 4
    assert [name for name, colour in colours[0].items() if colour == FAINT["color"]] == names[COLOURED:]
