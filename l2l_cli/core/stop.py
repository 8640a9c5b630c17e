"""Requests to stop: long work responds to them between two of its steps, so that the state it saves is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to stop: Ctrl-C, ``kill`` or a scheduler, and a terminal that is closed."""


class Stopped(KeyboardInterrupt):
    """A request to stop that took effect between two steps: all state is consistent and can be saved."""


class _Mode(Enum):
    FREE = "a request raises KeyboardInterrupt where it is heard"
    HELD = "a request waits for check"
    AT_ONCE = "a request raises Stopped where it is heard"


class Stop:
    """The requests to stop this process.

    Within ``held`` the first request waits; a second one raises KeyboardInterrupt at once, in the middle of a step,
    after which nothing must be saved.  In a process that works for another one, all signals count as a single request:
    the other process receives them too, and itself passes on that a user insists, by ``ask``.
    """

    def __init__(self) -> None:
        self._mode = _Mode.FREE
        self._listens = self._serves = self._insisted = False
        self._by: int | None = None

    @property
    def asked(self) -> bool:
        """Whether there was a request."""
        return self._by is not None

    @property
    def by(self) -> int | None:
        """The signal of the first request; None without a request."""
        return self._by

    @contextmanager
    def listening(self, serves: bool = False, signals: Sequence[int] = SIGNALS) -> Iterator[None]:
        """Handle the signals within the block; requests are forgotten afterwards.

        Args:
            serves: Whether this process works for another one, which calls ``ask`` with ``insist`` if the user insists.
            signals: Signals that ask it to stop.
        """
        # Only the main thread may handle signals; if they are handled already, nothing is to be done.
        if self._listens or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in signals}
        for number in signals:
            if number == signal.SIGINT or before[number] is not signal.SIG_IGN:  # nohup ignores SIGHUP: keep that
                signal.signal(number, self._hear)
        self._listens, self._serves = True, serves
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._listens = self._serves = self._insisted = False
            self._by = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let requests wait for ``check``, which is also called at the end of the block."""
        with self.listening(), self._in(_Mode.HELD):
            yield
            self.check()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let requests raise Stopped immediately, for work within ``held`` that changes no state."""
        mode = _Mode.AT_ONCE if self._mode is _Mode.HELD else self._mode
        with self._in(mode):
            if mode is _Mode.AT_ONCE:
                self.check()
            yield

    def check(self) -> None:
        """Raise Stopped if there was a request.

        Raises:
            Stopped: There was one.
        """
        if self.asked:
            raise Stopped

    def ask(self, insist: bool = False) -> None:
        """Ask this process to stop, from any of its threads; ``insist`` is what a second signal would do."""
        self._insisted = self._insisted or insist
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)

    @contextmanager
    def _in(self, mode: _Mode) -> Iterator[None]:
        before, self._mode = self._mode, mode
        try:
            yield
        finally:
            self._mode = before

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        again, self._by = self.asked, number if self._by is None else self._by
        if again and self._serves and not self._insisted:
            return
        if self._mode is _Mode.HELD and not again:
            return
        raise Stopped if self._mode is _Mode.AT_ONCE and not again else KeyboardInterrupt


STOP = Stop()
"""The requests to stop this process."""
