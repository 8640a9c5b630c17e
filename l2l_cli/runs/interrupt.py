"""Ctrl-C between two updates, never within one: what a checkpoint then holds is consistent."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """Notes the first Ctrl-C instead of raising; a second one raises at once."""

    def __init__(self) -> None:
        self.asked = False
        # Only a process' main thread may handle signals; elsewhere Ctrl-C is somebody else's to handle.
        self._handles = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        """Take over Ctrl-C."""
        if self._handles:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give Ctrl-C back."""
        if self._handles:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise the Ctrl-C that was noted, if there was one.

        Raises:
            KeyboardInterrupt: There was.
        """
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
