"""A run's folder: what was asked, what came of it, and enough to go on where it stopped."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from l2l_cli import __version__
from l2l_cli.core.errors import UsageError, did_you_mean


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace a file so that a reader, or a crash, meets the old content or the new, never a part."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def identity(config: Mapping[str, Any], version: str = __version__) -> str:
    """Return 8 hex digits that name a configuration under a version of the package."""
    canonical = json.dumps([config, version], sort_keys=True, default=str)
    return hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()


class RunFolder:
    """The folder of one run.

    Args:
        path: An existing run folder; ``claim`` makes one, ``load`` opens one that a user named.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = time.monotonic()

    @classmethod
    def claim(cls, root: Path, name: str, config: Mapping[str, Any], overrides: Sequence[str]) -> RunFolder:
        """Make or find the folder ``<root>/<name>-<hash>`` that belongs to a configuration."""
        return cls.make(root / f"{name}-{identity(config)}", config, overrides)

    @classmethod
    def make(cls, path: Path, config: Mapping[str, Any], overrides: Sequence[str]) -> RunFolder:
        """Make or find a folder right at ``path``."""
        path.mkdir(parents=True, exist_ok=True)
        if not (path / "run.json").exists():
            atomic_write(path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
            atomic_write(path / "overrides.txt", "\n".join(overrides) + "\n")
            atomic_write(path / "run.json", json.dumps({"status": "new", "versions": {"l2l": __version__}}))
        return cls(path)

    @classmethod
    def load(cls, path: Path) -> RunFolder:
        """Open a run folder that a user named.

        Raises:
            UsageError: It does not exist, is no run folder, or was made by another version.
        """
        if not path.is_dir():
            siblings = [str(other.parent) for other in path.parent.glob("*/run.json")] if path.parent.is_dir() else []
            raise UsageError(f"there is no run folder {path}{did_you_mean(str(path), siblings)}")
        run = cls(path)
        if not (path / "run.json").is_file():
            raise UsageError(f"{path} is no run folder: it has no run.json; meta-train makes one")
        version = run.facts().get("versions", {}).get("l2l")
        if version != __version__:
            raise UsageError(
                f"{path} was made by l2l {version}, this is {__version__}; meta-train it again or install that version"
            )
        return run

    @property
    def status(self) -> str:
        """One of new, running, interrupted, failed, done; a killed run still says running."""
        return str(self.facts()["status"])

    def facts(self) -> dict[str, Any]:
        """Read run.json.

        Raises:
            UsageError: It is not readable as JSON.
        """
        path = self.path / "run.json"
        try:
            facts: dict[str, Any] = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise UsageError(f"{path} is damaged ({error}); delete {self.path} and run again") from error
        return facts

    def config(self) -> dict[str, Any]:
        """Read config.yaml."""
        config: dict[str, Any] = yaml.safe_load((self.path / "config.yaml").read_text())
        return config

    def note(self, **facts: Any) -> None:
        """Merge facts into run.json."""
        atomic_write(self.path / "run.json", json.dumps(self.facts() | facts, indent=2, default=str) + "\n")

    def begin(self, **facts: Any) -> None:
        """Say that the run goes on, and under what."""
        self._began = time.monotonic()
        versions = {"l2l": __version__, "python": platform.python_version(), **facts.pop("versions", {})}
        self.note(
            status="running",
            versions=versions,
            commit=_commit(),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            command=" ".join(["l2l", *sys.argv[1:]]),
            **facts,
        )

    def end(self, status: str, **facts: Any) -> None:
        """Say how the run ended: done, interrupted or failed; seconds add up over resumptions."""
        seconds = float(self.facts().get("seconds", 0.0)) + time.monotonic() - self._began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.note(status=status, seconds=round(seconds, 3), peak_memory_bytes=peak, **facts)
        self._began = time.monotonic()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process alone; a killed process lets go of it.

        Raises:
            UsageError: Another process holds it.
        """
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"{self.path} is being written by another l2l; wait for it or end it") from error
            yield


def _commit() -> str | None:
    """Return the commit of the checkout that the package runs from, if it is one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    done = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
