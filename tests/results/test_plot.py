"""Figures: the same twice, not blank, and about what they were given."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from l2l_cli.results.drawing import save
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.plot import COLOURS, DIGITISED, GREY, curves, decorate, dots, error_over_time, legend, panels
from l2l_cli.results.ticks import log_ticks, plain, widened
from l2l_cli.results.verdicts import summarise


@pytest.fixture(autouse=True)
def _own_style():
    with matplotlib.rc_context():
        yield


def frame(contenders=("lstm", "bayes"), seeds=2) -> pd.DataFrame:
    rows = [
        {"contender": name, "seed": seed, "step": step, "value": (1 + seed / 5) / step}
        for name in contenders
        for seed in range(seeds)
        for step in range(1, 30)
    ]
    return pd.DataFrame(rows)


RESULTS = [summarise(("t", f"row {i}", "mse"), [0.1, 0.12], 0.2, 0.05) for i in range(3)]


def is_blank(path: Path) -> bool:
    return float(np.std(imread(path)[..., :3])) < 0.02


def test_figures_are_drawn_the_same_twice(tmp_path):
    for name in ("one", "two"):
        figure, axes = panels(1, 3)
        curves(axes[0], frame(), ["lstm", "bayes"])
        decorate(axes[0], "a", "step", "loss", "xy")
        error_over_time(axes[1], np.linspace(1, 0, 20), np.zeros(20), [1, 11])
        dots(axes[2], RESULTS, {"paper": "paper", "ours": "ours", "limit": "limit"})
        assert save(figure, tmp_path / name) == [tmp_path / f"{name}.{kind}" for kind in ("png", "pdf", "svg")]
    for kind in ("png", "pdf", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert not is_blank(tmp_path / "one.png")


def test_a_blank_figure_is_told_from_a_drawn_one(tmp_path):
    figure, axes = panels(1, 1)
    axes[0].set_axis_off()
    save(figure, tmp_path / "lr0.1")
    assert is_blank(tmp_path / "lr0.1.png")


def test_bands_span_the_seeds():
    _, (axes,) = panels(1, 1)
    curves(axes, frame(["lstm"], seeds=3), ["lstm"])
    (line,) = axes.get_lines()
    assert line.get_ydata()[0] == pytest.approx(1.2)
    edges = axes.collections[0].get_paths()[0].vertices
    first = edges[edges[:, 0] == 1, 1]
    assert (first.min(), first.max()) == pytest.approx((1.0, 1.4))


def test_what_is_grey_has_no_band():
    _, axes = panels(1, 1)
    curves(axes[0], frame(), ["lstm", "bayes"], {"bayes": {"color": GREY}})
    assert len(axes[0].collections) == 1


def test_one_seed_has_no_band():
    _, (axes,) = panels(1, 1)
    curves(axes, frame(["lstm"], seeds=1), ["lstm"])
    assert not axes.collections


def test_curves_take_another_axis_and_more_contenders_than_colours():
    names = [f"rule {index}" for index in range(len(COLOURS) + 1)]
    data = frame(names, seeds=1).rename(columns={"step": "t"})
    _, (axes,) = panels(1, 1)
    curves(axes, data, names, x="t", styles={"rule 1": {"linewidth": 3.0}})
    first, second, *_, last = axes.get_lines()
    assert first.get_color() == last.get_color()
    assert first.get_linestyle() != last.get_linestyle()
    assert second.get_linewidth() == 3.0


def test_new_functions_are_marked_and_the_floor_may_be_unknown():
    _, (axes,) = panels(1, 1)
    error_over_time(axes, np.linspace(1, 0, 20), None, [1, 11], names=("RNN", "limit"))
    assert axes.get_xticks().tolist() == [1, 11]
    assert axes.get_legend_handles_labels()[1] == ["RNN"]


def test_a_row_lacks_what_is_not_known(tmp_path):
    rows = [
        summarise(("t", "not run", "m"), [], 0.3, 0.1),
        summarise(("t", "nothing", "m"), [], None),
        summarise(("t", "diverged", "m"), [1.0, float("inf")], 0.3, 0.1),
        summarise(("t", "wide", "m"), [-0.3, 0.7], None, 0.1),
        summarise(("t", "exact", "m"), [0.0], 0.3, 0.0),
    ]
    figure, (axes,) = panels(1, 1)
    dots(axes, rows)
    assert sorted(axes.get_legend_handles_labels()[1]) == ["limit", "ours", "paper"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.row for row in reversed(rows)]
    shown = [text.get_text() for text in axes.texts]
    assert shown.count("not run") == 2
    assert "2.00 ×" in shown
    save(figure, tmp_path / "chart")
    assert not is_blank(tmp_path / "chart.png")


def test_figures_are_remade_from_the_files_alone(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    data = frame()
    metrics.append(
        Metric(row.contender, row.seed, "loss", row.value, row.step, statistic="mean") for row in data.itertuples()
    )
    for name, rows in (("first", data), ("again", metrics.read())):
        figure, (axes,) = panels(1, 1)
        curves(axes, rows, ["lstm", "bayes"])
        save(figure, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_names_are_drawn_as_they_are(tmp_path):
    """Also such as Matplotlib would take for formulas, and for wrong ones."""
    name = r"a $\frac$ b"
    figure, (curve, bars) = panels(1, 2)
    frame = pd.DataFrame({"step": [1, 2], "value": [1.0, 2.0], "contender": name, "seed": 0})
    curves(curve, frame, [name])
    curve.set_yscale("log")
    curve.legend()
    curve.set_title(name, loc="left")
    bars.barh([name, "c"], [1, 2])
    curve.set_xticks([1, 2], labels=[name, "2"])
    assert all(path.stat().st_size > 1000 for path in save(figure, tmp_path / "figure"))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 110, [1, 2, 5, 10, 20, 50, 100]),
        (1e-6, 2, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]),
        (1e-12, 1, [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]),
        (0.21, 0.31, [0.25, 0.3]),
        (2.05, 2.35, [2.1, 2.2, 2.3]),
    ],
)
def test_logarithmic_axes_have_plain_ticks(low, high, expected):
    assert log_ticks(low, high) == pytest.approx(expected)


def test_ticks_are_plain_numbers():
    shown = [plain(value) for value in (0.02, 1.0, 50.0, 1e-5, 2e-5, 1e7, -3.0)]
    assert shown == ["0.02", "1", "50", "10⁻⁵", "2 · 10⁻⁵", "10⁷", "−3"]


def test_what_is_counted_has_whole_ticks_and_no_offset(tmp_path):
    figure, (one, two) = panels(1, 2)
    one.plot([0, 1, 2, 3, 4, 5], np.linspace(1.0, 1.00001, 6))
    two.plot([0.0, 0.5], [1.0, 2.0])
    save(figure, tmp_path / "f")
    assert all(tick == round(tick) for tick in one.get_xticks())
    assert one.yaxis.get_major_formatter().get_offset() == ""
    assert any(tick != round(tick) for tick in two.get_xticks())


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((0.99997, 1.0), (0.998985, 1.000985)),
        ((0.5, 1.0), (0.5, 1.0)),
        ((0.0, 1e-9), (0.0, 1e-9)),
        ((2.0, 2.0), (2.0, 2.0)),
    ],
)
def test_an_axis_does_not_spread_what_is_as_good_as_equal(ends, shown):
    assert widened(*ends) == pytest.approx(shown)


@pytest.mark.parametrize(("step", "ticks"), [(2, [2]), (3, [3])])
def test_a_single_count_has_no_fractions_beside_it(step, ticks, tmp_path):
    figure, (axes,) = panels(1, 1)
    axes.plot([step], [1.0], "o")
    save(figure, tmp_path / "one")
    assert [float(tick) for tick in axes.get_xticks()] == ticks


def test_titles_of_narrow_panels_do_not_run_into_each_other(tmp_path):
    figure, axes = panels(1, 4, height=1.7)
    for panel in axes:
        panel.plot([1, 2, 3], [1.0, 2.0, 3.0])
        decorate(panel, "weights in cell, more noise in meta-training", "updates", "")
    save(figure, tmp_path / "narrow")
    boxes = [one.get_window_extent() for panel in axes for one in panel.get_children() if is_title(one)]
    assert len(boxes) == 4
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def is_title(child):
    return isinstance(child, Text) and child.get_text().startswith("weights")


def test_the_legend_names_nothing_that_is_not_drawn():
    figure, axes = panels(1, 2)
    axes[0].plot([1, 2], [1.0, 2.0], label="a")
    axes[1].plot([], [], label="b")
    legend(figure, axes, DIGITISED)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", DIGITISED]


@pytest.mark.parametrize(
    ("lines", "most", "columns"), [(6, 5, 3), (7, 5, 4), (5, 5, 5), (8, 4, 4), (1, 4, 1), (11, 5, 4)]
)
def test_the_rows_of_a_legend_are_about_equally_long(lines, most, columns):
    figure, axes = panels(1, 1)
    for index in range(lines):
        axes[0].plot([1, 2], [1.0, 2.0], label=str(index))
    legend(figure, axes, columns=most)
    assert figure.legends[0]._ncols == columns
