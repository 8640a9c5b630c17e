"""Tidy measurements that survive a kill."""

from __future__ import annotations

import math

import numpy as np
import pytest

from l2l_cli.results.metrics import Metric, MetricsFile

ROWS = [Metric("a", 0, "loss", 1 / (step + 3), step, statistic="mean", problem="twice") for step in range(6)]


def test_metrics_are_cut_back_to_a_checkpoint(tmp_path):
    straight, resumed = MetricsFile(tmp_path / "one.csv"), MetricsFile(tmp_path / "two.csv")
    straight.append(ROWS)
    resumed.append(ROWS[:3])
    length = resumed.length()
    resumed.append(ROWS[3:5])
    with resumed.path.open("ab") as file:
        file.write(b"a,0,me")  # killed within a line
    resumed.truncate(length)
    resumed.append(ROWS[3:])
    assert straight.path.read_bytes() == resumed.path.read_bytes()
    assert straight.path.read_text(encoding="utf-8").splitlines()[0] == ",".join(Metric._fields)


def test_a_run_that_restarts_from_nothing_writes_its_header_again(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.truncate(metrics.length())  # nothing there yet
    metrics.append(ROWS)
    before = metrics.path.read_bytes()
    metrics.truncate(0)
    metrics.append(ROWS)
    assert metrics.path.read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "torn", "zeros", "gone"])
def test_rows_that_a_checkpoint_counts_on_are_a_gap(tmp_path, capsys, damage):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append(ROWS[:3])
    kept = metrics.length()
    metrics.append(ROWS[3:5])
    length, data = metrics.length(), metrics.path.read_bytes()
    left = {"cut": data[:kept], "torn": data[: kept + 5], "zeros": data[:kept] + bytes(length - kept), "gone": b""}[
        damage
    ]
    metrics.path.write_bytes(left)
    if damage == "gone":
        metrics.path.unlink()
    metrics.truncate(length)
    assert "bytes of rows that its checkpoint counts; they stay a gap" in capsys.readouterr().err
    metrics.append(ROWS[5:])
    assert metrics.read().step.tolist() == ([5] if damage == "gone" else [0, 1, 2, 5])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "line", ['a,0,loss,"0.1,9,,mean,,test,,', "a,0,loss", "a,x,loss,0.1,9,,mean,,test,,", "é\xff" * 99, "," * 99]
)
def test_damaged_lines_are_left_out(tmp_path, capsys, line):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append(ROWS[:3])
    with metrics.path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    metrics.append(ROWS[3:])
    assert metrics.read().step.tolist() == [0, 1, 2, 3, 4, 5]
    assert "is damaged; 1 of its lines are ignored" in capsys.readouterr().err


def test_another_name_of_the_file_is_not_cut(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append(ROWS)
    (tmp_path / "other.csv").hardlink_to(metrics.path)
    metrics.truncate(0)
    assert len(MetricsFile(tmp_path / "other.csv").read()) == len(ROWS)


def test_values_are_read_back_exactly_and_names_as_names(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    values = [0.1 + 0.2, 1 / 3, 5e-324, math.inf, math.nan, np.float64(0.1)]
    metrics.append(Metric("None", 0, "m", value, step, 0, problem="1") for step, value in enumerate(values))
    frame = metrics.read()
    np.testing.assert_array_equal(frame.value, values)
    assert frame.contender.tolist() == ["None"] * 6
    assert frame.episode.tolist() == [0] * 6
    assert frame.problem.tolist() == ["1"] * 6
    assert frame.step.dtype.kind == "i"


@pytest.mark.parametrize("torn", ["a,0,lo", "a,0,loss,0.1,9,,mean,,test,,"])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append(ROWS)
    with metrics.path.open("a") as file:
        file.write(torn)
    assert len(metrics.read()) == len(ROWS)


def test_a_file_that_was_never_written_has_no_rows(tmp_path):
    frame = MetricsFile(tmp_path / "metrics.csv").read()
    assert list(frame.columns) == list(Metric._fields)
    assert frame[frame.metric == "loss"].empty


def test_an_episode_is_an_index_or_nothing(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append([Metric("a", 0, "loss", 1.0, 1, 10), Metric("a", 0, "loss", 2.0, 1, statistic="mean")])
    frame = metrics.read()
    assert frame.episode.isna().tolist() == [False, True]
    assert frame.episode.dropna().tolist() == [10]
