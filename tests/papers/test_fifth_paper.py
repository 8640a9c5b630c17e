"""A fifth paper, outside of the package: what it costs, that it is found by itself, and what it came to."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from l2l_cli.config.groups import papers
from tests.test_cli import run

FOLDER = Path(__file__).with_name("maml2017")
PAPER = "maml2017"


def test_it_is_found_by_its_folder_alone():
    assert papers(str(FOLDER))[PAPER] == ["figure", "table"]
    assert PAPER not in papers()


def test_it_costs_little():
    files = list(FOLDER.rglob("*.py"))
    assert len(files) <= 5
    assert sum(len(path.read_text().splitlines()) for path in files) <= 350


def test_smoke_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(
        f"reproduce {PAPER} --scale smoke --processes 1 --output here --config-dir {FOLDER}", monkeypatch, capsys
    )
    assert code == 0, err
    assert "learned start, 10 shots, 10 steps" in out
    report = Path("here/report.md").read_text()
    assert report.count("the learned start ends below the pretrained one") == 2
    assert "figures/figure.svg" in report
    assert f"--config-dir {FOLDER}" in report  # the command that makes it anew
    assert "does not say how" in report  # its own departure, beside those of the package
    assert "§5.1" in Path("here/sources.md").read_text()


@pytest.mark.parametrize("shots", [5, 10])
def test_the_learned_start_ended_below_the_pretrained_one(shots):
    """At its own scale, three seeds and 600 sinusoids: the whole interval of the difference lies below 0."""
    with (FOLDER / "results.csv").open(encoding="utf-8", newline="") as file:
        found = {(row["row"], row["metric"]): float(row["ours"]) for row in csv.DictReader(file)}
    row = f"learned start − pretrained start, {shots} shots, 10 steps"
    ours, theirs = (found[f"{name} start, {shots} shots, 10 steps", "mse"] for name in ("learned", "pretrained"))
    assert found[row, "mse"] == pytest.approx(ours - theirs)
    assert found[row, "mse"] < 0
