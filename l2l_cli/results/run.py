"""A run's folder: its configuration, its results, and what is needed to resume it."""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path, PurePath

import yaml

from l2l_cli import __version__
from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write, file_checksum, make_folder, sync_file
from l2l_cli.core.ledger import LEDGER, date_of
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.plain_text import in_one_line, parsed_json, parsed_yaml, read_text
from l2l_cli.core.printable import printable
from l2l_cli.results import index
from l2l_cli.results.facts import why_damaged
from l2l_cli.results.folder_lock import PATIENCE, FolderLock
from l2l_cli.results.provenance import command_line, commit, machine, peak_memory

RUN, CONFIG, OVERRIDES = "run.json", "config.yaml", "overrides.txt"

METRICS = "metrics.csv"

WEIGHTS = "weights.safetensors"
"""File of a finished run's trained φ, under the names of the learner's parameters."""

TABLE = "table.csv"
"""File of the table of scores that a finished evaluation or comparison shows."""

CONTENT = (METRICS, TABLE, "grid.csv", "results.csv", WEIGHTS)
"""Files of a finished run whose checksums run.json keeps, as far as they exist."""

RESULTS = 2
"""Version of the digits that a configuration gives; runs of an earlier version are read, but not reused."""


def identity(config: Node, results: int = RESULTS) -> str:
    """Return 8 hex digits that identify a configuration and the version of the digits that it gives."""
    try:
        canonical = json.dumps([config, results], sort_keys=True, default=str)
    except TypeError:  # keys of mixed types, which no configuration of ours has
        canonical = repr([config, results])
    return hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()


