"""The real command line in a process of its own, without waiting for torch: a server loads all once and forks.

It reads one request a line from standard input, as JSON, and answers with one line; see ``Warm.run``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 10.0
"""Seconds after which a command counts as hanging, unless more are asked for."""

START = 30.0
"""Seconds that a new process may take until its command begins."""

LOADED = (
    *("l2l_cli.bridge", "l2l_cli.commands.meta_train", "l2l_cli.commands.evaluate", "l2l_cli.commands.compare"),
    *("l2l_cli.commands.reproduce", "l2l_cli.runs.training", "l2l_cli.learners.descent", "matplotlib.pyplot"),
    *("l2l_cli.optimizers.coordinatewise_lstm", "l2l_cli.optimizers.adam", "l2l_cli.tasks.quadratic"),
)
"""Modules that the server loads; they start no threads."""


class Ended(NamedTuple):
    """How a command ended: its exit code, None if it was killed as hanging, negative for a signal."""

    code: int | None
    out: str
    err: str
    seconds: float


def environment(place: Path) -> dict[str, str]:
    """Return the environment of commands: one thread, a cache of their own, and a file that a stranger's code makes."""
    own = {"XDG_CACHE_HOME": place / "cache", "L2L_CANARY": place / "canary", "PYTHONPATH": ROOT}
    return {**os.environ, **{name: str(path) for name, path in own.items()}, "OMP_NUM_THREADS": "1"}


def cold(arguments: Sequence[str], folder: Path, limit: float, place: Path) -> Ended:
    """Run a command in a new process, as a user does, which also has the time to start; see ``Warm``."""
    command, began = [sys.executable, "-m", "l2l_cli", *arguments], time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(place),
            capture_output=True,
            text=True,
            timeout=limit + START,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ended(None, "", "", limit)
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


class Warm:
    """The server, seen from the tests.

    Args:
        place: Folder of the cache, and of the file that a stranger's code makes.
    """

    def __init__(self, place: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.warm"],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True},  # type: ignore[call-overload]
            cwd=ROOT,
            env=environment(place),
        )

    def __enter__(self) -> Self:
        """Return the server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._server.communicate()

    def run(self, arguments: Sequence[str], folder: Path, limit: float = LIMIT) -> Ended:
        """Run a command in a folder, in a fork of the server."""
        request = {"arguments": list(arguments), "folder": str(folder), "limit": limit}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))


def serve() -> None:
    """Answer requests until there are no more."""
    for module in LOADED:
        __import__(module)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))._asdict()), flush=True)


def answer(arguments: list[str], folder: str, limit: float) -> Ended:
    """Fork, run a command, and wait for its end or kill it and all that it has started."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began, child = time.monotonic(), os.fork()
        if child == 0:
            _command(arguments, folder, out.fileno(), err.fileno())
        handle = os.pidfd_open(child)
        in_time = bool(select.select([handle], [], [], limit)[0])
        os.close(handle)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="surrogateescape"))
        code = os.waitstatus_to_exitcode(status) if in_time else None
    return Ended(code, texts[0], texts[1], time.monotonic() - began)


def _command(arguments: list[str], folder: str, out: int, err: int) -> None:
    """Become the command."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(folder)
    sys.argv = ["l2l", *arguments]
    code = 1
    try:
        from l2l_cli.cli import main

        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # told as the interpreter tells it, whose process ends here
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
