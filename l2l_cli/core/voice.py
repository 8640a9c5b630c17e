"""What a command prints besides its results: notes, events for programs, signs of activity, and the next command."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from l2l_cli.core.failures import failure_of
from l2l_cli.core.printable import printable
from l2l_cli.core.streams import lost_in, stream_on

EVERY = 20.0
"""Seconds of silence after which a command shows that it is still at work."""

BEAT = 0.5
"""Seconds between two checks for such silence."""

Sign = Callable[[], None]
"""Function that shows that work is going on."""


class Voice:
    """The output of this process: normal, quiet, or as events, one JSON object per line on standard output.

    If events are asked for, text for people goes to standard error, including that of child processes.
    """

    def __init__(self) -> None:
        self.quiet = False
        self._events: TextIO | None = None
        self._next: list[str] = []
        self._said = time.monotonic()
        self._signs: list[Sign] = []

    @property
    def has_events(self) -> bool:
        """Whether events are written."""
        return self._events is not None

    def note(self, text: str, to: TextIO | None = None) -> None:
        """Print a line that is neither a result nor an error, by default to standard output."""
        self.heard()
        if not self.quiet:
            print(text, file=to or sys.stdout, flush=True)

    def event(self, name: str, **entries: object) -> None:
        """Write an event, if events are asked for."""
        if self._events is not None:
            self.heard()
            line = json.dumps(_plain({"event": name, **entries}), default=str, ensure_ascii=False)
            print(printable(line), file=self._events, flush=True)

    def heard(self) -> None:
        """Record that something has just been printed."""
        self._said = time.monotonic()

    def suggest(self, *words: str) -> None:
        """Set the words of the command that is suggested at the end."""
        self._next = list(words)

    @contextmanager
    def at_work(self, sign: Sign) -> Iterator[None]:
        """Use ``sign`` to show that work is going on, within the block."""
        self._signs.append(sign)
        self.heard()
        try:
            yield
        finally:
            self._signs.remove(sign)

    @contextmanager
    def speaking(self, command: str, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
        """Set the manner of a command's output, from its beginning to the line that suggests the next command.

        Args:
            command: Name of the command.
            quiet: Whether to print only errors and results.
            as_json: Whether to write events.
        """
        before, self.quiet, self._next = self.quiet, quiet, []
        over, began = threading.Event(), time.monotonic()
        self.heard()
        thread = threading.Thread(target=self._live, args=(over, command, began), daemon=True)
        with self._listened_to() if as_json else _as_ever():
            self.event("began", command=command, line=line_of(sys.argv[1:]))
            thread.start()
            try:
                yield
                self._say_next(sys.stdout)
            except KeyboardInterrupt:
                self.event("interrupted")
                self.suggest(*sys.argv[1:])
                self._interrupted()
                raise
            except Exception as error:
                failure = failure_of(error)
                self.event("failed", message=str(failure), exit_code=failure.exit_code)
                raise
            finally:
                over.set()
                thread.join()
                self.quiet = before

    def _interrupted(self) -> None:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        self._say_next(sys.stderr)

    def _say_next(self, to: TextIO) -> None:
        """Print the suggested command, if there is one."""
        if self._next and self.has_events:
            self.event("next", line=line_of(self._next, program()))
        elif self._next and not self.quiet:
            print(next_line(self._next), file=to)

    @contextmanager
    def _listened_to(self) -> Iterator[None]:
        """Reserve standard output for events, and send all other text to standard error."""
        own = sys.stdout
        own.flush()
        number = os.dup(1) if _number_of(own) == 1 else None  # None where the caller captures the output
        self._events = own if number is None else stream_on(number)
        try:
            if number is not None:
                os.dup2(2, 1)  # also for child processes
            with redirect_stdout(sys.stderr):
                yield
        finally:
            if number is not None:
                lost_in(self._events, own)
                os.dup2(number, 1)
                os.close(number)
            self._events = None

    def _live(self, over: threading.Event, command: str, began: float) -> None:
        """Show from time to time that work is going on, until it is over."""
        while not over.wait(BEAT):
            if time.monotonic() - self._said < EVERY or self.quiet:
                continue
            self.heard()
            if self._signs:
                self._signs[-1]()
            elif self.has_events:
                self.event("progress", work=command, seconds=round(time.monotonic() - began, 1))
            else:
                print(f"{command}: at work for {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _as_ever() -> Iterator[None]:
    yield


def _plain(value: object) -> object:
    """Return a value that JSON can hold: numbers that are not finite become null."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [*map(_plain, value)]
    return value


def _number_of(stream: TextIO) -> int | None:
    with suppress(OSError, ValueError):
        return stream.fileno()
    return None


def line_of(words: Sequence[str], name: str = "l2l") -> str:
    """Return a command line of this program, called ``name``, with its words quoted as a shell needs it."""
    return shlex.join([name, *words])


def next_line(words: Sequence[str]) -> str:
    """Return the line that suggests the next command."""
    return f"next: {line_of(words, program())}"


def program() -> str:
    """Return how to call this program here: by its name or, if it is not on the PATH, by its relative path."""
    called = Path(sys.argv[0])
    return "l2l" if called.name != "l2l" or shutil.which("l2l") else os.path.relpath(called)


VOICE = Voice()
"""The output of this process."""
