"""The lock of a run's folder: one process at a time may write to it, and others can read which one."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import open_file, refuse_links
from l2l_cli.core.ledger import date_of
from l2l_cli.core.locks import try_lock
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.voice import VOICE
from l2l_cli.results.provenance import command_line

PATIENCE = 5.0
"""Seconds for which a process waits for a folder's lock before it is refused."""

SILENCE = 0.5
"""Seconds after which it says what it waits for."""

LOOK = 0.1
"""Seconds between two attempts to take a lock."""

LOCK = ".lock"
"""Name of the file that is locked."""


class FolderLock:
    """The lock of a folder: a file in it that names the process that holds it or held it last."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOCK

    @contextmanager
    def held(self, patience: float) -> Iterator[None]:
        """Reserve the folder for this process; the lock of a killed process is released.

        Args:
            patience: Seconds to wait for another process, which may be about to end because its parent was killed.

        Raises:
            UsageError: Another process has reserved the folder, or a link in it leads elsewhere.
        """
        refuse_links(self._folder)
        with open_file(self._path, "a+b") as file:
            if not try_lock(file):
                self._wait(file, patience)
            if os.fstat(file.fileno()).st_nlink == 1:  # otherwise it is another file too, by a hard link
                begun = date_of(time.time())
                owner = f"l2l process {os.getpid()} on {platform.node()}, begun {begun}: {command_line()}"
                file.truncate(0)
                file.write(owner.encode(errors="replace"))
                file.flush()
            yield

    def _wait(self, file: IO[bytes], patience: float) -> None:
        until, told = time.monotonic() + patience, False
        while not try_lock(file):
            if time.monotonic() >= until:
                raise UsageError(f"{self._folder} is being written by {self.owner()}; wait for it or stop it")
            if not told and time.monotonic() > until - patience + SILENCE:
                VOICE.note(f"waiting for {self.owner()}, which is writing {self._folder}", sys.stderr)
                told = True
            time.sleep(LOOK)

    def owner(self) -> str:
        """Return who holds the lock or held it last: process, machine, start and command."""
        if not self._path.exists():
            return "another l2l"
        with open_file(self._path) as file:
            return in_one_line(file.read(4096).decode(errors="replace"), 1000) or "another l2l"

    def is_held(self) -> bool:
        """Return whether a process holds the lock."""
        if not self._path.exists():
            return False
        with open_file(self._path) as file:
            return not try_lock(file)
