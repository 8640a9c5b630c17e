"""l2l runs: list runs and reports, show one of them in full, or remove some; no torch and no pandas."""

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
from l2l_cli.core.layout import OUTPUTS
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

OUTPUT = Path(OUTPUTS)
"""Folder in which runs are looked for, unless another one is given."""

SHOWN = 40
"""Largest number of runs in the table, unless all are requested."""

LONGEST, WORDIEST = 120, 120
"""Largest numbers of characters of a headline, and of the differences, in the table."""

STYLES = {"done": "green", "failed": "red", "damaged": "red", "running": "cyan"}

ENDED = {"done", "failed", "damaged"}


class RunsRequest(NamedTuple):
    """Arguments of the command: words that select runs, what to do with them, and how to print them."""

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
        UsageError: Words select nothing, runs to be removed are being written, or there is no terminal to ask at.
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
    """Return a run as an entry for programs."""
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
    """Open the report of one run, or print where it is.

    Raises:
        UsageError: Several runs have a report, or none has.
    """
    reports = [one for one in chosen.runs if one.has_report]
    if len(reports) != 1:
        names = ", ".join(one.place for one in chosen.runs[:3])
        raise UsageError(f"--open opens one report, and {len(reports)} of {names}, … have one; name one run folder")
    page = (reports[0].path / REPORT).resolve().as_uri()
    # A text browser would take over the terminal, even if no one can see it.
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
    """Return the cells of a run; overrides in ``common`` come last, where they may be cut off."""
    state = Text(printable(run.state), STYLES.get(run.state, ""))
    words = sorted(run.differences, key=lambda word: word in common)
    what = [in_one_line(result_of(run), LONGEST), in_one_line(" ".join(words), WORDIEST)]
    return [run.place, state, age_text(run.changed), size_text(run.size), *what]


def _remove(chosen: Chosen, request: RunsRequest) -> int:
    """Show what is to be removed, ask for confirmation, and remove it."""
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
    """Ask a question on the terminal and return whether the answer is yes.

    Raises:
        UsageError: There is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask at; --yes removes the runs listed above without asking")
    print(question, end="", flush=True)
    return sys.stdin.readline().strip().casefold() in ("y", "yes")
