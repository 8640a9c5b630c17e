"""The execution of jobs: one process trains or tunes the seeds of a row, measures them, and writes the measurements."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from l2l_cli.config.build import build
from l2l_cli.config.schema import Settings
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.stop import STOP
from l2l_cli.evaluation.score import Tell
from l2l_cli.learners.base import Learner
from l2l_cli.papers.accounts import USED, costs_of, course_of, spent_on
from l2l_cli.papers.agenda import Job
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.measured import (
    TRIALS,
)
from l2l_cli.results.metrics import Metric
from l2l_cli.results.sealed import write_rows
from l2l_cli.runs.building import build_learner, build_task, is_meta_trained, prepare, store_of
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.progress import ExpectedWork
from l2l_cli.runs.training import expected_updates, train_together
from l2l_cli.runs.tuning import tunable


@dataclass(frozen=True)
class Group:
    """Seeds of one row that one process trains side by side, with a rough number of seconds for it.

    Attributes:
        jobs: Row and seed of each.
        settings: Configuration of each.
        work: Seconds of one core for training, or for tuning.
        scoring: Seconds of one core for the test episodes.
    """

    jobs: tuple[Job, ...]
    settings: tuple[Settings, ...]
    work: float
    scoring: float

    @property
    def name(self) -> str:
        """Row and seeds."""
        seeds = [job.seed for job in self.jobs]
        return f"{self.jobs[0].name} seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


@dataclass(frozen=True)
class Bench:
    """Where the jobs of one reproduction write their results: each job's file of measurements, by key."""

    files: Mapping[str, Path]


@dataclass(frozen=True)
class GroupChain:
    """Groups that one process runs in turn, since they share a training.

    Attributes:
        groups: The groups, the first of which trains.
        bench: Place where they write their results.
    """

    groups: tuple[Group, ...]
    bench: Bench

    @property
    def name(self) -> str:
        """The names of the first groups, and how many more there are."""
        names = list(dict.fromkeys(group.name for group in self.groups))  # artefacts may share a row's name
        return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")

    @property
    def key(self) -> str:
        """Text that distinguishes it from other chains."""
        return json.dumps([job.key for group in self.groups for job in group.jobs])

    @property
    def seconds(self) -> float:
        """Expected seconds on one core, for all groups."""
        return sum(group.work + group.scoring for group in self.groups)

    def __call__(self, tell: Tell) -> None:
        """Run the groups in turn."""
        for group in self.groups:
            STOP.check()
            tell(0.0, f"{group.name}: begins")
            _run_group(group, self.bench, tell)


def _run_group(group: Group, bench: Bench, tell: Tell) -> None:
    """Train or tune seeds of one row, measure each and write the measurements."""
    measure = _train_and_measure if is_meta_trained(group.settings[0]) else _tune_and_measure
    for job, rows in zip(group.jobs, measure(group, bench, tell), strict=True):
        write_rows(bench.files[job.key], rows)


def _train_and_measure(group: Group, bench: Bench, tell: Tell) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed, all trained side by side."""
    settings, name = group.settings, group.jobs[0].name
    training, update = ExpectedWork(tell, name, group.work), group.work / expected_updates(settings[0], len(settings))
    folders = train_together(settings, relay=lambda updates, note: training.tell(updates * update, note))
    training.end()
    for job, one, folder in zip(group.jobs, settings, folders, strict=True):
        learner, mark = load_learner(folder, one, build_task(one), build), LEDGER.mark()
        scoring = ExpectedWork(tell, f"scoring {name}", group.scoring / len(settings))
        rows = _measured(job, one, learner, (lambda share, note: None, _entries(scoring, group, one)))
        scoring.end()
        facts = folder.facts()
        for kind in USED:  # shared by the seeds that were trained side by side
            facts[kind] = {name: seconds / len(group.jobs) for name, seconds in facts.get(kind, {}).items()}
        yield [*rows, *course_of(job, folder), *costs_of(job, facts), *spent_on(job, facts, mark)]


def _tune_and_measure(group: Group, bench: Bench, tell: Tell) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed of a hand-made learner, which is tuned as it is measured."""
    for job, one in zip(group.jobs, group.settings, strict=True):
        began, mark = time.monotonic(), LEDGER.mark()
        prepare(one.hardware)
        tuning = ExpectedWork(tell, f"tuning {job.name}", group.work / len(group.jobs))
        scoring = ExpectedWork(tell, f"scoring {job.name}", group.scoring / len(group.jobs))
        trial = group.work / len(group.jobs) / (len(tunable(one)) * max(1, len(one.evaluation.problems)))
        tells = partial(_told, tuning, trial), _entries(scoring, group, one)
        rows = _measured(job, one, build_learner(one, build_task(one)), tells)
        tuning.end()
        scoring.end()
        tried = sum(row.value for row in rows if row.metric == TRIALS)
        facts = {"updates": tried, "seconds": time.monotonic() - began}
        yield [*rows, *costs_of(job, facts), *spent_on(job, facts, mark)]


def _told(work: ExpectedWork, each: float, share: float, note: str) -> None:
    work.tell(share * each, note)


def _entries(scoring: ExpectedWork, group: Group, settings: Settings) -> Tell:
    """Return the function that is told of the scoring of entries, each of which takes the same share of the time."""
    entries = len(group.jobs) * max(1, len(settings.evaluation.problems))
    return partial(_told, scoring, group.scoring / entries)


def _measured(job: Job, settings: Settings, learner: Learner[Any], tells: tuple[Tell, Tell]) -> list[Metric]:
    """Measure a learner; ``tells`` are told of the trials of its tuning and of the scoring of its entries."""
    paper: Paper = build(job.paper, "paper")
    subject = Subject(job.name, job.row, learner, learner.task, settings, store_of(settings), *tells)
    with LEDGER.of("scoring"):
        return list(paper.measure(subject))
