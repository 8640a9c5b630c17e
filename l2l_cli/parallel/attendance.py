"""Presence of ranks, and the messages that they leave when they go."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from l2l_cli.core.errors import L2LError
from l2l_cli.core.stop import Stopped
from l2l_cli.parallel.processes import Worker

START = 600.0
"""Seconds that the ranks have to find each other."""

REPLY = 1.0
"""Seconds within which ranks that have lost a connection must report that they are still there."""

STOPPED, MISSES = "was asked to stop", "misses another rank"


class RankLost(L2LError):
    """A rank failed or ended unexpectedly, and the others cannot go on without it."""


class Attendance:
    """Messages between N ranks through a store, which also works when their connections are broken.

    Args:
        store: Store of torch.distributed that all ranks share.
        rank: Number of this process.
        size: Number N of ranks.
        workers: Processes of the ranks from 1 on, if this process has started them.

    Attributes:
        speaks: Whether this rank reports to the user: rank 0 does, or the first one left if it is lost.
    """

    def __init__(self, store: Any, rank: int, size: int, workers: Sequence[Worker]) -> None:
        self._store, self._rank, self._size, self._workers = store, rank, size, workers
        self.speaks = rank == 0
        store.set(_here(rank), f"{socket.gethostname()} {os.getpid()}")

    def wait_for_all(self) -> None:
        """Wait until all ranks are present; the loop is in Python, so that signals are handled.

        Raises:
            RankLost: One does not appear, or has left again.
        """
        until = time.monotonic() + START
        keys = [_here(rank) for rank in range(self._size)]
        while not self._store.check(keys):
            self.look()
            if time.monotonic() > until:
                missing = [str(rank) for rank, key in enumerate(keys) if not self._store.check([key])]
                raise RankLost(f"rank {', '.join(missing)} of {self._size} did not start within {START:g} s")
            time.sleep(0.02)

    def leave_word(self, words: str) -> None:
        """Leave a message for the other ranks, unless the process that hosts the store is gone."""
        with suppress(RuntimeError):
            self._store.set(_left(self._rank), words)

    def look(self) -> None:
        """Check whether a rank has left.

        Raises:
            RankLost, Stopped: One has; see ``why``.
        """
        if any(worker.is_gone for worker in self._workers) or self._words():
            raise self.why()

    def why(self) -> BaseException:
        """Return why others have left; ranks that are still there, or left of their own accord, say so."""
        self.leave_word(MISSES)
        until = time.monotonic() + REPLY
        while len(said := self._words()) < self._size and time.monotonic() < until:
            time.sleep(0.02)
        silent = [rank for rank in range(self._size) if rank not in said]
        reasons = [words for _, words in sorted(said.items()) if words not in (STOPPED, MISSES)]
        excused = bool(reasons) or STOPPED in said.values()
        if lost := self.lost() or (None if excused or not silent else self._without(silent)):
            return lost
        return RankLost(reasons[0]) if reasons else Stopped()

    def lost(self) -> RankLost | None:
        """Return the error that names the ranks of this machine that ended unexpectedly; None if there are none."""
        said = self._words()
        dead = [rank for rank in range(self._size) if rank not in said and rank != self._rank and self._is_dead(rank)]
        return self._without(dead) if dead else None

    def _without(self, lost: Sequence[int]) -> RankLost:
        self.speaks = self._rank == min(set(range(self._size)) - {*lost})
        how = self._workers[lost[0] - 1].how if self._workers else "ended unexpectedly, or cannot be reached"
        names = f"rank {', '.join(map(str, lost))} of {self._size}"
        return RankLost(f"{names} {how}; the same command continues from the last checkpoint")

    def _is_dead(self, rank: int) -> bool:
        """Return whether a rank's process is known to be gone, which only its own machine can tell."""
        if self._workers:
            return rank > 0 and self._workers[rank - 1].is_gone
        try:
            host, pid = self._store.get(_here(rank)).decode().split()
            if host == socket.gethostname():
                os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except RuntimeError:  # the store is gone as well
            return False
        return False

    def _words(self) -> dict[int, str]:
        """Return the messages that ranks have left."""
        try:
            keys = {rank: _left(rank) for rank in range(self._size)}
            return {rank: self._store.get(key).decode() for rank, key in keys.items() if self._store.check([key])}
        except RuntimeError:  # the store is gone, and its host with it
            return {self._rank: MISSES}


def _here(rank: int) -> str:
    return f"here/{rank}"


def _left(rank: int) -> str:
    return f"left/{rank}"
