"""Sound folders, tiny, as the commands leave them: what the fuzzing tests damage."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from l2l_cli.commands import evaluate, meta_train
from l2l_cli.config.compose import compose
from l2l_cli.config.schema import Settings
from l2l_cli.core.stop import STOP, Stopped
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.runs.folders import WEIGHTS
from l2l_cli.runs.training import train

TINY = (
    "task=quadratic task.horizon=5 gradient.window=5 gradient.episodes=2 learner.rule.hidden=3 meta.updates=4 "
    "meta.validate_every=1 meta.validation_episodes=4 meta.checkpoint_every=0.001 hardware.threads=1"
).split()
"""A training of four updates, each of them validated and saved."""

SCORED = "evaluation.episodes=4 evaluation.steps=5 evaluation.stretch=[1] hardware.threads=1".split()
"""An evaluation of it."""

FILES = (
    *("config.yaml", "run.json", "overrides.txt", "metrics.csv", ".lock", "weights.safetensors"),
    *("checkpoint.safetensors", "checkpoint.previous.safetensors"),
)
"""Files of a run's folder."""


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Runs:
    """One training, finished and interrupted after two updates; what it ends with, and what evaluating it comes to.

    Args:
        root: Folder for ``finished`` and ``interrupted``, each an output folder with one run in it.
    """

    def __init__(self, root: Path) -> None:
        self.settings: Settings = compose("meta-train", TINY)
        self.scored: Settings = compose("evaluate", SCORED)
        self.present = replace(compose("meta-train", ["hardware.threads=1"]), overrides=[])  # as --resume wants it
        self.root = root
        with inside(root / "finished"):
            self.name = train(self.settings).path.name
        with inside(root / "interrupted"):
            self._interrupt()
        self.bits = weights_of(root / "finished" / self.run)
        self.losses = self.evaluated(root / "finished")

    @property
    def run(self) -> Path:
        """The run's folder, from the folder that its command was typed in."""
        return Path("outputs", "meta-train", self.name)

    def _interrupt(self) -> None:
        """Ask the training to stop as it writes its second line of metrics."""
        written, write = [], MetricsFile.append

        def append(file: MetricsFile, rows: Iterable[Metric]) -> None:
            write(file, rows)
            written.append(file)
            if len(written) == 2:
                STOP.ask()

        with patch.object(MetricsFile, "append", append), suppress(Stopped):
            train(self.settings)
        assert (self.run / "checkpoint.safetensors").is_file()
        assert not (self.run / WEIGHTS).exists()

    def fresh(self, kind: str, place: Path) -> Path:
        """Copy "finished" or "interrupted" to a new place, and return the run's folder there."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.root / kind, place)
        return place / self.run

    def evaluated(self, place: Path) -> list[float]:
        """Return the losses that the run below a folder is scored with, the store of earlier scores left aside."""
        with inside(place):
            planned = evaluate.plan(self.scored, str(self.run), [])
            standing = planned.units[0].play(planned.store)
            shutil.rmtree("outputs/store", ignore_errors=True)
            return [float(value) for scores in standing.scores for value in scores.losses.flatten()]

    def resumed(self, place: Path) -> str:
        """Go on with the run below a folder by ``--resume``, and return what it ends with."""
        return self._ends(place, lambda: meta_train.run(self.present, str(self.run), []))

    def repeated(self, place: Path) -> str:
        """Give the same command again below a folder, and return what the run ends with."""
        return self._ends(place, lambda: meta_train.run(self.settings))

    def _ends(self, place: Path, command: Callable[[], object]) -> str:
        """Return what a run ends with; damaged weights of a finished run that are left as they were are no new ones."""
        weights = place / self.run / WEIGHTS

        def state() -> tuple[int, int]:
            found = weights.stat()
            return found.st_ino, found.st_mtime_ns

        before = state() if weights.is_file() else None
        with inside(place):
            command()
        return self.bits if state() == before else weights_of(place / self.run)


def weights_of(run: Path) -> str:
    """Return a name for the bits of a run's weights."""
    return hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()


def calls(runs: Runs) -> dict[str, tuple[str, Any, Any]]:
    """Return by name what is done with a run: to which kind, by which function, and what it comes to without damage."""
    return {
        "evaluate": ("finished", runs.evaluated, runs.losses),
        "resume a finished one": ("finished", runs.resumed, runs.bits),
        "resume": ("interrupted", runs.resumed, runs.bits),
        "repeat a finished one": ("finished", runs.repeated, runs.bits),
        "repeat": ("interrupted", runs.repeated, runs.bits),
    }


CALLS = ("evaluate", "resume a finished one", "resume", "repeat a finished one", "repeat")
"""Names of ``calls``."""
