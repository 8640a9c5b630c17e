"""A run's folder: its configuration, its results, and what is needed to resume it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import IO

import yaml

from l2l_cli import __version__
from l2l_cli.core.cores import usable_cores
from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write
from l2l_cli.core.ledger import LEDGER, date_of
from l2l_cli.core.locks import try_lock
from l2l_cli.core.nodes import Entries, Node

if sys.platform != "win32":
    import resource

RUN, CONFIG, OVERRIDES, LOCK = "run.json", "config.yaml", "overrides.txt", ".lock"

PATIENCE = 5.0
"""Seconds for which a process waits for a folder's lock before it is refused."""

SILENCE = 0.5
"""Seconds after which it says what it waits for."""

LOOK = 0.1
"""Seconds between two tries to take a lock."""

RESULTS = 2
"""Raised when the same configuration comes to other digits; runs of earlier numbers are read, but not taken as done."""


def identity(config: Node, results: int = RESULTS) -> str:
    """Return 8 hex digits that name a configuration and the digits that it comes to."""
    canonical = json.dumps([config, results], sort_keys=True, default=str)
    return hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()


class RunFolder:
    """The folder of one run: ``claim`` makes one, ``load`` opens one that a user named."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._since: float | None = None
        self._mark = LEDGER.mark()

    @classmethod
    def claim(cls, root: Path, name: str, config: Node, overrides: Sequence[str]) -> RunFolder:
        """Make or find the folder ``<root>/<name>-<hash>`` that belongs to a configuration."""
        return cls.make(root / f"{name}-{identity(config)}", config, overrides)

    @classmethod
    def find(cls, root: Path, name: str, config: Node) -> RunFolder | None:
        """Return the folder that ``claim`` made for a configuration; None if there is none."""
        run = cls(root / f"{name}-{identity(config)}")
        return run if run._holds(config) else None

    @classmethod
    def make(cls, path: Path, config: Node, overrides: Sequence[str]) -> RunFolder:
        """Make or find a folder right at ``path``.

        A folder that held another configuration takes the present one and counts as new; its other files stay.
        """
        run = cls(path)
        path.mkdir(parents=True, exist_ok=True)
        if run._holds(config) or run._is_locked():  # a process that is refused the lock must not have changed anything
            return run
        atomic_write(path / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        atomic_write(path / OVERRIDES, "".join(f"{override}\n" for override in overrides))
        run._write({"status": "new", "results": RESULTS, "versions": {"l2l": __version__}})
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
            raise UsageError(f"{path} is no run folder: it has no {RUN}; meta-train makes one{_nearest(path)}")
        if run._results() > RESULTS:
            version = run.facts().get("versions", {}).get("l2l")
            raise UsageError(f"{path} was made by l2l {version}, this is {__version__}; install that version")
        return run

    @property
    def status(self) -> str:
        """One of new, running, interrupted, failed, done; a run that was killed counts as interrupted."""
        status = str(self.facts()["status"])
        return "interrupted" if status == "running" and not self._is_locked() else status

    def facts(self) -> Entries:
        """Read run.json.

        Raises:
            UsageError: It cannot be read, or does not hold a run's facts.
        """
        facts = self._read(RUN, json.loads)
        if "status" not in facts:
            raise UsageError(f"{self.path / RUN} is damaged (no status); delete {self.path} and run again")
        return facts

    def config(self) -> Entries:
        """Read config.yaml.

        Raises:
            UsageError: It cannot be read, or does not hold a configuration.
        """
        return self._read(CONFIG, yaml.safe_load)

    def note(self, **facts: object) -> None:
        """Merge facts into run.json; while the run goes on, bring its seconds and peak memory up to date."""
        self._write(self.facts() | self._spent() | facts)

    def begin(self, versions: Mapping[str, str] | None = None, **facts: object) -> None:
        """Note that the run is going on, under which versions of further packages, and further entries of run.json."""
        self._since, self._mark = time.monotonic(), LEDGER.mark()
        known = {
            "l2l": __version__,
            "python": platform.python_version(),
            "numpy": metadata.version("numpy"),
            **(versions or {}),
        }
        before = self.facts()
        before.pop("message", None)  # the failure that this attempt is to mend
        where = {
            "commit": _commit(),
            "machine": f"{platform.system()} {platform.machine()}, {usable_cores()} cores",
            "command": _command(),
        }
        self._write(before | {"status": "running", "versions": known} | where | facts)

    def end(self, status: str, **facts: object) -> None:
        """Note how the run ended: done, interrupted or failed; seconds add up over resumptions."""
        self.note(status=status, **facts)
        self._since = None

    @contextmanager
    def lock(self, patience: float = PATIENCE) -> Iterator[None]:
        """Reserve the folder for this process; the lock of a killed process is released.

        Args:
            patience: Seconds to wait for another process, which may be about to end, since its starter was killed.

        Raises:
            UsageError: Another process has reserved it.
        """
        with (self.path / LOCK).open("a+", encoding="utf-8") as file:
            if not try_lock(file):
                self._wait(file, patience)
            file.truncate(0)
            file.write(f"l2l process {os.getpid()} on {platform.node()}, begun {date_of(time.time())}: {_command()}")
            file.flush()
            yield

    def _wait(self, file: IO[str], patience: float) -> None:
        until, told = time.monotonic() + patience, False
        while not try_lock(file):
            if time.monotonic() >= until:
                raise UsageError(f"{self.path} is being written by {self.owner()}; wait for it or stop it")
            if not told and time.monotonic() > until - patience + SILENCE:
                print(f"waiting for {self.owner()}, which is writing {self.path}", file=sys.stderr, flush=True)
                told = True
            time.sleep(LOOK)

    def owner(self) -> str:
        """Return who has the lock, or had it last: process, machine, when and by which command."""
        path = self.path / LOCK
        return (path.read_text(encoding="utf-8") if path.exists() else "") or "another l2l"

    def _is_locked(self) -> bool:
        path = self.path / LOCK
        if not path.exists():
            return False
        with path.open() as file:
            return not try_lock(file)

    def _holds(self, config: Node) -> bool:
        """Say whether the folder belongs to this configuration already, and to the digits of this version."""
        if not ((self.path / RUN).exists() and (self.path / CONFIG).exists()):
            return False
        return identity(self.config(), self._results()) == identity(config)

    def _results(self) -> int:
        """Return which digits the run comes to; version 0.1.0 did not say, and its are the first."""
        return int(self.facts().get("results", 1))

    def _read(self, name: str, parse: Callable[[str], object]) -> Entries:
        path = self.path / name
        try:
            content = parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"{path} is damaged ({reason}); delete {self.path} and run again") from error
        if not isinstance(content, dict):
            raise UsageError(f"{path} is damaged (not a mapping); delete {self.path} and run again")
        return content

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


def _command() -> str:
    """Return the command line as it was typed."""
    return " ".join(["l2l", *sys.argv[1:]])


def _added(before: Mapping[str, float], parts: Mapping[str, float]) -> dict[str, float]:
    """Return sums by name, rounded to milliseconds."""
    return {**before, **{name: round(before.get(name, 0.0) + part, 3) for name, part in parts.items()}}


def peak_memory() -> int:
    """Return the largest resident size that this process or one that it has waited for ever had, in bytes."""
    if sys.platform == "win32":
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _nearest(path: Path) -> str:
    """Return "; did you mean 'outputs/…/lstm-1a2b3c4d'?" or what run folders there are, or nothing."""
    root = path
    while not root.is_dir() and root != root.parent:
        root = root.parent
    if path.is_absolute() and root == Path(path.anchor):
        return ""  # a search of the whole disk would help nobody
    for depth in range(1, 4):
        runs = {run.parent.name: str(run.parent) for run in sorted(root.glob("*/" * depth + RUN))}
        if runs:
            close = [repr(runs[name]) for name in difflib.get_close_matches(path.name, runs, n=3, cutoff=0.5)]
            if close:
                return f"; did you mean {' or '.join(close)}?"
            return f"; run folders: {', '.join([*runs.values()][:3])}{', …' if len(runs) > 3 else ''}"
    return ""


def _commit() -> str | None:
    """Return the commit of the checkout that the package runs from, if it is one; "-dirty" if it was changed."""
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    question = [git, "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip() or None
