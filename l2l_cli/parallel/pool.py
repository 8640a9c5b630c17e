"""Pieces of work in parallel processes: a stop reaches all, and a lost process costs only its own piece."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import NamedTuple

from l2l_cli.core.errors import L2LError, UsageError
from l2l_cli.core.stop import STOP
from l2l_cli.parallel.processes import Lost, Worker

OFTEN = 0.2
"""Seconds between two checks of the progress and of requests to stop."""


class Assignment(NamedTuple):
    """A piece of work, a picklable callable, and its name for messages."""

    name: str
    work: Callable[[], object]


@dataclass(frozen=True)
class _Work:
    """Work that reports nothing to its starter before it ends."""

    work: Callable[[], object]

    def __call__(self, pipe: object) -> object:
        """Carry out the work."""
        del pipe
        return self.work()


def carry_out(
    tasks: Sequence[Assignment], processes: int, look: Callable[[], None], ended: Callable[[int, L2LError | None], None]
) -> None:
    """Carry out tasks in processes side by side, each of which takes the next task when it is done.

    Args:
        tasks: Tasks in the order in which they are begun.
        processes: Largest number of processes.
        look: Function that is called a few times per second.
        ended: Function that is called with the index of each ended task, and with the error that ended it, or None.

    Raises:
        UsageError: A task refuses its configuration; the others have been stopped, since the user must act first.
        KeyboardInterrupt: This process or one of the others was asked to stop; all have saved their state, unless the
            request was repeated.
    """
    with ExitStack() as stack, STOP.held():
        pool = _Crew(tasks, processes, stack, ended)
        try:
            while pool.goes_on():
                pool.hear()
                look()
        except KeyboardInterrupt:
            pool.stop(insist=True)
            raise
        if pool.refusal is not None:
            raise pool.refusal


class _Crew:
    """Workers, and the tasks that wait for them; see ``carry_out``."""

    def __init__(
        self,
        tasks: Sequence[Assignment],
        processes: int,
        stack: ExitStack,
        ended: Callable[[int, L2LError | None], None],
    ) -> None:
        self._waiting = deque(enumerate(tasks))
        self._processes, self._stack, self._ended = processes, stack, ended
        self._idle: list[Worker] = []
        self._busy: dict[Worker, int] = {}
        self._stopping = False
        self.refusal: UsageError | None = None

    def goes_on(self) -> bool:
        """Hand out all work that can be begun; return whether there is anything left to wait for."""
        if STOP.asked and not self._stopping:
            print(
                f"stopping after the present step of {len(self._busy)} run{'s' if len(self._busy) != 1 else ''}; "
                "a second request stops at once",
                file=sys.stderr,
            )
            self.stop()
        while self._waiting and len(self._busy) < self._processes and not self._stopping:
            index, task = self._waiting.popleft()
            worker = self._idle.pop() if self._idle else self._stack.enter_context(Worker(task.name, saves=True))
            worker.name = task.name
            worker.begin(_Work(task.work))
            self._busy[worker] = index
        return bool(self._busy)

    def hear(self) -> None:
        """Wait a moment to hear which tasks have ended."""
        heard = wait([worker.pipe for worker in self._busy], OFTEN)
        for worker in [worker for worker in self._busy if worker.pipe in heard]:
            index, error = self._busy.pop(worker), None
            try:
                worker.outcome()
            except KeyboardInterrupt:  # the system asked only that process
                if not STOP.asked and not self._stopping:
                    STOP.ask()
                continue
            except UsageError as refused:
                self.refusal = self.refusal or refused
                self.stop()
                continue
            except L2LError as failed:
                error = failed
            if not isinstance(error, Lost):
                self._idle.append(worker)
            self._ended(index, error)

    def stop(self, insist: bool = False) -> None:
        """Begin nothing more, and ask the busy workers to stop."""
        self._stopping = True
        for worker in self._busy:
            worker.stop(insist)
