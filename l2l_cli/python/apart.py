"""Isolation of a command within a user's program: it runs as in a process of its own, and changes no global state.

Commands set threads, devices, seeds, styles and folders as if they owned the process, so only one call is carried out
at a time; calls from other threads wait.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TextIO

import torch

from l2l_cli.config.own_task import withdraw
from l2l_cli.core.errors import UsageError
from l2l_cli.core.failures import failure_of
from l2l_cli.core.global_draws import GlobalState
from l2l_cli.core.places import is_ours
from l2l_cli.core.voice import VOICE

_ONE = threading.RLock()
"""Lock held by the thread whose call is carried out."""

WARNING = "warning: "
"""Prefix of a line that warns."""


class L2LWarning(UserWarning):
    """A line of a command that begins with "warning:", when nothing is printed."""


@contextmanager
def apart(words: Sequence[str], quiet: bool) -> Iterator[None]:
    """Carry out a command within the block.

    Args:
        words: Command as it would be typed, for records: its name, then its arguments.
        quiet: Whether nothing is printed; warnings are then issued as Python warnings.

    Raises:
        L2LError: The command failed; any other exception that was raised is its cause.
    """
    said: list[str] = []
    try:
        with _ONE, ExitStack() as stack:
            stack.enter_context(_places(words))
            stack.enter_context(_torch())
            stack.enter_context(_style())
            if quiet:
                stack.enter_context(_kept(said))
            stack.enter_context(VOICE.speaking(words[0], quiet))
            yield
    except Exception as error:  # from a user's class, a disk or a network; reported as on the command line
        failure = failure_of(error)
        if failure is error:
            raise
        raise failure from error
    finally:
        for line in "".join(said).splitlines():
            if line.startswith(WARNING):
                warn(line.removeprefix(WARNING))


def warn(text: str) -> None:
    """Issue a warning at the line outside of this program that called it."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and (is_ours(frame.f_code.co_filename) or frame.f_code.co_filename == contextlib.__file__):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, L2LWarning, stacklevel=level)


@contextmanager
def _places(words: Sequence[str]) -> Iterator[None]:
    """Restore the program's command line, module search path, and configurations in Hydra's store afterwards."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = ["l2l", *words]
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
        withdraw()


@contextmanager
def _torch() -> Iterator[None]:
    """Restore torch's settings and all global random generators afterwards; begin with torch's default settings.

    Raises:
        UsageError: The call is within ``with torch.device(…)``, which no setting can undo.
    """
    device, dtype, threads = torch.get_default_device(), torch.get_default_dtype(), torch.get_num_threads()
    mode, fills = torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    flushes, draws = _flushes(), GlobalState.now()
    torch.set_default_device(None)
    inside = torch.get_default_device()
    try:
        if inside.type != "cpu":
            raise UsageError(f"call it outside of `with torch.device({str(inside)!r})`; hardware=… chooses the device")
        torch.set_default_dtype(torch.float32)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        if inside.type == "cpu":
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
        torch.set_flush_denormal(flushes)
        draws.restore()


def _flushes() -> bool:
    """Return whether this thread flushes denormal numbers to zero, which torch does not report."""
    return torch.full((1,), 1e-39, dtype=torch.float32, device="cpu").mul(1.0).item() == 0.0


@contextmanager
def _style() -> Iterator[None]:
    """Restore the style of the program's figures afterwards."""
    if (plotting := sys.modules.get("matplotlib")) is not None:
        with plotting.rc_context():
            yield
        return
    try:
        yield
    finally:
        if (plotting := sys.modules.get("matplotlib")) is not None:
            plotting.rc_file_defaults()


@contextmanager
def _kept(said: list[str]) -> Iterator[None]:
    """Collect what this thread prints instead of showing it; output of other threads is shown."""
    before = sys.stdout, sys.stderr
    ours = _OfOthers(sys.stdout, said), _OfOthers(sys.stderr, said)
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for one in ours:
            one.let_through()


class _OfOthers:
    """An output that collects what the present thread writes and passes on the rest, until all is let through."""

    def __init__(self, output: TextIO, said: list[str]) -> None:
        self._output, self._said = output, said
        self._thread: int | None = threading.get_ident()

    def let_through(self) -> None:
        """Pass on everything from now on: loggers set up in the meantime continue to write here."""
        self._thread = None

    def write(self, text: str) -> int:
        """Write a text, or collect it."""
        if threading.get_ident() == self._thread:
            self._said.append(text)
            return len(text)
        return self._output.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._output, name)
