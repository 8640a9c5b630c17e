"""Processes of this machine that work for the one that started them, and end with it, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from l2l_cli.core.errors import L2LError, RunFailed
from l2l_cli.core.failures import failure_of
from l2l_cli.core.stop import STOP

LEAVE = 5.0
"""Seconds that a process has to end by itself before it is killed."""

GRACE = 3.0
"""Seconds that a process whose starter is gone has to save its state."""

if TYPE_CHECKING:  # at run time the class takes no parameters
    Pipe = Connection[Any, Any]

Work = Callable[["Pipe"], object]
"""Work of a worker: a picklable callable, given the pipe through which it may communicate with its starter."""

STOP_PLEASE, STOP_NOW = "stop", "stop now"


class Lost(RunFailed):
    """A worker ended unexpectedly."""


class Ended(NamedTuple):
    """How a piece of work ended: with a result, an error and its traceback as text, or by a request to stop."""

    result: object = None
    error: L2LError | None = None
    trace: str = ""
    stopped: bool = False


class Worker:
    """A process that carries out one piece of work after another.

    It is spawned, since a fork would inherit locks.  It receives requests to stop through a separate pipe and ends when
    that pipe is closed, so that no process is left behind.  Use it as a context manager, or call ``end``.

    Args:
        name: Name of the process, for messages; it may be changed.
        saves: Whether it saves its state when its starter is gone, and may start further processes.
    """

    def __init__(self, name: str, saves: bool = False) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        told, self._tells = context.Pipe(duplex=False)
        arguments = there, told, GRACE if saves else 0.0
        self._process = context.Process(target=_serve, args=arguments, name=name, daemon=not saves)
        with _without_main():
            self._process.start()
        for end in (there, told):  # so that the pipes break when the process ends
            end.close()

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.end()

    def begin(self, work: Work) -> None:
        """Send it some work, whose outcome must be fetched before the next.

        Raises:
            PicklingError, AttributeError, TypeError: The work cannot be sent to another process.
            Lost: The process is gone.
        """
        content = pickle.dumps(work)
        try:
            self.pipe.send_bytes(content)
        except OSError as error:
            raise self.lost() from error

    def outcome(self) -> object:
        """Wait for the end of its work and return the result.

        Raises:
            KeyboardInterrupt: The work was stopped, by a request to its process only or to all.
            L2LError: The work raised it.
            RunFailed: The work raised something else; the message explains it, and a note has its traceback.
            Lost: The process is gone.
        """
        try:
            ended: Ended = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self.lost() from error
        if ended.stopped:
            raise KeyboardInterrupt
        if ended.trace:
            failed = RunFailed(f"{self.name} failed: {ended.error}")
            failed.add_note(ended.trace)
            raise failed
        if ended.error is not None:
            raise ended.error
        return ended.result

    def stop(self, insist: bool = False) -> None:
        """Ask it to stop after its present step, or at once."""
        with suppress(OSError):  # it has ended
            self._tells.send(STOP_NOW if insist else STOP_PLEASE)

    def end(self) -> None:
        """End the process, by its pipes if possible."""
        self._tells.close()
        self.pipe.close()
        self._process.join(LEAVE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return not self._process.is_alive()

    @property
    def how(self) -> str:
        """How the process ended, in words."""
        self._process.join(LEAVE)
        return how_it_ended(self._process.exitcode)

    def lost(self) -> Lost:
        """Return the error that says how the process ended."""
        return Lost(f"{self.name}: its process {self.how}")


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep a new process from importing the script that starts it, which would run it again from the beginning.

    What workers carry out never comes from that script.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def how_it_ended(code: int | None) -> str:
    """Say in words how a process ended, by its exit code; a negative one is the signal that killed it."""
    if code is None:
        return "does not answer"
    if code >= 0:
        return f"ended by itself, with exit code {code}"
    name = next((each.name for each in signal.Signals if each == -code), f"signal {-code}")
    return f"was killed by {name}" + (", for lack of memory?" if -code == signal.SIGKILL else "")


def _serve(pipe: Pipe, told: Pipe, grace: float) -> None:
    """Carry out work until the starter closes the pipes or is gone."""
    with suppress(KeyboardInterrupt), STOP.listening(serves=True):
        threading.Thread(target=_hear, args=(told, grace), daemon=True).start()
        while True:
            try:
                work: Work = pickle.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                return
            with suppress(OSError):  # nobody waits for it any more
                pipe.send(_carried_out(work, pipe))


def _carried_out(work: Work, pipe: Pipe) -> Ended:
    try:
        return Ended(work(pipe))
    except KeyboardInterrupt:
        return Ended(stopped=True)
    except Exception as error:  # whatever the work raises is raised again in the starter
        return Ended(error=failure_of(error), trace="" if isinstance(error, L2LError) else traceback.format_exc())


def _hear(told: Pipe, grace: float) -> None:
    """Receive requests to stop; when the pipe is closed, stop without waiting for the end of the step."""
    with suppress(EOFError, OSError):
        while True:
            STOP.ask(insist=told.recv() == STOP_NOW)
    if grace:
        STOP.ask()
        threading.Event().wait(grace)
    os._exit(1)
