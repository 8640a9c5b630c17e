"""Threads that share the work of one kernel, each with some of its blocks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from queue import SimpleQueue

import torch

Work = Callable[[int, int, int], None]
"""(thread, first, last): do the blocks first … last − 1."""


class _Flushed:
    """Treats numbers below the smallest normal one as zero, in the thread that enters.

    Saturated units and errors carried over many steps give such numbers, which slow processors down.
    """

    def __enter__(self) -> None:
        torch.set_flush_denormal(True)

    def __exit__(self, *_: object) -> None:
        torch.set_flush_denormal(False)


flushed = _Flushed()


Answer = SimpleQueue[BaseException | None]
"""Receives the exception that ended a share of the work, or None."""


class _Helper:
    """A thread that waits for work in a queue: a step of a tenth of a millisecond is too short to start a thread."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._asked: SimpleQueue[tuple[Work, int, int, Answer]] = SimpleQueue()
        threading.Thread(target=self._serve, name=f"l2l-kernel-{number}", daemon=True).start()

    def hand(self, work: Work, first: int, last: int) -> Answer:
        """Hand it a share; its answer belongs to this request only, and cannot be mistaken for another's."""
        answer: Answer = SimpleQueue()
        self._asked.put((work, first, last, answer))
        return answer

    def _serve(self) -> None:
        with flushed:
            while True:
                work, first, last, answer = self._asked.get()
                try:
                    work(self._number, first, last)
                    answer.put(None)
                except BaseException as error:  # raised again in the thread that waits
                    answer.put(error)


class ThreadGroup:
    """Splits a range among threads; compiled code runs without the interpreter's lock.

    Args:
        threads: Number of threads, the caller's included.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._helpers = [_Helper(number) for number in range(1, threads)]

    def each(self, count: int, work: Work) -> None:
        """Call ``work(thread, first, last)`` for shares of ``range(count)``; return when all are done."""
        threads = min(self.threads, count)
        shares = list(pairwise(count * k // threads for k in range(threads + 1))) if threads > 1 else [(0, count)]
        helpers = self._helpers[: threads - 1]
        answers = [helper.hand(work, *share) for helper, share in zip(helpers, shares[1:], strict=True)]
        try:
            with flushed:
                work(0, *shares[0])
        finally:  # so that no thread still writes to the caller's arrays, even after an exception
            errors = [answer.get() for answer in answers]
        for error in errors:
            if error is not None:
                raise error


@cache
def thread_group(threads: int) -> ThreadGroup:
    """Return this process's group of ``threads`` threads."""
    return ThreadGroup(threads)


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=thread_group.cache_clear)
