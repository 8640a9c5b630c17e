"""l2l runs --watch: follow work in progress from its files until it has ended; no torch and no pandas."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from l2l_cli.core.errors import UsageError
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.printable import printable
from l2l_cli.core.voice import EVERY, next_line
from l2l_cli.results.choosing import chosen_runs
from l2l_cli.results.listing import ListedRun
from l2l_cli.results.run import RUN
from l2l_cli.results.terminal import FoldingTable
from l2l_cli.runs.progress import duration
from l2l_cli.runs.watching import Watched, going_on

LOOK = 1.0
"""Smallest number of seconds between two looks."""

PAUSE = 9.0
"""Length of the pause after a look, as a multiple of the time that the look took."""

LONGEST = 100
"""Largest number of characters of a note in the table."""

KNOWN_AFTER = 5.0
"""Seconds of watching before a remaining time is shown."""

BAD = ("failed", "killed", "damaged")
"""States of a run that make the command's exit code 1 when it ends."""


def watch(words: Sequence[str], default: Path, as_json: bool) -> int:
    """Follow the work that words name until all of it has ended; return the exit code, which is 1 if a run failed.

    Raises:
        UsageError: A word names nothing at the beginning.
        KeyboardInterrupt: The user stops watching.
    """
    seen = _look(words, default, first=True)
    if not seen:
        _say(as_json, "idle", "nothing is running", next_line(["runs"]))
        return 0
    follower = _Follower(as_json)
    try:
        _follow(seen, words, default, follower)
    except KeyboardInterrupt:
        _say(as_json, "left", "the watched runs continue", next_line(["runs", "--watch", *words]))
        raise
    _say(as_json, "over", "everything that was watched has ended", next_line(["runs"]))
    return 1 if follower.came_to_nothing else 0


def _follow(seen: dict[str, Watched], words: Sequence[str], default: Path, follower: _Follower) -> None:
    """Show work in progress until there is none."""
    screen = Console()
    with Live(console=screen, auto_refresh=False) if screen.is_terminal and not follower.as_json else _Lines() as shown:
        while seen:
            follower.show(seen, shown if isinstance(shown, Live) else None)
            began = time.monotonic()
            before, seen = seen, _look(words, default)
            follower.end([one for name, one in before.items() if name not in seen], screen)
            time.sleep(max(LOOK, PAUSE * (time.monotonic() - began)) if seen else 0.0)


def _look(words: Sequence[str], default: Path, first: bool = False) -> dict[str, Watched]:
    """Return the work in progress by name; a word that no longer names anything belongs to work that has ended."""
    others = [word for word in words if not Path(word).is_dir() or (Path(word) / RUN).is_file()]
    roots = [] if others else [Path(word) for word in words] or [default]
    try:
        runs = chosen_runs(words, default).runs
    except UsageError:
        if first:
            raise
        return {}
    return {one.name: one for one in going_on(runs, roots)}


def _say(as_json: bool, event: str, *lines: str) -> None:
    if as_json:
        print(json.dumps({"event": event}), flush=True)
    else:
        print("\n".join(lines), flush=True)


class _Lines:
    """Replacement for a screen where there is none, and lines are printed."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class _Follower:
    """Shows what is watched, and remembers since when it has been watched."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._first: dict[str, tuple[float, float]] = {}
        self._told: dict[str, Watched] = {}
        self._said = -EVERY
        self.came_to_nothing = False

    def show(self, seen: dict[str, Watched], screen: Live | None) -> None:
        """Show the state of everything: continuously on a screen, otherwise at intervals and when something is new."""
        now = time.monotonic()
        for one in seen.values():
            if one.share is not None:
                self._first.setdefault(one.name, (now, one.share))
        if screen is not None:
            rows = [[one.name, one.state, self._done(one), in_one_line(one.note, LONGEST)] for one in seen.values()]
            columns = {"what": False, "state": False, "done": False, "at": False}
            screen.update(FoldingTable("Ctrl-C stops only the watching", columns, rows), refresh=True)
            return
        is_due = now - self._said >= EVERY
        for one in seen.values():
            if (self.as_json and self._told.get(one.name) != one) or is_due or one.name not in self._told:
                self._tell(one)
        if is_due:
            self._said = now

    def end(self, over: Sequence[Watched], screen: Console) -> None:
        """Print how the work that is over has ended."""
        for one in over:
            state, result, path = "over", "", Path(one.name)
            if (path / RUN).is_file():
                run = ListedRun.at(path, path.parent)
                state, result = run.state, run.headline
                self.came_to_nothing |= state in BAD
            if self.as_json:
                line = {"event": "ended", "name": one.name, "state": state, "result": result}
                print(json.dumps(line, ensure_ascii=False), flush=True)
                continue
            text = printable(f"{state}: {one.name}{f': {result}' if result else ''}")
            screen.print(text, markup=False, highlight=False, soft_wrap=True)
            sys.stdout.flush()

    def _tell(self, one: Watched) -> None:
        self._told[one.name] = one
        if self.as_json:
            print(json.dumps({"event": "progress", **one._asdict()}, ensure_ascii=False), flush=True)
        else:
            done = self._done(one)
            print(printable(f"{one.state}: {one.name}: {done}{' · ' if done else ''}{one.note}"), flush=True)

    def _done(self, one: Watched) -> str:
        """Return the share that is done, and the remaining time at the rate since watching began."""
        if one.share is None:
            return ""
        since, share = self._first.get(one.name, (time.monotonic(), one.share))
        passed, made = time.monotonic() - since, one.share - share
        left = f", about {duration(passed * (1 - one.share) / made)} left" if made > 0 and passed > KNOWN_AFTER else ""
        return f"{one.share:.0%}{left}"