class RunFolder:
    """The folder of one run: ``claim`` makes one, ``load`` opens one that a user named."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FolderLock(path)
        self._since: float | None = None
        self._mark = LEDGER.mark()

    @classmethod
    def claim(cls, root: Path, name: str, config: Node, overrides: Sequence[str]) -> RunFolder:
        """Make or find the folder ``<root>/<name>-<hash>`` that belongs to a configuration.

        Raises:
            UsageError: The name points outside of ``root``, or the folder is damaged.
        """
        path = root / _folder_name(name, config)
        run = cls.make(path, config, overrides)
        index.open_journal(path)
        return run

    @classmethod
    def find(cls, root: Path, name: str, config: Node) -> RunFolder | None:
        """Return the folder that ``claim`` made for a configuration; None if there is none."""
        run = cls(root / _folder_name(name, config))
        return run if run._holds(config) else None

    @classmethod
    def make(cls, path: Path, config: Node, overrides: Sequence[str]) -> RunFolder:
        """Make or find a folder right at ``path``.

        A folder that held another configuration takes the present one and counts as new; its other files stay.
        """
        run = cls(path)
        make_folder(path)
        if run._lock.is_held():  # a process that is refused the lock must not have changed anything
            return run
        holds = run._holds(config)
        if holds and run._configuration_is_whole(config):
            return run
        if holds:
            print(f"warning: {path / CONFIG} was damaged, and is written anew", file=sys.stderr)
        atomic_write(path / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        atomic_write(path / OVERRIDES, "".join(f"{override}\n" for override in overrides))
        if not holds:
            facts = {
                "status": "new",
                "results": RESULTS,
                "identity": identity(config),
                "versions": {"l2l": __version__},
            }
            run._write(facts)
        return run

    @classmethod
    def load(cls, path: Path) -> RunFolder:
        """Open a run folder that a user named.

        Raises:
            UsageError: It does not exist, is no run folder, is damaged, or was made by a later version.
        """
        if not path.is_dir():
            raise UsageError(f"there is no run folder {path}{_nearest(path)}")
        run = cls(path)
        if not (path / RUN).is_file():
            raise UsageError(f"{path} is not a run folder: it has no {RUN}; meta-train makes one{_nearest(path)}")
        if run._results() > RESULTS:
            version = run.facts().get("versions", {}).get("l2l")
            raise UsageError(f"{path} was made by l2l {version}, this is {__version__}; install that version")
        return run

    @property
    def status(self) -> str:
        """One of new, running, interrupted, failed, done; a run that was killed counts as interrupted."""
        status = str(self.facts()["status"])
        return "interrupted" if status == "running" and not self._lock.is_held() else status

    def facts(self, needed: Sequence[str] = ()) -> Entries:
        """Read run.json, which must hold the ``needed`` entries.

        Raises:
            UsageError: It cannot be read, does not hold a run's facts, or lacks a needed one.
        """
        facts = self._read(RUN, parsed_json)
        lacking = [f"no {name}" for name in needed if facts.get(name) is None]
        if reason := why_damaged(facts) or ", ".join(lacking):
            raise self._damaged(RUN, reason)
        return facts

    def config(self) -> Entries:
        """Read config.yaml.

        Raises:
            UsageError: It cannot be read, or does not hold a configuration.
        """
        return self._read(CONFIG, parsed_yaml)

    @property
    def weights(self) -> Path:
        """The file of the weights of a finished training."""
        return self.path / WEIGHTS

    @property
    def remedy(self) -> str:
        """Advice for a user whose file of weights is damaged."""
        return f"`l2l meta-train --resume {self.path}` makes them again"

    def note(self, **facts: object) -> None:
        """Merge facts into run.json; while the run goes on, bring its seconds and peak memory up to date."""
        self._write(self.facts() | self._spent() | facts)

    def begin(self, versions: Mapping[str, str] | None = None, **facts: object) -> None:
        """Note that the run is going on, with the versions of further packages and further entries of run.json."""
        self._since, self._mark = time.monotonic(), LEDGER.mark()
        known = {
            "l2l": __version__,
            "python": platform.python_version(),
            "numpy": metadata.version("numpy"),
            **(versions or {}),
        }
        before = self.facts()
        before.pop("message", None)  # the failure that this attempt is to mend
        before.pop("checksums", None)
        where = {
            "commit": commit(),
            "machine": machine(),
            "command": command_line(),
        }
        now = before | {"status": "running", "versions": known} | where | facts
        self._write(now)
        index.say(self.path, now)

    def end(self, status: str, **facts: object) -> None:
        """Note how the run ended: done, interrupted or failed; seconds add up over resumptions.

        Once a run is done, its rows are flushed to disk, and run.json holds its files' checksums.
        """
        sync_file(self.path / METRICS)
        if status == "done":
            there = {name: file_checksum(self.path / name) for name in CONTENT}
            facts |= {"checksums": {name: found for name, found in there.items() if found is not None}}
        self.note(status=status, **facts)
        self._since = None
        index.say(self.path, self.facts())

    def damaged(self) -> list[str]:
        """Return the names of a finished run's files that have changed since; none for older runs without checksums."""
        known = self.facts().get("checksums", {})
        return [name for name in CONTENT if name in known and file_checksum(self.path / name) != known[name]]

    def lock(self, patience: float = PATIENCE) -> AbstractContextManager[None]:
        """Reserve the folder for this process; see ``FolderLock.held``."""
        return self._lock.held(patience)

    def owner(self) -> str:
        """Return who holds the lock or held it last: process, machine, start and command."""
        return self._lock.owner()

    def _holds(self, config: Node) -> bool:
        """Return whether the folder already belongs to this configuration, with the digits of this version."""
        if not (self.path / RUN).exists():
            return False
        if (known := self.facts().get("identity")) is not None:
            return bool(known == identity(config))
        # The folder was made before run.json held the identity.
        return (self.path / CONFIG).exists() and identity(self.config(), self._results()) == identity(config)

    def _configuration_is_whole(self, config: Node) -> bool:
        try:
            return identity(self.config(), self._results()) == identity(config)
        except UsageError:
            return False

    def _results(self) -> int:
        """Return the run's ``RESULTS``, which version 0.1.0 did not record: there it is 1."""
        return int(self.facts().get("results", 1))

    def _read(self, name: str, parse: Callable[[str], object]) -> Entries:
        try:
            content = parse(read_text(self.path / name))
        except (OSError, ValueError) as error:
            raise self._damaged(name, error) from error
        if not isinstance(content, dict):
            raise self._damaged(name, "not a mapping")
        return content

    def _damaged(self, name: str, reason: object) -> UsageError:
        """Return the error for a damaged file, which does not affect what was trained."""
        path = self.path / name
        return UsageError(
            f"{path} is damaged ({in_one_line(reason)}); delete it and run again with the run's own command, which "
            "writes it anew and continues from the checkpoint"
        )

    def _write(self, facts: Node) -> None:
        atomic_write(self.path / RUN, json.dumps(facts, indent=2, default=str) + "\n")

    def _spent(self) -> Entries:
        """Return what the run has cost so far and when each activity began, earlier attempts included."""
        if self._since is None:
            return {}
        facts, now, spent = self.facts(), time.monotonic(), LEDGER.since(self._mark)
        seconds = float(facts.get("seconds", 0.0)) + now - self._since
        self._since, self._mark = now, LEDGER.mark()
        used = {"cpu_seconds": spent.seconds, "reused_cpu_seconds": spent.reused}
        return {
            "seconds": round(seconds, 3),
            **{name: _added(facts.get(name, {}), parts) for name, parts in used.items() if parts},
            "began": {name: date_of(when) for name, when in spent.began.items()} | facts.get("began", {}),
            "peak_memory_bytes": max(int(facts.get("peak_memory_bytes", 0)), peak_memory()),
        }


def _folder_name(name: str, config: Node) -> str:
    """Return the name of a configuration's folder.

    Raises:
        UsageError: The name is not that of a folder, or points outside.
    """
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not name.strip() or printable(name) != name or "\n" in name:
        raise UsageError(f"{in_one_line(repr(name))} is not a valid run name: it must be a folder's name")
    return f"{name}-{identity(config)}"


def _added(before: Mapping[str, float], parts: Mapping[str, float]) -> dict[str, float]:
    """Return sums by name, rounded to milliseconds."""
    return {**before, **{name: round(before.get(name, 0.0) + part, 3) for name, part in parts.items()}}


def _nearest(path: Path) -> str:
    """Return "; did you mean 'outputs/…/lstm-1a2b3c4d'?", or a list of the run folders that exist, or nothing."""
    root = path
    while not root.is_dir() and root != root.parent:
        root = root.parent
    if path.is_absolute() and root == Path(path.anchor):
        return ""  # a search of the whole disk would help nobody
    for depth in range(1, 4):
        runs = {run.parent.name: printable(str(run.parent)) for run in sorted(root.glob("*/" * depth + RUN))}
        if runs:
            close = [repr(runs[name]) for name in difflib.get_close_matches(path.name, runs, n=3, cutoff=0.5)]
            if close:
                return f"; did you mean {' or '.join(close)}?"
            return f"; run folders: {', '.join([*runs.values()][:3])}{', …' if len(runs) > 3 else ''}"
    return ""
