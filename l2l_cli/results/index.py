"""The page of all results, index.html: every report and run below one output folder, newest first.

Each run appends a line to a journal that says what it is and how it stands, and the page shows the journal.  No folder
is searched for runs, so even thousands of them cost little.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import parent_process
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from l2l_cli.core.errors import L2LError
from l2l_cli.core.files import atomic_write, open_file, read_file
from l2l_cli.core.layout import PROGRESS
from l2l_cli.core.ledger import date_of
from l2l_cli.core.locks import locked
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.printable import counted, printable
from l2l_cli.results.folder_lock import FolderLock

PAGE, JOURNAL, LOCK = "index.html", ".index.jsonl", ".index.lock"

REPORT = "report.html"

KILLED, ON_CLUSTER = "killed", "on the cluster"
"""States of a run in addition to those of run.json."""

ASIDE = "."
"""Prefix of the names of folders whose runs are temporary."""

HARDWARE = "hardware"
"""Folder of the sweeps over hardware, whose runs are shown on the page of the folder above it."""

DEPTH = 5
"""Number of levels above a run that are searched for its journal."""

REST = 1.0
"""Age in seconds below which a child process leaves the page as it is, since its parent draws it later."""

SPARE = 200
"""Lines that a journal may have beyond two for each run before outdated ones are removed."""


class IndexEntry(NamedTuple):
    """One run or report, as the page shows it.

    Attributes:
        place: Its folder, relative to the page.
        command: Command or paper that it belongs to.
        name: Name of its folder.
        state: One of running, interrupted, killed, failed, done; see ``state_of``.
        date: Time at which it reported its status.
        headline: Its outcome, in one line.
        seconds: Wall-clock time that it took.
        href: Its report, or else its folder.
    """

    place: str
    command: str
    name: str
    state: str
    date: str
    headline: str
    seconds: float
    href: str

    @property
    def is_report(self) -> bool:
        """Whether it has a page to read."""
        return self.href.endswith(REPORT)


def open_journal(run: Path) -> None:
    """Create the journal of a run's output folder, two levels up, unless one exists above or the run is temporary."""
    root = run.parent.parent
    if _journal(run) is None and not _is_aside(run) and root != run.parent:
        root = root.parent.parent if root.parent.name == HARDWARE else root
        with suppress(OSError, L2LError):  # what cannot be written here, the run itself will report
            open_file(root / JOURNAL, "ab").close()


def say(run: Path, facts: Entries) -> None:
    """Append a run's status to the journal above it, and draw the page; do nothing if there is no journal.

    A page that cannot be drawn, for example on a full disk, does not make the run fail.
    """
    root = _journal(run)
    if root is None or _is_aside(run):
        return
    place = run.absolute().relative_to(root.absolute())
    line = {
        "place": place.as_posix(),
        "state": str(facts.get("status")),
        "date": date_of(time.time()),
        "headline": headline_of(facts),
        "seconds": facts.get("seconds", 0.0),
    }
    with suppress(OSError, L2LError), locked(root / LOCK):  # one process at a time
        with open_file(root / JOURNAL, "ab") as file:
            file.write(_written(line))
        if not (parent_process() and _is_fresh(root / PAGE)):
            _draw(root)


def _written(line: Entries) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n"


def headline_of(facts: Entries) -> str:
    """Return a run's outcome in one line, from its run.json."""
    if facts.get("status") != "done":
        return in_one_line(facts.get("message", ""))
    if "headline" in facts:
        return in_one_line(facts["headline"])
    best = facts.get("best_validation")
    if not isinstance(best, float):
        return ""
    return f"best validation loss {best:.4g} after {counted(facts.get('updates', 0), 'update')}"


def state_of(run: Path, status: str) -> str:
    """Return a run's state, given its status in run.json: one that is not running although it says so was killed.

    If it has left its work to jobs of a cluster, these go on without it, and the state is ``ON_CLUSTER``.
    """
    if status != "running" or FolderLock(run).is_held():
        return status
    return ON_CLUSTER if any((run / PROGRESS).glob("*.job")) else KILLED


def redraw(run: Path) -> None:
    """Redraw the page above a run, for example after its removal; do nothing if there is no journal."""
    root = _journal(run)
    if root is not None:
        with suppress(OSError, L2LError), locked(root / LOCK):
            _draw(root)


def _draw(root: Path) -> None:
    """Draw the page of an output folder from its journal, and remove outdated lines from it if they are many."""
    from l2l_cli.results.page.templates import environment

    lines = _lines(root)
    known = {str(line["place"]): line for line in lines}
    entries = sorted(_entries(root, known), key=lambda entry: entry.date, reverse=True)
    reports = [entry for entry in entries if entry.is_report]
    runs = [entry for entry in entries if not entry.is_report]
    now = date_of(time.time())[:16].replace("T", " ")
    page = environment({}).get_template("index.html").render(reports=reports, runs=runs, now=now)
    atomic_write(root / PAGE, printable(page), lasting=False)
    if len(lines) > 2 * len(entries) + SPARE:
        kept = [_written(known[entry.place]) for entry in reversed(entries)]
        atomic_write(root / JOURNAL, kept, lasting=False)


def _lines(root: Path) -> list[dict[str, Any]]:
    """Return the valid lines of a journal, without those that are torn or foreign."""
    found = []
    for text in read_file(root / JOURNAL).decode(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and _is_below(line.get("place")):
            found.append(line)
    return found


def _is_below(place: object) -> bool:
    if not isinstance(place, str) or not place:
        return False
    path = PurePosixPath(place)
    return not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]


def _entries(root: Path, known: dict[str, dict[str, Any]]) -> Iterator[IndexEntry]:
    """Yield an entry for each run that still exists."""
    for place, line in known.items():
        folder = root / place
        if not folder.is_dir():
            continue
        state = state_of(folder, str(line.get("state")))
        has_report = state == "done" and (folder / REPORT).is_file()
        seconds = line.get("seconds")
        yield IndexEntry(
            place,
            PurePosixPath(place).parent.as_posix(),
            PurePosixPath(place).name,
            state,
            str(line.get("date"))[:16].replace("T", " "),
            str(line.get("headline", "")),
            float(seconds) if isinstance(seconds, int | float) else 0.0,
            f"{place}/{REPORT}" if has_report else f"{place}/",
        )


def _journal(run: Path) -> Path | None:
    """Return the nearest folder above a run that has a journal."""
    above = run.absolute().parents[:DEPTH]
    return next((folder for folder in above if os.path.lexists(folder / JOURNAL)), None)


def _is_aside(run: Path) -> bool:
    return any(part.startswith(ASIDE) for part in run.absolute().parts[-DEPTH:])


def _is_fresh(page: Path) -> bool:
    return page.exists() and time.time() - page.stat().st_mtime < REST
