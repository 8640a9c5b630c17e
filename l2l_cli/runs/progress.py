"""Progress of long work: a bar on a terminal, a line every 20 seconds elsewhere, and what is expected of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Relay = Callable[[float, str], None]

EVERY = 20.0
"""Seconds between two lines where the output is not a terminal."""


class Reporter:
    """Counts the steps of a piece of work and shows rate, time left and the latest loss.

    Args:
        title: Name of the work.
        total: Number of steps in all.
        done: Number of steps that an interrupted run has made before.
        relay: Function that gets the steps and a note once a second, for work in other processes; nothing is shown.
    """

    def __init__(self, title: str, total: float, done: float = 0, relay: Relay | None = None) -> None:
        self._title = title
        self._total = total
        self._done = self._before = done
        self._relay = relay
        self._unsaid = done
        self._console = Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._console.is_terminal and self._relay is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[note]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, note="")
            self._bar.update(self._task, completed=self._done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, note: str, steps: float = 1) -> None:
        """Count steps, with a note on the latest, as in "loss 0.0123"."""
        self._done += steps
        if self._relay is not None:
            self._unsaid += steps
            if time.monotonic() - self._said > 1.0 or self._done == self._total:
                self._relay(self._unsaid, note)
                self._said, self._unsaid = time.monotonic(), 0
            return
        elapsed = time.monotonic() - self._began
        rate = (self._done - self._before) / max(elapsed, 1e-9)
        text = f"{note} · {rate:.3g}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, note=text)
        elif time.monotonic() - self._said > EVERY:
            self._said = time.monotonic()
            left = (self._total - self._done) / max(rate, 1e-9)
            self.say(f"{self._title}: {self._done:.0f}/{self._total:.0f} {text} · {duration(left)} left")

    def say(self, text: str) -> None:
        """Print a line."""
        if self._relay is None:
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)


class ExpectedWork:
    """Expected seconds of some work, which are told as they pass, and of the rest at the end.

    Args:
        told: Function that is told of them.
        name: Name of the work.
        seconds: Seconds in all.
    """

    def __init__(self, told: Relay, name: str, seconds: float) -> None:
        self._told, self._name, self._left = told, name, seconds

    def tell(self, seconds: float, note: str) -> None:
        """Tell of seconds that have passed, with a note on the work."""
        passed = min(seconds, self._left)
        self._left -= passed
        self._told(passed, f"{self._name}: {note}")

    def end(self) -> None:
        """Tell of the rest, as where a run was found done."""
        self._told(self._left, f"{self._name}: done")
        self._left = 0.0


def duration(seconds: float) -> str:
    """Return seconds as people say them, as in "12 min"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
