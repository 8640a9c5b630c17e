"""A terminal shows from the first moment on that a command is starting, and nothing of it stays."""

from __future__ import annotations

import io
import sys
import time

import pytest

from l2l_cli import starting as module
from l2l_cli.core.voice import VOICE
from l2l_cli.starting import ERASE, starting


class Screen(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setattr(module, "AFTER", 0.0)
    return Screen()


def shown(screen, text):
    """Whether a screen shows a text within some seconds."""
    until = time.monotonic() + 10
    while text not in screen.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    return text in screen.getvalue()


def test_the_sign_is_gone_before_anything_else_is_written(screen, monkeypatch):
    monkeypatch.setattr(sys, "stdout", screen)
    with starting(["meta-train", "task=b14"], screen):
        assert shown(screen, "l2l meta-train: ")
        print("already done")
    after = screen.getvalue().split("l2l meta-train: ")[-1]
    assert after.endswith(f"{ERASE}already done\n")


def test_a_command_that_writes_nothing_leaves_nothing(screen):
    output = sys.stdout
    with starting(["compare"], screen):
        assert shown(screen, "l2l compare: ")
    assert screen.getvalue().endswith(ERASE)
    assert sys.stdout is output


@pytest.mark.parametrize("words", [[], ["meta-train", "--help"], ["compare", "--quiet"], ["evaluate", "--json"]])
def test_listings_and_quiet_commands_show_no_sign(words, screen):
    output = sys.stdout
    with starting(words, screen):
        assert sys.stdout is output
        time.sleep(0.05)
    assert screen.getvalue() == ""


def test_no_sign_where_there_is_no_terminal():
    output = sys.stdout
    with starting(["meta-train"], io.StringIO()):
        assert sys.stdout is output


def test_a_silence_after_the_first_line_is_broken_and_a_question_or_bar_is_left_alone(screen, monkeypatch):
    monkeypatch.setattr(module, "SILENCE", 0.0)
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(sys, "stdout", screen)
    with starting(["compare"], screen):
        print("store: nothing known")
        assert shown(screen, "l2l compare: at work (0 s)")
        print("remove it? ", end="")
        asked = screen.getvalue()
        time.sleep(0.1)
        assert screen.getvalue() == asked
        assert asked.endswith(f"{ERASE}remove it? ")
        print("\x1b[?25h", end="")  # of a bar that ends: the cursor is shown again
        print("no")
        screen.truncate(0)
        assert shown(screen, "l2l compare: at work")


def test_a_sign_counts_as_said(screen, monkeypatch):
    monkeypatch.setattr(VOICE, "_said", 0.0)
    with starting(["compare"], screen):
        assert shown(screen, "l2l compare: ")
    assert time.monotonic() - VOICE._said < 60
