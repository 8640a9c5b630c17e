"""What a command prints of its pieces that are jobs of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l2l_cli.results.terminal import console, text_table
from l2l_cli.runs.cluster import Standing

SHOWN = 20
"""Lines of the table, at most."""


def show(standings: Sequence[Standing], done: int, folder: Path, what: str) -> int:
    """Print where pieces stand that are not done, and how to go on; return the command's exit code.

    Args:
        standings: Where each of these pieces stands.
        done: Number of pieces that are done.
        folder: Folder of the jobs' output.
        what: What the same command does when all are done.
    """
    order = {"failed": 0, "running": 1, "waiting": 2}
    lines = sorted(standings, key=lambda one: order[one.state])
    counts = {state: sum(one.state == state for one in standings) for state in order}
    parts = [f"{done} done", *(f"{count} {state}" for state, count in reversed(counts.items()) if count)]
    columns = dict.fromkeys(("run", "state", "note"), False)
    columns = dict.fromkeys(("run", "state", "note"), False)
    console().print(text_table(", ".join(parts), columns, [list(one) for one in lines[:SHOWN]]))
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN} more")
    print(f"output of the jobs: {folder}")
    if counts["failed"]:
        print("what failed is submitted again by the same command with hardware.resubmit=true")
    print(f"the same command shows the progress, and {what} when all is there")
    return 1 if counts["failed"] else 0
