"""The remaining work of a command, as pieces for jobs of a cluster; the command itself then collects the results."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path

from l2l_cli.commands.elsewhere import Left
from l2l_cli.commands.known import key_of
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.layout import CLUSTER, STORE
from l2l_cli.core.nodes import Entries
from l2l_cli.evaluation.contest import Unit
from l2l_cli.results.store import Store
from l2l_cli.runs.folders import done_before
from l2l_cli.runs.pieces import Carrying, Piece
from l2l_cli.runs.progress import Relay
from l2l_cli.runs.training import expected_seconds, expected_updates, train


@dataclass(frozen=True)
class TrainingWork:
    """The work of ``meta-train``."""

    settings: Settings
    seconds: float

    def __call__(self, tell: Relay) -> None:
        """Train, and report the expected seconds that have passed."""
        update = self.seconds / expected_updates(self.settings, 1)
        train(self.settings, relay=lambda updates, note: tell(updates * update, note))


@dataclass(frozen=True)
class PlayingWork:
    """The work of one unit of ``compare`` or ``evaluate``, whose result goes to the store."""

    command: str
    settings: Settings
    flags: Entries
    unit: str

    def __call__(self, tell: Relay) -> None:
        """Tune or transfer the contender, and score it."""
        tell(0.0, "begins")
        units, store = _planned(self.command, self.settings, self.flags)
        next(unit for unit in units if unit.name == self.unit).play(store)


def left_of(command: str, settings: Settings, flags: Entries) -> Left:
    """Return the remaining work of a command on one configuration; no pieces if it only has to collect results.

    Raises:
        UsageError: The command resumes a run that the user named, which is only possible on this machine.
    """
    if flags.get("resume"):
        raise UsageError(
            "--resume continues a run on this machine, and cluster jobs continue by themselves; drop hardware.cluster, "
            "or --resume"
        )
    root, here = Path(settings.output) / CLUSTER, _here(settings)
    if command == "meta-train":
        if done_before(settings):
            return Left([], 1)
        seconds = expected_seconds(settings)
        name = f"{settings.run_name} seed {settings.seed}"
        pieces, done = [Piece(name, key_of(command, settings, flags), seconds, TrainingWork(here, seconds))], 0
    else:
        units, store = _planned(command, here, flags)
        names, key = [unit.name for unit in units if unit.missing(store)], key_of(command, settings, flags)
        pieces = [Piece(name, f"{key} {name}", 0.0, PlayingWork(command, here, flags, name)) for name in names]
        done = len(units) - len(pieces)
    return Left([Carrying.of(piece, root) for piece in pieces], done)


def _planned(command: str, settings: Settings, flags: Entries) -> tuple[list[Unit], Store]:
    planned = importlib.import_module(f"l2l_cli.commands.{command}").plan(settings, **flags)
    return planned.units, planned.store


def _here(settings: Settings) -> Settings:
    """Return settings with absolute paths, which are valid wherever a job runs."""
    output, store = Path(settings.output).resolve(), settings.store
    return replace(settings, output=str(output), store=replace(store, dir=str(store.dir or output / STORE)))
