"""A row that fails takes no other down: the report says so, and the same command mends it; a broken promise is told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from l2l_cli.commands import reproduce
from l2l_cli.core.errors import RunFailed
from l2l_cli.papers.hochreiter2001 import recipe
from tests.test_cli import run

COMMAND = "reproduce hochreiter2001 budget --scale smoke --output here meta.updates=2"
LACKING = "quadratic, 1000 examples, least squares"


@pytest.fixture
def broken(monkeypatch):
    """Names of pieces that fail, none to begin with; all pieces are carried out in this process."""
    names = []

    def carry_out(pieces, folder, processes, title):
        failures = {}
        for piece in pieces:
            if any(name in piece.name for name in names):
                failures[piece.name] = RunFailed("too many updates were skipped")
            else:
                piece.work(lambda seconds, note: None)
        return failures

    monkeypatch.setattr(reproduce, "carry_out_here", carry_out)
    monkeypatch.setattr(recipe, "STEPS", 16)  # of the measurements, which are not what this is about
    return names


def without_costs(text):
    return [line for line in text.splitlines() if ",cost," not in line]


def test_the_report_of_the_others_says_what_it_lacks(broken, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    broken.append(f"{LACKING} seed")
    code, out, err = run(COMMAND, monkeypatch, capsys)
    assert code == 1
    assert f"{LACKING} seed 0; the same command tries them again" in err
    mark = f"it lacks some or all seeds of budget: {LACKING}"
    assert mark in out
    assert mark in Path("here/report.md").read_text()
    assert LACKING not in set(pd.read_csv("here/results.csv").query("verdict != 'not run'").row)
    measured = {path: path.stat().st_mtime_ns for path in Path("here/rows").glob("*.csv")}
    damaged, content = min(measured), min(measured).read_text()
    damaged.write_text("".join(content.splitlines(keepends=True)[:-2]))  # at a line's end
    del measured[damaged]
    broken.clear()
    code, _, err = run(COMMAND, monkeypatch, capsys)
    assert code == 0
    assert f"warning: {damaged} is damaged; it is measured again" in err
    assert without_costs(damaged.read_text()) == without_costs(content)
    assert mark not in Path("here/report.md").read_text()
    assert {path: path.stat().st_mtime_ns for path in measured} == measured


def test_where_nothing_can_be_judged_there_is_no_report(broken, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    broken.append("")
    code, _, err = run(COMMAND, monkeypatch, capsys)
    assert code == 1
    assert "there is nothing to report" in err
    assert not Path("here/report.md").exists()


def test_check_holds_the_numbers_to_the_preset(broken, monkeypatch, capsys):
    monkeypatch.setattr(reproduce, "experiments", promising(reproduce.experiments))
    code, _, err = run("reproduce hochreiter2001 drift --scale smoke --check meta.updates=2", monkeypatch, capsys)
    assert code == 3
    assert "drift B14, 64 examples mse is" in err
    assert "promised ≤ 1e-09" in err


def promising(experiments):
    """Return experiments that promise what nobody can keep."""

    def promised(request):
        asked = experiments(request)
        for one in asked:
            one.scale["promises"] = {"B14, 64 examples": {"mse": 1e-9}}
        return asked

    return promised
