"""Ctrl-C takes effect between two updates, never within one, so that checkpoints are consistent."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """Delays the first Ctrl-C until ``check``; a second one raises at once."""

    def __init__(self) -> None:
        self._pressed = False
        # Only the main thread of a process may handle signals.
        self._handles = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        """Start to delay Ctrl-C."""
        if self._handles:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the former handling of Ctrl-C."""
        if self._handles:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise the Ctrl-C that was noted, if there was one.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if self._pressed:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True
