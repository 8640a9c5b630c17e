"""The judge of all fuzzing tests sees what it is to see."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time

import pytest

from l2l_cli.core.errors import UsageError
from tests.fuzz import outcome as judge
from tests.fuzz.mutations import put
from tests.fuzz.outcome import CANARY, SECRET, Faults, outcome, unfit


class Raw(UsageError):
    """A refusal that lets through what the package's own errors leave out."""

    __str__ = Exception.__str__


def refuse(text):
    raise Raw(text)


BAD = {
    "ValueError": lambda place: int("x"),
    "changed outside": lambda place: (place.parent / "outside").write_text("x"),
    "changed link": lambda place: (place / "link").write_text("x"),
    "started a process": lambda place: subprocess.run([sys.executable, "--version"], capture_output=True, check=True),
    "stranger's module": lambda place: importlib.import_module(CANARY),
    "a control character": lambda place: refuse("\x1b[31mred"),
    "2 lines": lambda place: refuse("a\nb"),
    "a file from outside": lambda place: refuse(f"cannot read {SECRET}"),
    "hangs": lambda place: time.sleep(5),
    "MemoryError": lambda place: bytearray(4 * judge.MEMORY),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_fault_is_seen(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "DEADLINE", 0.2)
    (place := tmp_path / "place").mkdir()
    (place / "link").symlink_to(tmp_path / "target")
    assert fault in outcome(lambda: BAD[fault](place), place).fault
    assert outcome(lambda: refuse("a line"), place).fault == ""
    assert outcome(lambda: (place / "file").write_text("x"), place) == (1, "", "")


def test_who_waits_for_a_fifo_is_seen_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "DEADLINE", 0.2)
    put("FIFO", tmp_path / "fifo", tmp_path / "outside")
    assert "hangs" in outcome(lambda: os.open(tmp_path / "fifo", os.O_RDONLY), tmp_path).fault


def test_other_bits_are_a_fault_and_each_fault_is_told_once():
    faults = Faults("bits")
    for value in ("bits", "other", "another"):
        faults.judge(value, outcome(lambda value=value: value))
    with pytest.raises(pytest.fail.Exception, match="1 faults in 3 cases:\nother bits   <- other"):
        faults.check()


@pytest.mark.parametrize("message", ["", "\x9b31m", "a\u202eb", "a\u2028b", "a\rb"])
def test_what_no_line_is(message):
    assert unfit(message)
    assert not unfit("a line: ä, 日本語, 'quoted'")
