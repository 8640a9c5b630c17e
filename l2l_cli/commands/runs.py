"""l2l runs: the runs and reports that there are, one of them wholly, their removal; no torch and no pandas."""

from __future__ import annotations

import json
import os
import sys
import time
import webbrowser
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from l2l_cli.commands.one_run import lines_of
from l2l_cli.commands.watch import watch
from l2l_cli.core.errors import UsageError
from l2l_cli.core.ledger import date_of
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.printable import counted, printable, size_text
from l2l_cli.core.voice import next_line
from l2l_cli.results.choosing import Chosen, chosen_runs
from l2l_cli.results.index import REPORT
from l2l_cli.results.listing import ListedRun, age_text
from l2l_cli.results.removal import refuse_what_is_written, remove
from l2l_cli.results.terminal import FoldingTable, console
from l2l_cli.runs.watching import progress_of

OUTPUT = Path("outputs")
"""Folder that runs are looked for in, unless another is named."""

SHOWN = 40
"""Runs of the table, at most, unless all are asked for."""

LONGEST, WORDIEST = 120, 120
"""Characters of a headline, and of what differs, in the table."""

STYLES = {"done": "green", "failed": "red", "damaged": "red", "running": "cyan"}

ENDED = {"done", "failed", "damaged"}


class RunsRequest(NamedTuple):
    """Arguments of the command: words that name runs, what to do with them, and how to print it."""

    words: tuple[str, ...] = ()
    remove: bool = False
    yes: bool = False
    watch: bool = False
    all: bool = False
    as_json: bool = False
    open: bool = False


def run(request: RunsRequest) -> int:
    """Run the command and return its exit code.

    Raises:
        UsageError: Words name nothing, or what is to be removed is being written, or nobody can be asked.
    """
    if request.watch:
        return watch(request.words, OUTPUT, request.as_json)
    chosen = chosen_runs(request.words, OUTPUT)
    if request.open:
        return _open(chosen)
    if request.remove:
        return _remove(chosen, request)
    if request.as_json:
        for one in chosen.runs:
            print(json.dumps(entries_of(one), ensure_ascii=False))
        return 0
    if chosen.narrowed and len(chosen.runs) == 1:
        print("\n".join(lines_of(chosen.runs[0])))
    elif not chosen.runs:
        print(f"there are no runs in {chosen.where} yet")
        print(next_line(["meta-train", "task=quadratic"]))
    else:
        _list(chosen, len(chosen.runs) if request.all else SHOWN)
        print(next_line(["runs", str(chosen.runs[0].path)]))
    return 0


def entries_of(run: ListedRun) -> Entries:
    """Return a run as programs read it."""
    return {
        "run": str(run.path),
        "command": run.command,
        "status": run.state,
        "result": result_of(run),
        "best_validation": run.facts.get("best_validation"),
        "overrides": run.overrides,
        "differs": run.differences,
        "seconds": run.facts.get("seconds"),
        "changed": date_of(run.changed),
        "age_seconds": round(max(0.0, time.time() - run.changed), 1),
        "bytes": run.size,
        "report": str(run.path / REPORT) if run.has_report else None,
    }


def result_of(run: ListedRun) -> str:
    """Return the result of a run, or its progress."""
    return run.headline or ("" if run.state in ENDED else progress_of(run)[1])


def _open(chosen: Chosen) -> int:
    """Open the report of one run, or say where it is.

    Raises:
        UsageError: There are several, or the one has no report.
    """
    reports = [one for one in chosen.runs if one.has_report]
    if len(reports) != 1:
        names = ", ".join(one.place for one in chosen.runs[:3])
        raise UsageError(f"--open opens one report, and {len(reports)} of {names}, … have one; name one run folder")
    page = (reports[0].path / REPORT).resolve().as_uri()
    # A browser in the terminal would take that over, where nobody sees it.
    is_open = (sys.stdout.isatty() or "BROWSER" in os.environ) and webbrowser.open(page)
    print(f"{'opened' if is_open else 'report'}: {page}")
    print(next_line(["runs"]))
    return 0


def _list(chosen: Chosen, most: int) -> None:
    shown, count = chosen.runs[:most], len(chosen.runs)
    of_all = f"{count} of {counted(chosen.total, 'run')}" if chosen.narrowed else counted(count, "run")
    title = f"{chosen.where}: {of_all}, newest first"
    columns = {"run": False, "status": False, "age": True, "size": True, "result": False, "differs by": False}
    common = set.intersection(*({*one.differences} for one in shown)) if len(shown) > 1 else set()
    console().print(FoldingTable(title, columns, [_row(one, common) for one in shown]))
    if count > most:
        print(
            f"and {count - most} more; --all shows them all, conditions such as status=failed or task=b14 a selection"
        )


def _row(run: ListedRun, common: set[str]) -> list[str | Text]:
    """Return the cells of a run; what all of them have in ``common`` comes last, where it may be cut."""
    state = Text(printable(run.state), STYLES.get(run.state, ""))
    words = sorted(run.differences, key=lambda word: word in common)
    what = [in_one_line(result_of(run), LONGEST), in_one_line(" ".join(words), WORDIEST)]
    return [run.place, state, age_text(run.changed), size_text(run.size), *what]


def _remove(chosen: Chosen, request: RunsRequest) -> int:
    """Show what is to be removed, ask, and remove it."""
    if not chosen.narrowed:
        raise UsageError("--remove needs a selection, as in `l2l runs --remove status=failed`; '*' selects all runs")
    refuse_what_is_written(chosen.runs)
    if not request.as_json:
        _list(chosen, len(chosen.runs))
    total = size_text(sum(one.size for one in chosen.runs))
    what = f"{counted(len(chosen.runs), 'run')}, {total}"
    if not request.yes and not _agreed(f"permanently remove {what}? [y/N] "):
        print("nothing was removed")
        return 0
    for path in remove(chosen.runs):
        print(f"kept: {path} (not written by the run)", file=sys.stderr)
    for one in chosen.runs if request.as_json else ():
        print(json.dumps({"removed": str(one.path), "bytes": one.size}))
    if not request.as_json:
        print(f"removed: {what}")
        print(next_line(["runs"]))
    return 0


def _agreed(question: str) -> bool:
    """Ask a question on the terminal, and return whether the answer is yes.

    Raises:
        UsageError: There is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask at; --yes removes the runs listed above without asking")
    print(question, end="", flush=True)
    return sys.stdin.readline().strip().casefold() in ("y", "yes")
