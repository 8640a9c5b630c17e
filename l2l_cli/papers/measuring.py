"""Jobs at work: the seeds of one row trained or tuned, measured, and written down, in one process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from l2l_cli.config.build import build
from l2l_cli.config.schema import Settings
from l2l_cli.core.ledger import ACTIVITIES, LEDGER, Mark
from l2l_cli.evaluation.contest import ScoreStore
from l2l_cli.evaluation.score import Tell
from l2l_cli.learners.base import Learner
from l2l_cli.papers.agenda import Job
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.measured import BEGAN, COST, COSTS, TRIALS
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.runs.building import build_learner, build_task, is_meta_trained, prepare
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.training import expected_updates, train_together
from l2l_cli.runs.tuning import tunable

SEARCH_COST = "search_updates"
"""Known of a run that searched for its settings; the seconds include them."""


@dataclass(frozen=True)
class Group:
    """Seeds of one row that one process trains side by side, and about how many seconds that takes.

    Attributes:
        jobs: Row and seed of each.
        settings: Configuration of each.
        work: Seconds of one core.
    """

    jobs: tuple[Job, ...]
    settings: tuple[Settings, ...]
    work: float

    @property
    def name(self) -> str:
        """Row and seeds."""
        seeds = [job.seed for job in self.jobs]
        return f"{self.jobs[0].name} seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


@dataclass(frozen=True)
class Bench:
    """Where the jobs of one reproduction put what they make.

    Attributes:
        scores: Folder of the scores.
        files: File of measurements of each job, by key.
    """

    scores: Path
    files: Mapping[str, Path]


def run_chain(chain: Sequence[Group], bench: Bench, news: Any) -> None:
    """Run groups in turn; called in a process of its own."""
    for group in chain:
        _run_group(group, bench, news)


def _run_group(group: Group, bench: Bench, news: Any) -> None:
    """Train or tune seeds of one row, measure each and write the measurements."""
    measure = _train_and_measure if is_meta_trained(group.settings[0]) else _tune_and_measure
    for job, rows in zip(group.jobs, measure(group, bench, news), strict=True):
        file = bench.files[job.key]
        partial = file.with_suffix(".part")
        partial.unlink(missing_ok=True)
        MetricsFile(partial).append(rows)
        partial.replace(file)


def _train_and_measure(group: Group, bench: Bench, news: Any) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed, all trained side by side."""
    settings = group.settings
    share = group.work / expected_updates(settings[0], len(settings))

    def relay(updates: float, note: str) -> None:
        news.put((updates * share, f"{group.jobs[0].name} {note}"))

    for job, one, folder in zip(group.jobs, settings, train_together(settings, relay=relay), strict=True):
        learner, mark = load_learner(folder, one, build_task(one), build), LEDGER.mark()
        rows = _measured(job, one, bench, learner, lambda share, note: None)
        facts = folder.facts()
        for activity, seconds in facts.get("cpu_seconds", {}).items():  # which seeds side by side have in common
            facts["cpu_seconds"][activity] = seconds / len(group.jobs)
        yield [*rows, *_costs(job, facts), *_spent(job, facts, mark)]


def _tune_and_measure(group: Group, bench: Bench, news: Any) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed of a hand-made learner, which is tuned as it is measured."""
    for job, one in zip(group.jobs, group.settings, strict=True):
        began, mark = time.monotonic(), LEDGER.mark()
        prepare(one.hardware)
        trials = len(tunable(one)) * max(1, len(one.evaluation.problems))

        def tell(share: float, note: str, each: float = group.work / len(group.jobs) / trials) -> None:
            news.put((share * each, f"{group.jobs[0].name}: {note}"))

        rows = _measured(job, one, bench, build_learner(one, build_task(one)), tell)
        tried = sum(row.value for row in rows if row.metric == TRIALS)
        facts = {"updates": tried, "seconds": time.monotonic() - began}
        yield [*rows, *_costs(job, facts), *_spent(job, facts, mark)]


def _measured(job: Job, settings: Settings, bench: Bench, learner: Learner[Any], tell: Tell) -> list[Metric]:
    paper: Paper = build(job.paper, "paper")
    store = ScoreStore(bench.scores)
    with LEDGER.of("scoring"):
        return list(paper.measure(Subject(job.name, job.row, learner, learner.task, settings, store, tell)))


def _costs(job: Job, facts: Mapping[str, Any]) -> list[Metric]:
    known = [*COSTS, *(name for name in [SEARCH_COST] if name in facts)]
    return [Metric(job.name, job.seed, name, float(facts.get(name, 0)), split=COST) for name in known]


def _spent(job: Job, facts: Mapping[str, Any], mark: Mark) -> Iterator[Metric]:
    """Yield the CPU-seconds of each activity, those of the training in ``facts`` included, and when it began."""
    spent, row = LEDGER.since(mark), Metric(job.name, job.seed, "", 0.0, split=COST)
    before, began = facts.get("cpu_seconds", {}), facts.get("began", {})
    for activity in ACTIVITIES:
        if activity in before or activity in spent.seconds:
            seconds = before.get(activity, 0.0) + spent.seconds.get(activity, 0.0)
            first = datetime.fromisoformat(began[activity]).timestamp() if activity in began else spent.began[activity]
            yield row._replace(metric=activity, value=seconds)
            yield row._replace(metric=BEGAN, value=first, part=activity)
