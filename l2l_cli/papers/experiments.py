"""Experiments: an artefact of a paper at one scale, its rows as jobs, and their measurements read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.config.build import build
from l2l_cli.config.catalogue import listing
from l2l_cli.config.compose import identity_of_training
from l2l_cli.config.groups import papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.schema import ROLES, TRAINED, Row, Settings
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.ledger import date_of
from l2l_cli.papers.accounts import SEARCH_COST
from l2l_cli.papers.agenda import Agenda, agenda_of, artefacts_of
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.measured import BEGAN, COST, REUSED, Measured
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.notes import built_by
from l2l_cli.results.run import identity
from l2l_cli.runs.progress import Reporter

OF_ROWS = ("training", "tuning", "scoring")
"""Activities on which single rows spend time; figures and the report are made for all rows together."""

FITTED = ("task", "learner", "evaluation")
"""Groups of the configuration from which classes are built for a row without meta-training."""


@dataclass(frozen=True)
class Experiment(Agenda):
    """One artefact at one scale, with ``artefact``, which judges and draws it, and the rows of the whole paper."""

    artefact: Artefact
    family: Mapping[str, Row]

    @cached_property
    def configurations(self) -> dict[str, Settings]:
        """Composed configuration of the first seed of each row that is run."""
        return {row: jobs[0].settings(Path()) for row, jobs in self.jobs.items()}

    def built(self) -> set[str]:
        """Return the dotted names of all classes that the experiment builds, for its artefact and for its rows."""
        names = built_by([self.settings.paper, self.settings.artefact])
        for row, settings in self.configurations.items():
            kept = asdict(settings)
            if self.settings.rows[row].role not in TRAINED:
                kept = {group: kept[group] for group in FITTED}
            names |= built_by(kept)
        return names

    def measured(self, files: Mapping[str, Path], folder: Path) -> Measured:
        """Read the existing measurements of all rows, all seeds of a row together."""
        frames = {}
        for row in self.settings.rows:
            there = [files[job.key] for job in self.jobs.get(row, []) if files[job.key].exists()]
            frames[row] = pd.concat([MetricsFile(file).read() for file in there]) if there else pd.DataFrame()
        evaluations = [settings.evaluation for settings in self.configurations.values()]
        problems = {name: changes for one in evaluations for name, changes in one.problems.items()}
        return Measured(self.name, self.settings.rows, frames, folder, self.settings.published, problems, self.family)

    def missing(self, files: Mapping[str, Path]) -> list[str]:
        """Return the rows with a seed that is not measured, because it failed or is still running."""
        return [row for row, jobs in self.jobs.items() if not all(files[job.key].exists() for job in jobs)]

    def can_be_judged(self, files: Mapping[str, Path]) -> bool:
        """Return whether anything is measured; an artefact reports the other rows as not run."""
        return any(files[job.key].exists() for jobs in self.jobs.values() for job in jobs)


def experiments(request: ReproduceRequest) -> list[Experiment]:
    """Compose the experiments that were asked for, or all of the paper's, tables first.

    Raises:
        UsageError: One does not compose, has no such scale, or names a row that it does not have.
    """
    names, found = artefacts_of(request), []
    with Reporter(f"plan {request.paper}", len(names), unit="artefacts") as reporter:
        for name in names:
            found.append(experiment(request, name))
            reporter.advance(name)
    return found


def experiment(request: ReproduceRequest, name: str) -> Experiment:
    """Compose one experiment; see ``experiments``."""
    agenda = agenda_of(request, name)
    artefact: Artefact = build(agenda.settings.artefact, "artefact")
    _check_names(name, agenda.settings, agenda.scale, artefact.refers_to())
    family = rows_of_paper(request.paper, request.config_dir)
    return Experiment(name, agenda.settings, agenda.scale, agenda.jobs, artefact, family)


@cache
def rows_of_paper(paper: str, config_dir: str | None) -> Mapping[str, Row]:
    """Return the rows of all artefacts of a paper, each as the first artefact that has it describes it."""
    rows: dict[str, Row] = {}
    for name in papers(config_dir)[paper]:
        rows |= {row: facts for row, facts in listing(paper, name, config_dir).rows.items() if row not in rows}
    return rows


def _check_names(name: str, settings: Settings, scale: Mapping[str, Any], needed: Sequence[str]) -> None:
    """Check that all rows that are referred to exist.

    Raises:
        UsageError: A row does not exist.
    """
    rows = settings.rows
    named = [*scale.get("without", []), *scale.get("seeds_of", {}), *scale.get("rows", {})]
    # A pattern, or a role, may be shared by experiments that have no such row.
    named = [row for row in named if row not in ROLES and "*" not in row]
    for row in (*needed, *named, *(row for by_row in settings.published.values() for row in by_row)):
        if row not in rows:
            raise UsageError(f"{name} has no row {row!r}{did_you_mean(row, rows)} (rows: {', '.join(rows)})")


def broken_promises(experiment: Experiment, values: Mapping[tuple[str, str], float | None]) -> Iterator[str]:
    """Yield a sentence for each promise of a scale that our numbers, given by row and metric, break."""
    for row, promises in experiment.scale.get("promises", {}).items():
        for metric, bound in promises.items():
            ours = values.get((row, metric))
            if ours is None or ours > bound:
                shown = "missing" if ours is None else f"{ours:.4g}"
                yield f"{experiment.name} {row} {metric} is {shown}, promised ≤ {bound:g}"


def cost_table(all_experiments: Sequence[Experiment], measured: Sequence[Measured]) -> pd.DataFrame:
    """Return what each row's runs cost: means over seeds, and the sum of skipped updates; equal runs are shown once.

    A training that several rows measure is shown with the first of them.
    """
    rows: dict[tuple[str, ...], tuple[str, str, pd.DataFrame]] = {}
    shown: set[tuple[str, int]] = set()  # trainings by seed
    for one, frames in zip(all_experiments, measured, strict=True):
        for row, jobs in one.jobs.items():
            if not len(frame := frames.frames[row]):
                continue
            trained = {(identity(identity_of_training(one.configurations[row])), job.seed) for job in jobs}
            costs = frame[(frame.split == COST) & ~((frame.metric == "training") & (trained <= shown))]
            shown |= trained
            rows.setdefault(tuple(job.key for job in jobs), (one.name, row, costs))
    names = Counter(row for _, row, _ in rows.values())
    table = []
    for artefact, row, frame in rows.values():
        began = frame[frame.metric == BEGAN].value.min()
        part = frame[frame.metric != BEGAN].pivot_table(index="seed", columns="metric", values="value")
        table.append(
            {
                "row": row if names[row] == 1 else f"{row} ({artefact})",
                "seeds": len(part),
                "weights": part.meta_parameters.mean(),
                "updates or trials": part.updates.mean(),
                **({"updates of its search": part[SEARCH_COST].mean()} if SEARCH_COST in part else {}),
                "skipped updates": part.skipped.sum(),
                **{f"{name}, CPU-s": part[name].mean() if name in part else None for name in OF_ROWS},
                **({"of these reused, CPU-s": part[REUSED].fillna(0.0).mean()} if REUSED in part else {}),
                "began": None if pd.isna(began) else date_of(began)[:16].replace("T", " "),
            }
        )
    return pd.DataFrame(table)


def cpu_minutes(costs: pd.DataFrame) -> dict[str, float]:
    """Return the CPU-minutes of a cost table by activity, summed over rows and seeds."""
    return {name: (costs[f"{name}, CPU-s"].astype(float) * costs.seeds).sum() / 60 for name in OF_ROWS}
