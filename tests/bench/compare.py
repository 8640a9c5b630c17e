"""What got slower, or faster, since an older benchmark: ``python -m tests.bench.compare OLD [NEW]``.

Both are files that ``make bench`` has left in outputs/bench/history; NEW is the latest there.  A number that has moved
by no more than its own spread is left out, and so is one of a single round, or that only one of the files has.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tests.bench.history import Change, Record, changes, line
from tests.bench.table import show, shown

HISTORY = Path("outputs", "bench", "history")
HEADINGS = ("", "", "", "before", "now", "times as long")


def main() -> int:
    """Print the two machines and what has changed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description=__doc__)
    parser.add_argument("old", type=Path, help="a file of the history")
    parser.add_argument("new", type=Path, nargs="?", help=f"a later one (the latest in {HISTORY})")
    chosen = parser.parse_args()
    new = chosen.new or max(HISTORY.glob("*.json"), default=HISTORY / "latest")
    for path in (chosen.old, new):
        if not path.is_file():
            print(f"error: there is no file {path}; `make bench` writes one into {HISTORY}", file=sys.stderr)
            return 1
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (chosen.old, new))
    report(old, new)
    return 0


def report(old: Record, new: Record) -> None:
    """Print a table of what got slower, above what got faster."""
    for name, record in (("before", old), ("now", new)):
        print(f"{name}, {record['when']}: {line(record)}")
    if any(old[key] != new[key] for key in ("processor", "vectors", "cores")):
        print("These are two machines: the factors compare them as much as the programs.")
    found = changes(old, new)
    if not found:
        print("Nothing has moved by more than its spread.")
        return
    table = Table(*HEADINGS, box=SIMPLE_HEAD)
    for heading, slower in (("slower", True), ("faster", False)):
        rows = [change for change in found if (change.factor > 1.0) == slower]
        if rows:
            table.add_section()
            table.add_row(f"[bold]{heading}")
            for change in rows:
                table.add_row(*cells(change))
    show(table)


def cells(change: Change) -> list[str]:
    """Return a row of the table."""
    bench, case, contender, unit = change.name
    values = [f"{shown(one)} {unit}" for one in (change.old, change.new)]
    return [f"  {bench}", case, contender, *values, f"{change.factor:.2f}"]


if __name__ == "__main__":
    sys.exit(main())
