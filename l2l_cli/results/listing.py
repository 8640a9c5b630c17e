"""Every run and report below some folders, with the state that its own files give; no torch and no pandas.

Unlike the page of all results, this searches the folders, and so also finds runs that were copied there or made by an
earlier version.  States and headlines are defined as on that page.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from l2l_cli.core.errors import UsageError
from l2l_cli.core.layout import STORE, WITHIN_A_RUN
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line, parsed_yaml, read_text
from l2l_cli.results.index import ASIDE, REPORT, headline_of, state_of
from l2l_cli.results.run import CONFIG, OVERRIDES, RUN, RunFolder

COMMANDS = ("meta-train", "evaluate", "compare", "reproduce")

DEEPEST = 8
"""Number of levels of folders that are searched for runs."""

WITHIN = (*WITHIN_A_RUN, STORE)
"""Names of the folders, within a run's or an output folder, that hold no runs."""

DAMAGED = "damaged"
"""State of a run whose run.json cannot be read."""

PLACES = ("output", "name", "data", "store", "hardware")
"""Parts of the settings that do not change any result."""


@dataclass(frozen=True)
class ListedRun:
    """One run or report.

    Attributes:
        path: Its folder.
        place: Its folder, relative to the one that was searched.
        state: State as on the page of all results, or ``DAMAGED``.
        facts: Entries of run.json; empty if it is damaged.
        message: Reason why run.json cannot be read; empty if it can.
        changed: Time when run.json was last written, in seconds since 1970.
    """

    path: Path
    place: str
    state: str
    facts: Entries = field(repr=False)
    message: str
    changed: float

    @classmethod
    def at(cls, path: Path, root: Path) -> ListedRun:
        """Return the run in the folder ``path``, which was found below ``root``."""
        run, place = RunFolder(path), path.relative_to(root).as_posix() if path != root else path.name
        changed = (path / RUN).lstat().st_mtime
        try:
            facts = run.facts()
            return cls(path, place, state_of(path, str(facts["status"])), facts, "", changed)
        except (UsageError, OSError) as error:
            return cls(path, place, DAMAGED, {}, in_one_line(error), changed)

    @property
    def command(self) -> str:
        """Command that makes such a run."""
        parent = self.path.absolute().parent.name
        return parent if parent in COMMANDS else "reproduce"

    @property
    def has_report(self) -> bool:
        """Whether it has a page to read."""
        return (self.path / REPORT).is_file()

    @property
    def headline(self) -> str:
        """Its outcome, in one line."""
        return headline_of(self.facts) if self.facts else self.message

    @cached_property
    def overrides(self) -> list[str]:
        """Overrides as they were typed; a reproduction keeps none."""
        path = self.path / OVERRIDES
        with suppress(OSError, UsageError):
            return [line for line in read_text(path).splitlines() if line] if os.path.lexists(path) else []
        return []

    @cached_property
    def config(self) -> Entries:
        """Its configuration; empty if that cannot be read."""
        with suppress(OSError, UsageError, ValueError):
            found = parsed_yaml(read_text(self.path / CONFIG))
            return found if isinstance(found, dict) else {}
        return {}

    @cached_property
    def typed(self) -> dict[str, str]:
        """Values of the overrides, by key; the last one if a key was typed several times."""
        pairs = (word.lstrip("+~").partition("=") for word in self.overrides)
        return {key: value for key, _, value in pairs}

    @cached_property
    def choices(self) -> dict[str, str]:
        """Names of the configuration files that were chosen, by group."""
        chosen = self.config.get("choices")
        return {str(key): str(value) for key, value in chosen.items()} if isinstance(chosen, dict) else {}

    @property
    def differences(self) -> list[str]:
        """What distinguishes the run: scale and artefacts, or parents and typed settings that its name omits."""
        if self.command == "reproduce":
            artefacts = self.config.get("artefacts")
            return [f"scale={self.config.get('scale')}", *map(str, artefacts if isinstance(artefacts, dict) else ())]
        named = {
            group: value
            for group, value in {"task": self.choices.get("task"), "learner": self.choices.get("learner")}.items()
            if value is not None and value in self.path.name
        }
        runs = [f"of {Path(str(parent)).name}" for parent in self.facts.get("parents", [])]
        return runs + [
            f"{key}={value}"
            for key, value in self.typed.items()
            if key.split(".")[0] not in PLACES and named.get(key) != value
        ]

    @cached_property
    def size(self) -> int:
        """Size of its files in bytes, without those of other runs in folders below it."""
        return _size(self.path, first=True)

    def value(self, key: str) -> str | None:
        """Return the run's value for a key: its state, a choice in a group, or an option; None if it has none."""
        own = {"status": self.state, "state": self.state, "command": self.command, "name": self.path.name}
        known = own | self.choices | self.typed
        if key in known:
            return known[key]
        node: object = self.config
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                return None
            node = node[name]
        return None if isinstance(node, dict) else str(node)

    @property
    def keys(self) -> set[str]:
        """The keys that ``value`` knows, except for options that were not typed."""
        return {"status", "command", "name", *self.choices, *self.typed}


def runs_below(root: Path) -> list[ListedRun]:
    """Return the runs in a folder and below it, the newest first.

    Raises:
        UsageError: There is no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}; `l2l runs FOLDER` lists the runs below one")
    return newest_first(ListedRun.at(path, root) for path in _folders(root, DEEPEST))


def newest_first(runs: Iterator[ListedRun] | Sequence[ListedRun]) -> list[ListedRun]:
    """Return runs sorted by the time of their last change, the newest first."""
    return sorted(runs, key=lambda run: (-run.changed, run.place))


def _folders(folder: Path, levels: int) -> Iterator[Path]:
    """Yield the folders of runs; links are not followed, and temporary runs are left out."""
    with suppress(PermissionError, FileNotFoundError), os.scandir(folder) as found:
        entries = list(found)
        if any(entry.name == RUN and entry.is_file(follow_symlinks=False) for entry in entries):
            yield folder
        for entry in entries if levels else ():
            is_other = entry.name in WITHIN or entry.name.startswith(ASIDE)
            if not is_other and entry.is_dir(follow_symlinks=False):
                yield from _folders(folder / entry.name, levels - 1)


def _size(folder: Path, first: bool = False) -> int:
    size = 0
    with suppress(PermissionError, FileNotFoundError), os.scandir(folder) as found:
        entries = list(found)
        if not first and any(entry.name == RUN for entry in entries):
            return 0  # it belongs to another run
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                size += _size(folder / entry.name)
            else:
                size += entry.stat(follow_symlinks=False).st_size
    return size


def age_text(since: float) -> str:
    """Return how long ago a time, in seconds since 1970, was: for example "3 min"."""
    seconds = max(0.0, time.time() - since)
    for name, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"
