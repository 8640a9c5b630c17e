"""Progress of long work: a bar on a terminal, a line every 20 seconds elsewhere, or events for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from l2l_cli.core.printable import printable
from l2l_cli.core.voice import EVERY, VOICE

Relay = Callable[[float, str], None]
"""Function called with the amount of work done, or the negative amount that turned out unnecessary, and a note."""

OFTEN = 1.0
"""Seconds between two events about the same work."""

WIDE = 100
"""Columns from which a terminal has room for a bar."""

KNOWN_AFTER = 1.0
"""Seconds for which a rate is measured, after the first step, before a remaining time is shown."""


class Reporter:
    """Counts the steps of a piece of work and shows the rate, the remaining time and the latest loss.

    The rate is measured from the end of the first step, since earlier work, such as compilation, occurs only once.

    Args:
        title: Name of the work.
        total: Number of steps in all.
        done: Number of steps that an interrupted run has already made.
        relay: Function that gets the steps and a note once a second, for work in another process; nothing is shown.
        unit: Name of the steps, in the plural; empty if they are expected seconds, which are shown as a share.
    """

    def __init__(
        self, title: str, total: float, done: float = 0, relay: Relay | None = None, unit: str = "steps"
    ) -> None:
        self._title = title
        self._total = total
        self._done = done
        self._unit = unit
        self._measured: tuple[float, float] | None = None  # time and steps at the end of the first step
        self._relay = relay
        self._unsaid = done
        self._console = Console(file=sys.stderr, force_jupyter=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._said = self._advanced = time.monotonic()
        self._note = ""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._relay is None:
            self._open.enter_context(VOICE.at_work(self._sign))
        if self._console.is_terminal and self._relay is None and not VOICE.quiet and not VOICE.has_events:
            wide = self._console.width >= WIDE
            # A narrow terminal has the title on a line of its own; text that is too long is wrapped, not cut.
            shape = "{task.description} {task.fields[note]}" if wide else "{task.description}\n{task.fields[note]}"
            text = TextColumn(shape, markup=False, table_column=Column(overflow="fold"))
            self._bar = Progress(TimeElapsedColumn(), *([BarColumn(20)] if wide else []), text, console=self._console)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, note="")
            self._bar.update(self._task, completed=self._done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar."""
        self._open.close()
        if self._bar is not None:
            self._bar.stop()

    def advance(self, note: str, steps: float = 1) -> None:
        """Count steps, with a note on the latest one, as in "loss 0.0123"."""
        self._done += steps
        if self._relay is not None:
            self._unsaid += steps
            if time.monotonic() - self._said > 1.0 or self._done == self._total:
                self._relay(self._unsaid, note)
                self._said, self._unsaid = time.monotonic(), 0
            return
        self._note, self._advanced = note, time.monotonic()
        left = self._left(self._advanced)
        if VOICE.has_events:
            if time.monotonic() - self._said > OFTEN or self._done >= self._total:
                self._said = time.monotonic()
                self._tell()
            return
        text = " · ".join(part for part in (self._count(), left, note) if part)
        if self._bar is not None:
            VOICE.heard()
            self._bar.update(self._task, total=self._total, completed=self._done, note=text)
        elif time.monotonic() - self._said > EVERY:
            self._said = time.monotonic()
            self.say(f"{self._title}: {text}")

    def _tell(self) -> None:
        """Write the progress as an event."""
        counted = {"done": self._done, "total": self._total, "unit": self._unit or "expected seconds"}
        VOICE.event("progress", work=self._title, **counted, left_seconds=self._seconds_left(), note=self._note)

    def _seconds_left(self) -> float | None:
        """Return the remaining seconds at the rate so far; None if it is not known."""
        if self._measured is None or self._done <= self._measured[1] or self._done > self._total:
            return None
        since, steps = time.monotonic() - self._measured[0], self._done - self._measured[1]
        return round((self._total - self._done) * since / steps, 1)

    def _sign(self) -> None:
        """Show that work is going on during a long step."""
        if VOICE.has_events:
            self._tell()
        elif self._bar is None:
            taken = f"this step has taken {time.monotonic() - self._advanced:.0f} s so far"
            parts = [self._count(), self._note, taken]
            self.say(f"{self._title}: {' · '.join(filter(None, parts))}")

    def drop(self, steps: float) -> None:
        """Remove steps that turn out to be unnecessary, such as results that are found; they do not affect the rate."""
        if self._relay is not None:
            self.advance("known", steps)
            return
        self._total = max(self._done, self._total - steps)

    def _count(self) -> str:
        if self._unit:
            return f"{self._done:.0f} of {self._total:.0f} {self._unit}"
        return f"{self._done / self._total:.0%} of the expected work" if self._total else ""

    def _left(self, now: float) -> str:
        """Return the remaining time and the rate, as far as they are known, after a step that has ended now."""
        if self._measured is None:
            self._measured = now, self._done
            return ""
        since, steps = now - self._measured[0], self._done - self._measured[1]
        if since < KNOWN_AFTER or steps <= 0:
            return ""
        rate = f"{steps / since:.3g} {self._unit}/s" if self._unit else ""
        if self._done >= self._total:
            return rate or "longer than expected"
        left = f"about {duration((self._total - self._done) * since / steps)} left"
        return f"{left} · {rate}" if rate else left

    def say(self, text: str) -> None:
        """Print a line, or write it as an event."""
        if self._relay is not None:
            return
        VOICE.heard()
        if VOICE.has_events:
            VOICE.event("note", work=self._title, text=printable(text))
        elif not VOICE.quiet:
            self._console.print(printable(text), highlight=False, soft_wrap=True, markup=False)


class ExpectedWork:
    """Expected seconds of some work, reported as they pass; what remains is reported at the end.

    Args:
        told: Function to which they are reported.
        name: Name of the work.
        seconds: Total number of expected seconds.
    """

    def __init__(self, told: Relay, name: str, seconds: float) -> None:
        self._told, self._name, self._left, self._seconds = told, name, seconds, seconds

    def tell(self, seconds: float, note: str) -> None:
        """Report seconds that have passed, with a note on the work."""
        passed = min(seconds, self._left)
        self._left -= passed
        self._told(passed, f"{self._name}: {note}")

    def end(self) -> None:
        """Report the rest; if nothing was reported before, since the work was found done, all of it is dropped."""
        self._told(self._left if self._left < self._seconds else -self._left, f"{self._name}: done")
        self._left = 0.0


def duration(seconds: float) -> str:
    """Return seconds in readable form, as in "12 min"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
