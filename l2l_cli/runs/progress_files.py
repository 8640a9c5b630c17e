"""Progress of pieces of work in files, which show waiting processes what is done, wherever a piece is carried out."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import open_file
from l2l_cli.core.plain_text import in_one_line, parsed_json, read_text

SELDOM = 1.0
"""Smallest number of seconds between two writes of one file."""


class Stand(NamedTuple):
    """Where a piece of work stands.

    Attributes:
        name: Name of the piece.
        state: "waiting", "running", "done", "stopped" or "failed".
        done: Expected seconds of the work that is done.
        total: Expected seconds of all its work.
        note: What it is working on, or why it failed.
        when: Time of the write, in seconds since 1970.
        where: Name of the machine and id of the process.
    """

    name: str
    state: str
    done: float
    total: float
    note: str
    when: float
    where: str


class ProgressFile:
    """The file of one piece, written by the process that carries it out.

    Args:
        path: The file.
        name: Name of the piece.
        total: Expected seconds of all its work.
    """

    def __init__(self, path: Path, name: str, total: float) -> None:
        self._path, self._name, self._total = path, name, total
        self._done, self._written = 0.0, 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        self.say("running", "begins")

    def tell(self, seconds: float, note: str) -> None:
        """Count expected seconds of work that is done or, if negative, that is not needed after all, with a note."""
        self._done += max(0.0, seconds)
        self._total += min(0.0, seconds)
        if time.monotonic() - self._written > SELDOM:
            self.say("running", note)

    def say(self, state: str, note: str) -> None:
        """Write where the piece stands."""
        self._written = time.monotonic()
        where = f"{socket.gethostname()} {os.getpid()}"
        stand = Stand(self._name, state, self._done, self._total, note, time.time(), where)
        # Without flushing to disk: after a crash of the machine, what is lost here would be useless.
        temporary = self._path.with_name(
            f".{self._path.name}.{socket.gethostname()}.{os.getpid()}-{secrets.token_hex(4)}"
        )
        with open_file(temporary, "xb") as file:
            file.write(json.dumps(stand._asdict()).encode())
        temporary.replace(self._path)


def stands_of(paths: Mapping[str, Path]) -> dict[str, Stand]:
    """Read where pieces stand, by their keys; pieces that have not begun are left out.

    Raises:
        UsageError: A file is damaged.
    """
    stands = {}
    for key, path in paths.items():
        try:
            found: Any = parsed_json(read_text(path))
            stands[key] = Stand(**found)._replace(done=float(found["done"]), total=float(found["total"]))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"{path} is damaged ({in_one_line(error)}); delete it and run the same command again"
            ) from error
    return stands
