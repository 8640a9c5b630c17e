"""The place among other processes that a launcher such as torchrun assigns to this one; without torch."""

from __future__ import annotations

import os
from typing import NamedTuple

from l2l_cli.core.errors import UsageError


class Place(NamedTuple):
    """The place of a process among those that carry out one command: its rank, their number, its local rank."""

    rank: int
    size: int
    local: int


def launched() -> Place | None:
    """Return the place that a launcher gave this process; None if it runs alone.

    Raises:
        UsageError: The launcher set WORLD_SIZE, but no RANK.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1:
        return None
    if "RANK" not in os.environ:
        raise UsageError(f"WORLD_SIZE={size} is set, but RANK is not; start the ranks with torchrun, or unset both")
    rank = int(os.environ["RANK"])
    return Place(rank, size, int(os.environ.get("LOCAL_RANK", rank)))


_SPEAKS: list[int] = []
"""A copy of a silent process's former standard error."""


def be_silent() -> None:
    """Hide all output of this process, whether Python or a library writes it: rank 0 speaks for all."""
    _SPEAKS.append(os.dup(2))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


def take_place() -> Place | None:
    """Return the place that a launcher gave this process, and silence the process if it is not the first.

    Raises:
        UsageError: See ``launched``.
    """
    place = launched()
    if place is not None and place.rank > 0:
        be_silent()
    return place


def say(text: str) -> None:
    """Print a line to this process's original standard error."""
    os.write(_SPEAKS[0] if _SPEAKS else 2, f"{text}\n".encode())


def refuse_ranks(command: str) -> None:
    """Refuse a launcher's ranks for a command that one process carries out.

    Raises:
        UsageError: There is more than one rank.
    """
    if place := launched():
        raise UsageError(
            f"{command} is the work of one process, and the launcher has started {place.size}; only meta-train divides "
            f"its work over ranks: run `l2l {command}` without the launcher"
        )
