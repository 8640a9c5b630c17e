"""A command within a program of the user's: it finds what a process of its own has, and leaves all as it was.

Commands set threads, devices, seeds, styles and folders for their process as if it were their own, so one call at a
time is carried out: another thread that calls waits.
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
"""Held by the thread whose call is carried out."""

WARNING = "warning: "
"""Beginning of a line that warns."""


class L2LWarning(UserWarning):
    """What a command says in a line that begins with "warning:", where nothing else is shown."""


@contextmanager
def apart(words: Sequence[str], quiet: bool) -> Iterator[None]:
    """Carry out a command within.

    Args:
        words: The command as it would be typed, for records: its name, then what it is given.
        quiet: Whether nothing is printed; lines that warn are warnings of Python then.

    Raises:
        L2LError: The command failed; whatever else was raised is the cause.
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
    except Exception as error:  # of a user's class, a disk or a network, told as the command line tells it
        failure = failure_of(error)
        if failure is error:
            raise
        raise failure from error
    finally:
        for line in "".join(said).splitlines():
            if line.startswith(WARNING):
                warn(line.removeprefix(WARNING))


def warn(text: str) -> None:
    """Warn whoever has called this program."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and (is_ours(frame.f_code.co_filename) or frame.f_code.co_filename == contextlib.__file__):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, L2LWarning, stacklevel=level)


@contextmanager
def _places(words: Sequence[str]) -> Iterator[None]:
    """Keep the program's command line, its module search path, and its configurations in Hydra's store."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = ["l2l", *words]
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
        withdraw()


@contextmanager
def _torch() -> Iterator[None]:
    """Keep settings of torch and the state of all global random generators; begin with torch's own settings.

    Raises:
        UsageError: The call stands within ``with torch.device(…)``, which no setting undoes.
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
    """Say whether this thread takes numbers below the smallest normal one for zero, which torch does not tell."""
    return torch.full((1,), 1e-39, dtype=torch.float32, device="cpu").mul(1.0).item() == 0.0


@contextmanager
def _style() -> Iterator[None]:
    """Keep the style of the program's figures."""
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
    """Keep what this thread prints from being shown; what other threads print is."""
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
    """An output on which other threads than the present one write, until everything is let through."""

    def __init__(self, output: TextIO, said: list[str]) -> None:
        self._output, self._said = output, said
        self._thread: int | None = threading.get_ident()

    def let_through(self) -> None:
        """Write everything from now on: a logger that was set up meanwhile goes on to write here."""
        self._thread = None

    def write(self, text: str) -> int:
        """Write a text, or keep it."""
        if threading.get_ident() == self._thread:
            self._said.append(text)
            return len(text)
        return self._output.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._output, name)
