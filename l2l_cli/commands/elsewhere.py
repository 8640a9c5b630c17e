"""Work that commands submit to a cluster, and what they print about it; no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from l2l_cli.config.schema import Settings
from l2l_cli.core.layout import CLUSTER
from l2l_cli.core.voice import VOICE
from l2l_cli.results.terminal import FoldingTable, console
from l2l_cli.runs.cluster import PieceState, send
from l2l_cli.runs.pieces import Carrying

SHOWN = 20
"""Largest number of lines in the table."""


class Left(NamedTuple):
    """The remaining pieces of a command, and the number of pieces that are done."""

    pieces: list[Carrying]
    done: int


class Elsewhere:
    """The work that the jobs of a sweep leave to a cluster, to be submitted together."""

    def __init__(self) -> None:
        self._left: dict[Path, Carrying] = {}
        self._done = 0
        self._settings: Settings | None = None

    def leave(self, left: Left, settings: Settings) -> None:
        """Record the work that a job leaves."""
        self._left |= {carrying.path: carrying for carrying in left.pieces}
        self._done += left.done
        self._settings = settings

    def send(self) -> int:
        """Submit the recorded work, show its state, and return an exit code; without any work, do nothing."""
        if self._settings is None:
            return 0
        folder = Path(self._settings.output) / CLUSTER
        states = send(list(self._left.values()), folder, self._settings.hardware)
        return show(states, self._done, folder, "shows the results")


def show(standings: Sequence[PieceState], done: int, folder: Path, what: str) -> int:
    """Print the state of the pieces that are not done, and how to continue; return the command's exit code.

    Args:
        standings: States of these pieces.
        done: Number of pieces that are done.
        folder: Folder of the jobs' output.
        what: What the same command does when all are done.
    """
    order = {"failed": 0, "running": 1, "waiting": 2}
    lines = sorted(standings, key=lambda one: order[one.state])
    counts = {state: sum(one.state == state for one in standings) for state in order}
    parts = [f"{done} done", *(f"{count} {state}" for state, count in reversed(counts.items()) if count)]
    columns = dict.fromkeys(("run", "state", "note"), False)
    console().print(FoldingTable(", ".join(parts), columns, [list(one) for one in lines[:SHOWN]]))
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN} more")
    print(f"output of the jobs: {folder}")
    if counts["failed"]:
        print("to submit failed jobs again, repeat the command with hardware.resubmit=true")
    print(f"the same command shows the progress, and {what} when all jobs are done")
    VOICE.event("sent", done=done, folder=str(folder), **counts)
    VOICE.suggest(*sys.argv[1:], *(["hardware.resubmit=true"] if counts["failed"] else []))
    return 1 if counts["failed"] else 0
