"""What a reproduction would run, from its configuration alone: rows as jobs, one for each seed; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from l2l_cli.config.compose import compose, compose_seed
from l2l_cli.config.groups import papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.schema import Row, Settings
from l2l_cli.core.errors import UsageError


@dataclass(frozen=True)
class Job:
    """One row of an experiment for one seed.

    Attributes:
        paper: Node of the class that measures it.
        name: Name of the row.
        row: Description of the row.
        seed: Seed of everything that is drawn.
        overrides: Overrides from which the run's configuration is composed.
        config_dir: Folder with further configuration.
    """

    paper: dict[str, Any]
    name: str
    row: Row
    seed: int
    overrides: tuple[str, ...]
    config_dir: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """The description of the row without its overrides."""
        return {name: value for name, value in asdict(self.row).items() if name != "use"}

    @property
    def key(self) -> str:
        """Text that two jobs share only if they are the same."""
        return json.dumps([self.paper, self.name, self.facts, self.seed, self.overrides])

    def settings(self, root: Path) -> Settings:
        """Compose the run's configuration."""
        return compose_seed(self.overrides, self.seed, str(root), self.config_dir)


@dataclass(frozen=True)
class Agenda:
    """One artefact at one scale.

    Attributes:
        name: Name of the artefact.
        settings: Composed configuration of the experiment.
        scale: Changes and promises of the scale.
        jobs: Jobs by row; rows that the scale leaves out have none.
    """

    name: str
    settings: Settings
    scale: Mapping[str, Any]
    jobs: Mapping[str, list[Job]]


def artefacts_of(request: ReproduceRequest) -> list[str]:
    """Return the artefacts that were asked for, or all of the paper's, tables first."""
    known = sorted(papers(request.config_dir)[request.paper], key=lambda name: (not name.startswith("table"), name))
    return list(request.artefacts or known)


def agenda_of(request: ReproduceRequest, name: str) -> Agenda:
    """Compose one artefact and its jobs.

    Raises:
        UsageError: The artefact's configuration does not compose, or has no such scale.
    """
    settings = compose("reproduce", [f"experiment={request.paper}/{name}"], request.config_dir)
    scale = settings.scales.get(request.scale)
    if scale is None:
        raise UsageError(
            f"{request.paper} {name} has no scale {request.scale!r} (scales: {', '.join(settings.scales)})"
        )
    jobs = {
        row: [
            Job(settings.paper, row, facts, seed, _overrides(request, settings, scale, row), request.config_dir)
            for seed in range(request.seeds or seeds_of(scale, row, facts))
        ]
        for row, facts in settings.rows.items()
        if is_run(scale, row)
    }
    return Agenda(name, settings, scale, jobs)


def _overrides(request: ReproduceRequest, settings: Settings, scale: Mapping[str, Any], row: str) -> tuple[str, ...]:
    """Return the overrides that make up a row's configuration; those that were typed come last."""
    rows = scale.get("rows", {})
    return (*settings.common, *settings.rows[row].use, *scale["overrides"], *rows.get(row, []), *request.overrides)


def is_run(scale: Mapping[str, Any], row: str) -> bool:
    """Return whether a scale runs a row."""
    return not any(fnmatch(row, pattern) for pattern in scale.get("without", []))


def seeds_of(scale: Mapping[str, Any], name: str, row: Row) -> int:
    """Return a row's number of seeds: that of the first role or pattern that matches it, or else the scale's."""
    special = [seeds for key, seeds in scale.get("seeds_of", {}).items() if key == row.role or fnmatch(name, key)]
    return int(special[0] if special else scale["seeds"])


def seed_counts(scale: Mapping[str, Any], rows: Mapping[str, Row]) -> Sequence[int]:
    """Return the different numbers of seeds of the rows that a scale runs, in order."""
    return sorted({seeds_of(scale, name, row) for name, row in rows.items() if is_run(scale, name)})
