"""What a process spends its time on: CPU-seconds by activity, and when each began."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

ACTIVITIES = ("training", "tuning", "scoring", "drawing")
"""What is accounted for: meta-training with its validations, trials of settings, test episodes, figures and reports."""


class Mark(NamedTuple):
    """The state of a ledger: CPU-seconds by activity, and the number of times that one was begun."""

    spent: dict[str, float]
    begun: int


class Spent(NamedTuple):
    """CPU-seconds of each activity since a mark, and when it first began, in seconds since 1970."""

    seconds: dict[str, float]
    began: dict[str, float]


class Ledger:
    """CPU-seconds of this process and its threads; what an inner activity takes is not counted for the outer one."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(ACTIVITIES, 0.0)
        self._begun: list[tuple[str, float]] = []
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def of(self, activity: str) -> Iterator[None]:
        """Count what is done within for an activity."""
        self._settle()
        self._begun.append((activity, time.time()))
        self._open.append(activity)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def mark(self) -> Mark:
        """Return the present state, from which to count."""
        self._settle()
        return Mark(dict(self._spent), len(self._begun))

    def since(self, mark: Mark) -> Spent:
        """Return what was spent after a mark; activities that did not occur are left out."""
        self._settle()
        began: dict[str, float] = {}
        for activity, when in self._begun[mark.begun :]:
            began.setdefault(activity, when)
        used = {name: value - mark.spent[name] for name, value in self._spent.items()}
        return Spent({name: value for name, value in used.items() if value or name in began}, began)

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
