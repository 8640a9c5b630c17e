"""Progress says what is true: rates without compilation and without what was found done, and units."""

from __future__ import annotations

import io
import sys
import time
from functools import partial

import pytest
from rich.console import Console

from l2l_cli.core.voice import EVERY
from l2l_cli.runs import pieces, progress, progress_files
from l2l_cli.runs.progress import ExpectedWork, Reporter
from l2l_cli.runs.progress_files import ProgressFile, stands_of
from l2l_cli.starting import CONTROL


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def after(self, seconds, act):
        self.now += seconds
        act()


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def last(capsys):
    return capsys.readouterr().err.splitlines()[-1]


def test_the_time_of_the_first_update_which_compiles_is_no_measure_of_the_rest(clock, capsys):
    with Reporter("meta-train", 101, unit="updates") as reporter:
        clock.after(72.0, lambda: reporter.advance("loss 1"))
        assert "left" not in last(capsys)  # "2 h left" before
        for _ in range(50):
            clock.after(1.0, lambda: reporter.advance("loss 2"))
        assert last(capsys) == "meta-train: 43 of 101 updates · about 58 s left · 1 updates/s · loss 2"


@pytest.mark.parametrize("columns", [80, 150])
def test_no_terminal_is_so_narrow_that_a_number_or_a_name_is_cut(columns, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", partial(Console, force_terminal=True, width=columns))
    monkeypatch.setattr(sys, "stderr", screen)
    title = "meta-train quadratic-coordinatewise_lstm seed 5"
    with Reporter(title, 400, unit="updates") as reporter:
        reporter.advance("semi-linear, 1000 examples, to the letter: loss 0.06529")
    shown = " ".join(CONTROL.sub("", screen.getvalue()).split())  # what is too long goes on in the next line
    assert title in shown
    assert "1 of 400 updates" in shown
    assert "loss 0.06529" in shown
    assert "…" not in shown


def test_updates_of_an_earlier_process_are_no_measure_of_the_rate(clock, capsys):
    with Reporter("meta-train", 1000, 900, unit="updates") as reporter:
        for _ in range(31):
            clock.after(2.0, lambda: reporter.advance("loss 2"))
        assert "about 3 min left · 0.5 updates/s" in last(capsys)


def test_what_is_found_done_is_taken_out_and_does_not_speed_up_the_rest(clock, capsys):
    with Reporter("reproduce", 1000.0, unit="") as reporter:
        clock.after(1.0, lambda: reporter.drop(800.0))
        for _ in range(50):
            clock.after(2.0, lambda: reporter.advance("row", 1.0))
        # 44 of 200 are told at the last line: the 156 left take two seconds each.
        assert last(capsys) == "reproduce: 22% of the expected work · about 5 min left · row"


def test_work_that_takes_longer_than_expected_is_not_said_to_be_over(clock, capsys):
    with Reporter("reproduce", 10.0, unit="") as reporter:
        for _ in range(10):
            clock.after(EVERY + 1, lambda: reporter.advance("row", 1.0))
        clock.after(EVERY + 1, lambda: reporter.advance("row", 0.0))
        text = last(capsys)
        assert "100% of the expected work" in text
        assert "longer than expected" in text
        assert "left" not in text


def test_a_reused_run_leaves_the_piece_s_total_and_a_run_that_was_quick_counts_as_done(tmp_path):
    progress = ProgressFile(tmp_path / "a.json", "a", 100.0)
    found = ExpectedWork(progress.tell, "training", 60.0)
    found.end()
    quick = ExpectedWork(progress.tell, "scoring", 40.0)
    quick.tell(10.0, "step 1")
    quick.end()
    progress.say("running", "")
    stand = stands_of({"a": tmp_path / "a.json"})["a"]
    assert (stand.done, stand.total) == (40.0, 40.0)


def test_work_that_takes_longer_than_expected_still_says_where_it_is(tmp_path, monkeypatch, capsys):
    """Its expected seconds are over, so nothing more counts; what it is at is shown all the same."""
    looks = []

    def carry_out(tasks, processes, look, ended):
        looks.append(look)
        for index, task in enumerate(tasks):
            task.work()
            look()
            ended(index, None)

    def work(tell):
        expected = ExpectedWork(tell, "scoring", 1.0)
        for step in range(1, 5):
            expected.tell(0.5, f"step {step} of 4")
            looks[0]()

    monkeypatch.setattr(pieces, "carry_out", carry_out)
    monkeypatch.setattr(progress_files, "SELDOM", -1.0)
    monkeypatch.setattr(progress, "EVERY", -1.0)
    assert pieces.carry_out_here([pieces.Piece("row", "row", 1.0, work)], tmp_path, 1, "reproduce") == {}
    err = capsys.readouterr().err
    assert [f"scoring: step {step} of 4" in err for step in range(1, 5)] == [True] * 4
