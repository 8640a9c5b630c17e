"""The line that a terminal shows while a command starts, and whenever it has printed nothing for some seconds."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from l2l_cli.core.voice import VOICE

AFTER = 0.3
"""Seconds before anything is shown; most listings have finished by then."""

SILENCE = 2.0
"""Seconds of silence after which a command that has printed something shows that it is still at work."""

EVERY = 0.5
"""Seconds between two updates of the line."""

SILENT = ("--quiet", "-q", "--json", "--help", "-h", "--version")
"""Words that suppress the line."""

ERASE = "\r\x1b[2K"

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Escape sequences, which move or hide the cursor and are not text."""


@contextmanager
def starting(words: Sequence[str], screen: TextIO | None = None) -> Iterator[None]:
    """Show on a terminal that a command is starting, until it writes anything, and later that it is at work.

    The line is erased before anything else is written, and never shown next to an unfinished line, such as a question
    or a progress bar.

    Args:
        words: Command line, without the name of the program.
        screen: Terminal; None means standard error.
    """
    screen = screen or sys.stderr
    if not words or set(SILENT) & set(words) or not screen.isatty():
        yield
        return
    sign = _Sign(f"l2l {words[0]}", screen)
    outputs = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Watched(outputs[0], sign), _Watched(outputs[1], sign)
    try:
        yield
    finally:
        sign.end()
        sys.stdout, sys.stderr = outputs


class _Sign:
    """A line that is updated while nothing else is written, and then erased."""

    def __init__(self, title: str, screen: TextIO) -> None:
        self._title, self._screen, self._began = title, screen, time.monotonic()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._shown = self._has_begun = False
        self._at_end, self._written = True, time.monotonic()
        threading.Thread(target=self._show, daemon=True).start()

    def give_way(self, text: str = "") -> None:
        """Erase the line before a text is written."""
        with self._lock:
            if self._shown:
                self._shown = False
                self._screen.write(ERASE)
                self._screen.flush()
            if seen := CONTROL.sub("", text):
                self._has_begun, self._at_end, self._written = True, seen.endswith("\n"), time.monotonic()

    def end(self) -> None:
        """Erase the line for good."""
        self._ended.set()
        self.give_way()

    def _show(self) -> None:
        while not self._ended.wait(EVERY if self._shown or self._has_begun else AFTER):
            with self._lock:
                now = time.monotonic()
                is_silent = not self._has_begun or (self._at_end and now - self._written > SILENCE)
                if self._ended.is_set() or not is_silent:
                    continue
                self._shown = True
                VOICE.heard()
                self._screen.write(f"{ERASE}{self._title}: {self._phase()} ({now - self._began:.0f} s)")
                self._screen.flush()

    def _phase(self) -> str:
        if self._has_begun:
            return "at work"
        torch = sys.modules.get("torch")
        return "preparing" if hasattr(torch, "compile") else "loading" if torch is None else "loading PyTorch"


class _Watched:
    """An output that erases the line before anything is written."""

    def __init__(self, output: TextIO, sign: _Sign) -> None:
        self._output, self._sign = output, sign

    def write(self, text: str) -> int:
        """Write a text, after erasing the line."""
        self._sign.give_way(text)
        return self._output.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._output, name)
