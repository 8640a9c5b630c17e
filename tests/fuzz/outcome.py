"""What a call may come to whose input is damaged or hostile: what it comes to anyway, or a refusal in one line.

Everything else is a fault: another exception, other bits, more than ``DEADLINE`` seconds, a file that is written or
removed outside of the folder that may be written, a process that is started, a stranger's module that is imported, or
a stranger's control characters in what the user is told.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from l2l_cli.core.errors import L2LError

SLOW = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]
"""Marks of these tests: what an interrupted call leaves open is closed later, and is no fault of the next test."""

DEADLINE = 10.0
"""Seconds after which a call counts as hanging."""

MEMORY = 2 << 30
"""Bytes that a call may take beside what the process has: files that grow without a bound end in a MemoryError."""

CASES = int(os.environ.get("L2L_FUZZ_CASES", "20000"))
"""Number of cases of all fuzzing tests in process together."""

CANARY = "tests.fuzz.canary"
"""Module that must never be imported."""

SECRET = "content-of-a-file-outside"
"""Words of a file outside, which no message may pass on."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that change a terminal or a line's direction; a line's end is counted apart."""

PACKAGE = str(Path(__file__).resolve().parents[2] / "l2l_cli")


class Hang(BaseException):
    """A call took longer than ``DEADLINE``."""


class Outcome(NamedTuple):
    """How a call ended; ``fault`` is empty if that is acceptable.

    Attributes:
        value: What it returned; None if it refused.
        refusal: Its refusal, or what another exception says.
        fault: What is wrong, with the innermost line of the package, so that equal faults read alike.
    """

    value: Any
    refusal: str
    fault: str


class _Watch:
    """Hears through an audit hook what Python does to files, processes and modules."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in PROCESSES:
            command = str(arguments[0])
            if Path(command).name != "git":  # a run notes its commit
                self.seen.append(f"started a process: {event} {command}")
        elif event == "open":
            path, mode, flags = arguments
            if isinstance(path, str | bytes | os.PathLike) and (flags & WRITING or set(mode or "") & set("wax+")):
                self._written(path)
        elif event in CHANGES:
            for path in arguments[: CHANGES[event]]:
                self._written(path, event not in ("os.rename", "os.remove", "os.link"))

    def _written(self, path: Any, follows: bool = True) -> None:
        allowed, self.allowed = self.allowed, None  # what follows is this class's own
        try:
            if isinstance(path, int) or allowed is None:
                return
            name = os.fsdecode(path)
            # What removes or renames a link leaves alone where it leads.
            parent = os.path.join(os.path.realpath(os.path.dirname(name) or "."), os.path.basename(name))
            real = os.path.realpath(name) if follows else parent
            if not real.startswith(allowed):
                self.seen.append(f"changed {Path(name).name} outside of the output")
        finally:
            self.allowed = allowed


PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {
    **{f"os.{name}": 1 for name in ("remove", "mkdir", "rmdir", "truncate", "chmod", "chown", "utime", "mkfifo")},
    **{f"os.{name}": 2 for name in ("rename", "link")},
    "shutil.rmtree": 1,
}
"""Audit events that change files, and how many of their first arguments are paths."""

WATCH = _Watch()


def outcome(call: Callable[[], Any], *writable: Path) -> Outcome:
    """Call a function and judge how it ends; see the module.

    Args:
        call: Function of the package, applied to its damaged input.
        writable: Folders that it may write to.
    """
    value, refusal, fault = None, "", ""
    with suppress(Hang), _rescue(), _watching(writable) as seen:
        try:
            value = call()
        except L2LError as error:
            refusal, fault = str(error), unfit(str(error))
            fault = fault and f"{fault} in {place(traceback.extract_tb(error.__traceback__))}"
        except (Exception, SystemExit) as error:
            fault = f"{type(error).__name__} in {place(traceback.extract_tb(error.__traceback__))}"
            refusal = " ".join(str(error).split())[:100]
    if CANARY in sys.modules:
        del sys.modules[CANARY]
        seen.append("imported a stranger's module")
    return Outcome(value, refusal, "; ".join(dict.fromkeys([*seen, *([fault] if fault else [])])))


def unfit(message: str) -> str:
    """Say what is wrong with one line for the user; empty if nothing is."""
    if SECRET in message:
        return "shows a file from outside"
    if CONTROL.search(message):
        return "a control character"
    if not message.strip() or len(message.splitlines()) != 1:
        return f"{len(message.splitlines())} lines"
    return ""


def place(frames: traceback.StackSummary) -> str:
    """Return the innermost function of the package, as file:function."""
    own = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
    return f"{Path(own[-1].filename).relative_to(PACKAGE)}:{own[-1].name}" if own else "no file of l2l_cli"


@contextmanager
def _watching(writable: tuple[Path, ...]) -> Iterator[list[str]]:
    def late(number: int, frame: FrameType | None) -> None:
        WATCH.seen.append(f"hangs in {place(traceback.extract_stack(frame))}")
        raise Hang

    before, limits = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    WATCH.seen = []
    resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, DEADLINE)
    WATCH.allowed = (*(os.path.realpath(folder) for folder in writable), "/dev/")
    try:
        yield WATCH.seen
    finally:
        WATCH.allowed = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


FIFOS: list[Path] = []
"""FIFOs that calls may wait for; where they do so outside of Python, only another process can let them go on."""


@contextmanager
def _rescue() -> Iterator[None]:
    """Open the FIFOs for whoever waits for them when the deadline is over."""
    if not FIFOS:
        yield
        return
    script = f'sleep {DEADLINE + 1}; for fifo; do timeout 1 sh -c ": > \\"$fifo\\""; done'
    helper = subprocess.Popen(["sh", "-c", script, "sh", *map(str, FIFOS)])
    try:
        yield
    finally:
        helper.kill()
        helper.wait()
        for fifo in FIFOS:  # also for the threads that a call has left behind
            with suppress(OSError):
                os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        FIFOS.clear()


class Faults:
    """The distinct faults of a test, each with the first of its cases.

    Args:
        known: What the call comes to without damage; ``SOUND`` in place of a value lets any value pass.
    """

    SOUND = object()

    def __init__(self, known: object = SOUND) -> None:
        self.known, self.cases = known, 0
        self.found: dict[str, str] = {}

    def judge(self, case: object, ended: Outcome) -> None:
        """Count a case, and note its fault if there is one."""
        self.cases += 1
        fault = ended.fault
        if not fault and not ended.refusal and self.known is not self.SOUND and ended.value != self.known:
            fault = "other bits"
        if fault:
            self.found.setdefault(fault, f"{case}   {ended.refusal[:160]}")

    def check(self) -> None:
        """Fail with all faults, one a line."""
        if self.found:
            lines = [f"{fault}   <- {case}" for fault, case in self.found.items()]
            pytest.fail("\n".join([f"{len(lines)} faults in {self.cases} cases:", *lines]), pytrace=False)


def each(strategy: SearchStrategy[Any], share: float, body: Callable[[Any], None]) -> None:
    """Draw a share of all ``CASES`` by hypothesis, the same ones every time, and call ``body`` on each."""
    profile = settings(
        max_examples=max(1, round(share * CASES)),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    profile(given(strategy)(lambda value: body(value)))()


def digest_of(path: Path) -> dict[str, tuple[int, int, str]]:
    """Return size, time of change and kind of everything below a folder, links not followed."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            state = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (state.st_size, state.st_mtime_ns, oct(state.st_mode))
    return found
