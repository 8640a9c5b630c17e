"""Run folders, tidy files, verdicts, figures and reports."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from l2l_cli.core.errors import UsageError
from l2l_cli.results.frame import (
    Metric,
    MetricsFile,
    Result,
    bootstrap_interval,
    read_results,
    summarise,
    write_results,
)
from l2l_cli.results.plot import curves, decorate, dots, error_over_time, panels, save
from l2l_cli.results.report import Figure, Report, Section, markdown_table, number, verdict_line
from l2l_cli.results.run import RunFolder, identity

KEY = ("table", "row", "mse")


@pytest.mark.parametrize(
    ("values", "paper", "limit", "verdict"),
    [
        ([0.30, 0.31, 0.32], 0.32, None, "reproduced"),
        ([0.1, 0.5], 0.45, None, "reproduced"),  # within two standard errors
        ([0.20, 0.21, 0.22], 0.32, None, "better"),
        ([0.40, 0.41, 0.42], 0.32, None, "worse"),
        ([0.40, 0.41, 0.42], 0.05, 0.1, "differs"),
        ([0.40], None, 0.1, ""),
        ([], 0.32, 0.1, "not run"),
    ],
)
def test_verdicts(values, paper, limit, verdict):
    result = summarise(KEY, values, paper, limit)
    assert result.verdict == verdict
    assert result.seeds == len(values)
    if values and limit:
        assert result.ratio_to_limit == pytest.approx(np.mean(values) / limit)


def test_results_survive_their_file(tmp_path):
    results = [summarise(KEY, [0.1, 0.2], 0.3, 0.05, 'a | b, "c"'), summarise(KEY, [], None, None)]
    write_results(tmp_path / "results.csv", results)
    assert read_results(tmp_path / "results.csv") == results
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == ",".join(field.name for field in fields(Result))


def test_metrics_are_cut_back_to_a_checkpoint(tmp_path):
    straight, resumed = MetricsFile(tmp_path / "one.csv"), MetricsFile(tmp_path / "two.csv")
    rows = [Metric("a", 0, "mean", step, "test", "loss", 1 / (step + 3)) for step in range(6)]
    straight.append(rows)
    resumed.append(rows[:3])
    length = resumed.length()
    resumed.append(rows[3:5])
    resumed.truncate(length)
    resumed.append(rows[3:])
    assert straight.path.read_bytes() == resumed.path.read_bytes()
    assert straight.read().value.tolist() == [row.value for row in rows]


def test_a_folder_is_named_by_its_configuration(tmp_path):
    one = RunFolder.claim(tmp_path, "run", {"a": 1, "b": [2]}, ["a=1"])
    assert RunFolder.claim(tmp_path, "run", {"b": [2], "a": 1}, []).path == one.path
    assert RunFolder.claim(tmp_path, "run", {"a": 2, "b": [2]}, []).path != one.path
    assert identity({"a": 1}, "1.0") != identity({"a": 1}, "1.1")
    assert one.config() == {"a": 1, "b": [2]}
    assert (one.path / "overrides.txt").read_text() == "a=1\n"


def test_seconds_add_up_and_facts_merge(tmp_path):
    run = RunFolder.claim(tmp_path, "run", {}, [])
    assert run.status == "new"
    run.begin(versions={"torch": "x"})
    assert run.status == "running"
    run.end("interrupted", updates=3)
    run.begin()
    run.end("done", updates=7)
    facts = run.facts()
    assert (facts["status"], facts["updates"]) == ("done", 7)
    assert facts["seconds"] >= 0
    assert list(run.path.glob("*.tmp")) == []


def test_two_programs_do_not_write_one_folder(tmp_path):
    run = RunFolder.claim(tmp_path, "run", {}, [])
    code = (
        "import sys; from pathlib import Path; from l2l_cli.results.run import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="being written by another"), run.lock():
        pass
    other.kill()
    other.communicate()
    with run.lock():
        pass


def test_a_folder_that_is_none_is_refused(tmp_path):
    run = RunFolder.claim(tmp_path, "quadratic-lstm", {}, [])
    with pytest.raises(UsageError, match="did you mean"):
        RunFolder.load(run.path.with_name(run.path.name[:-1]))
    with pytest.raises(UsageError, match="no run folder"):
        RunFolder.load(tmp_path)
    (run.path / "run.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        RunFolder.load(run.path)


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        interval = bootstrap_interval(rng.normal(2.0, 1.0, 80).tolist(), draws=400, seed=trial)
        hits += interval.low < 2.0 < interval.high
    assert 88 <= hits <= 99


def frame() -> pd.DataFrame:
    rows = [
        {"contender": name, "seed": seed, "step": step, "value": (1 + seed / 5) / step}
        for name in ("lstm", "bayes")
        for seed in (0, 1)
        for step in range(1, 30)
    ]
    return pd.DataFrame(rows)


def test_figures_are_drawn_the_same_twice(tmp_path):
    for name in ("one", "two"):
        figure, axes = panels(1, 3)
        curves(axes[0], frame(), ["lstm", "bayes"])
        decorate(axes[0], "a", "step", "loss", "xy")
        error_over_time(axes[1], np.linspace(1, 0, 20), np.zeros(20), [1, 11])
        results = [summarise(("t", f"row {i}", "mse"), [0.1, 0.12], 0.2, 0.05) for i in range(3)]
        dots(axes[2], results, {"paper": "paper", "ours": "ours", "limit": "limit"})
        save(figure, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_a_report_is_one_content_in_two_forms(tmp_path):
    figure, axes = panels(1, 1)
    axes[0].plot([1, 2])
    save(figure, tmp_path / "figures" / "f")
    table = pd.DataFrame({"name": ["a|b", "c"], "value": [0.00012345, 12.0]})
    section = Section(
        "Part", ["* one\n* two", "with `code` & <tags>"], [table], [Figure(tmp_path / "figures/f.png", "Cap")]
    )
    Report("Title", ["Opening."], [section]).write(tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    assert "a\\|b" in markdown
    assert "![Cap](figures/f.png)" in markdown
    page = (tmp_path / "report.html").read_text()
    assert "<li>one</li><li>two</li>" in page
    assert "<code>code</code> &amp; &lt;tags&gt;" in page
    assert "data:image/png;base64," in page


def test_numbers_have_three_digits():
    shown = [number(value) for value in (0.0147993, 1.23e-5, 6.0, 257, 1000.0, None, float("nan"), "x", 0.0)]
    assert shown == ["0.0148", "1.23e-05", "6", "257", "1000", "–", "–", "x", "0"]


def test_tables_are_aligned():
    lines = markdown_table(pd.DataFrame({"a": ["x", "long"], "b": [1, 22]})).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_verdicts_are_counted():
    results = [summarise(KEY, [0.1], 0.1), summarise(KEY, [0.1], 0.5), summarise(KEY, [0.1], 0.6)]
    assert verdict_line(results) == "3 published numbers: 2 better, 1 reproduced"
