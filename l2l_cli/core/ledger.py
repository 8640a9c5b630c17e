"""CPU time of a process by activity, and when each activity began."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

ACTIVITIES = ("training", "tuning", "scoring", "drawing")
"""Meta-training with its validations; trials of settings; scoring of test episodes; figures and reports."""


class Mark(NamedTuple):
    """The state of a ledger: CPU-seconds by activity, spent and reused, and the number of activities begun so far."""

    spent: dict[str, float]
    reused: dict[str, float]
    begun: int


class Spent(NamedTuple):
    """Time of each activity since a mark.

    Attributes:
        seconds: CPU-seconds spent.
        reused: CPU-seconds spent earlier on results that were reused.
        began: Time at which the activity first began, also for reused results, in seconds since 1970.
    """

    seconds: dict[str, float]
    reused: dict[str, float]
    began: dict[str, float]


class Ledger:
    """CPU-seconds of this process and its threads; an inner activity's time is not counted for the outer one."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(ACTIVITIES, 0.0)
        self._reused = dict.fromkeys(ACTIVITIES, 0.0)
        self._begun: list[tuple[str, float]] = []
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def of(self, activity: str) -> Iterator[None]:
        """Count the CPU time of the block for an activity."""
        self._settle()
        self._begun.append((activity, time.time()))
        self._open.append(activity)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def reuse(self, activity: str, seconds: float, began: float) -> None:
        """Record reused results: the CPU-seconds that they once took, and when they began, in seconds since 1970."""
        self._begun.append((activity, began))
        self._reused[activity] += seconds

    def mark(self) -> Mark:
        """Return the present state, for ``since``."""
        self._settle()
        return Mark(dict(self._spent), dict(self._reused), len(self._begun))

    def since(self, mark: Mark) -> Spent:
        """Return what was spent after a mark; activities that did not occur are left out."""
        self._settle()
        began: dict[str, float] = {}
        for activity, when in self._begun[mark.begun :]:
            began[activity] = min(when, began.get(activity, when))
        used, reused = (
            {name: value - before[name] for name, value in now.items()}
            for now, before in ((self._spent, mark.spent), (self._reused, mark.reused))
        )
        return Spent(
            {name: value for name, value in used.items() if value or name in began},
            {name: value for name, value in reused.items() if value},
            began,
        )

    def _settle(self) -> None:
        now = time.process_time()
        if self._open:
            self._spent[self._open[-1]] += now - self._since
        self._since = now


LEDGER = Ledger()
"""The ledger of this process."""


def date_of(seconds: float) -> str:
    """Return a time in seconds since 1970 as a date, as in 2026-11-26T23:50:44+00:00."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
