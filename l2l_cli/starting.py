"""What a terminal shows from the first moment on, until the command itself has something to say."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

AFTER = 0.3
"""Seconds for which nothing is shown: most listings are through by then."""

EVERY = 0.5
"""Seconds between two lines."""

SILENT = ("--quiet", "-q", "--json", "--help", "-h", "--version")
"""Words with which nothing is shown."""

ERASE = "\r\x1b[2K"


@contextmanager
def starting(words: Sequence[str], screen: TextIO | None = None) -> Iterator[None]:
    """Show on a terminal that a command is starting, until it writes anything.

    Args:
        words: Command line, without the name of the program.
        screen: Terminal; None is the error output.
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
    """A line that is written anew until it is ended, and then is gone."""

    def __init__(self, title: str, screen: TextIO) -> None:
        self._title, self._screen, self._began = title, screen, time.monotonic()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._shown = False
        threading.Thread(target=self._show, daemon=True).start()

    def end(self) -> None:
        """Take the line away, before anything else is written."""
        with self._lock:
            self._ended.set()
            if self._shown:
                self._shown = False
                self._screen.write(ERASE)
                self._screen.flush()

    def _show(self) -> None:
        while not self._ended.wait(EVERY if self._shown else AFTER):
            with self._lock:
                if self._ended.is_set():
                    return
                self._shown = True
                self._screen.write(f"{ERASE}{self._title}: {self._phase()} ({time.monotonic() - self._began:.0f} s)")
                self._screen.flush()

    def _phase(self) -> str:
        torch = sys.modules.get("torch")
        return "preparing" if hasattr(torch, "compile") else "loading" if torch is None else "loading PyTorch"


class _Watched:
    """An output before whose first line a sign is taken away."""

    def __init__(self, output: TextIO, sign: _Sign) -> None:
        self._output, self._sign = output, sign

    def write(self, text: str) -> int:
        """Write a text, after the sign has gone."""
        self._sign.end()
        return self._output.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._output, name)
