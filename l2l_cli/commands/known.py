"""Results of earlier jobs: a job that is done need not run again; no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from l2l_cli.commands.meta_train import row_of
from l2l_cli.commands.unused import Asked
from l2l_cli.config.compose import compose
from l2l_cli.config.schema import Settings
from l2l_cli.core.files import atomic_write
from l2l_cli.core.layout import SWEEPS
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.plain_text import parsed_json, read_text
from l2l_cli.results.run import RUN, RunFolder, identity
from l2l_cli.runs.folders import done_before, load_run, training_identity
from l2l_cli.runs.sources import sources_of

IRRELEVANT = ("hardware", "data", "output", "store", "logger", "replaces")
"""Settings that do not affect a job's results."""


def key_of(command: str, settings: Settings, flags: Node) -> str:
    """Return 8 hexadecimal digits that identify a job by everything that its results depend on.

    Raises:
        UsageError: A run that the job reads cannot be read.
    """
    if command == "meta-train":
        return identity({"command": command, "resume": flags.get("resume"), **training_identity(settings)})
    plain = {name: value for name, value in asdict(settings).items() if name not in (*IRRELEVANT, "config_dir")}
    plain["choices"] = {group: name for group, name in settings.choices.items() if group != "logger"}
    hand_made = [_composed(settings, overrides) for overrides in Asked(settings, flags).contenders]
    plain |= {"hand-made": hand_made, "sources": sources_of(settings, plain, hand_made)}
    # Which options were set counts as well as their values: a task that was not chosen is the run's.
    plain["overrides"] = [item for item in settings.overrides if not item.lstrip("+").startswith(IRRELEVANT)]
    read = {
        name: _runs(value, settings, flags["trust"]) if name in ("run_folder", "runs") else value
        for name, value in flags.items()
    }
    return identity({"command": command, **plain, **read})


def known(command: str, settings: Settings, flags: Node) -> Entries | None:
    """Return the row of a job that is already done; None if it is still to be run.

    Raises:
        UsageError: A run that the job reads cannot be read.
    """
    if command == "meta-train":
        folder = None if flags.get("resume") else done_before(settings)
        return row_of(folder) if folder else None
    path = _path(command, settings, flags)
    if not path.is_file():
        return None
    try:
        row = parsed_json(read_text(path))
        name = Path(row["run"]).name if isinstance(row, dict) else ""
    except (ValueError, KeyError, TypeError):  # damaged
        return None
    # Relative to the present directory, which may differ from that of the earlier job.
    run = RunFolder(Path(settings.output) / command / name)
    is_done = name and (run.path / RUN).is_file() and run.status == "done" and not run.damaged()
    return row | {"run": str(run.path)} if isinstance(row, dict) and is_done else None


def remember(command: str, settings: Settings, flags: Node, row: Node) -> None:
    """Keep the row of a finished job, unless its run folder contains the same information."""
    if command != "meta-train":
        path = _path(command, settings, flags)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(row, default=str))


def _path(command: str, settings: Settings, flags: Node) -> Path:
    return Path(settings.output) / SWEEPS / ".known" / f"{key_of(command, settings, flags)}.json"


def _composed(settings: Settings, overrides: list[str]) -> Entries:
    """Return what determines a hand-made contender, including files that the user may change."""
    typed = [item for item in settings.overrides if not item.startswith("contenders")]
    composed = compose("compare", [*typed, *overrides], settings.config_dir)
    return {"learner": composed.learner, "tune": asdict(composed.tune)}


def _runs(paths: str | Iterable[str], settings: Settings, trust: Sequence[str]) -> list[object]:
    """Describe runs by what they are, not where they lie: configuration, weights, and sources outside of l2l."""
    found: list[object] = []
    for path in map(Path, [paths] if isinstance(paths, str) else paths):
        run, saved = load_run(str(path), settings)
        weights = hashlib.blake2b(run.weights.read_bytes(), digest_size=8).hexdigest()
        found.append((path.name, str(run.config()), weights, sources_of(saved, saved.learner, trust=trust)))
    return found
