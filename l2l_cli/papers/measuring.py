"""Jobs at work: the seeds of one row trained or tuned, measured, and written down, in one process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.config.schema import Row, Settings
from l2l_cli.evaluation.contest import ScoreStore
from l2l_cli.evaluation.tune import Trial
from l2l_cli.learners.base import Learner
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.measured import COST, COSTS, TRIALS
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.runs.building import build_learner, build_task, is_meta_trained, prepare
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.training import expected_updates, train_together
from l2l_cli.runs.tuning import tunable

SEARCH_COST = "search_updates"
"""Known of a run that searched for its settings; the seconds include them."""


@dataclass(frozen=True)
class Job:
    """One row of an experiment for one seed.

    Attributes:
        paper: Node of the class that measures it.
        name: Name of the row.
        row: What the row says of itself.
        seed: Seed of everything that is drawn.
        overrides: Overrides that make the run's configuration.
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
        """What the row says of itself, beside its overrides."""
        return {name: value for name, value in asdict(self.row).items() if name != "use"}

    @property
    def key(self) -> str:
        """Text that two jobs share only if they are the same."""
        return json.dumps([self.paper, self.name, self.facts, self.seed, self.overrides])

    def settings(self, root: Path) -> Settings:
        """Compose the run's configuration."""
        return compose("meta-train", [*self.overrides, f"seed={self.seed}", f"output={root}"], self.config_dir)


@dataclass(frozen=True)
class Group:
    """Seeds of one row that one process trains side by side, and about how many seconds that takes."""

    jobs: tuple[Job, ...]
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
        root: Folder under which the runs are kept.
        scores: Folder of the scores.
        files: File of measurements of each job, by key.
    """

    root: Path
    scores: Path
    files: Mapping[str, Path]


def run_chain(chain: Sequence[Group], bench: Bench, news: Any) -> None:
    """Run groups in turn; called in a process of its own."""
    for group in chain:
        _run_group(group, bench, news)


def _run_group(group: Group, bench: Bench, news: Any) -> None:
    """Train or tune seeds of one row, measure each and write the measurements."""
    settings = [job.settings(bench.root) for job in group.jobs]
    measure = _train_and_measure if is_meta_trained(settings[0]) else _tune_and_measure
    for job, rows in zip(group.jobs, measure(group, settings, bench, news), strict=True):
        file = bench.files[job.key]
        partial = file.with_suffix(".part")
        partial.unlink(missing_ok=True)
        MetricsFile(partial).append(rows)
        partial.replace(file)


def _train_and_measure(group: Group, settings: Sequence[Settings], bench: Bench, news: Any) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed, all trained side by side."""
    share = group.work / expected_updates(settings[0], len(settings))

    def relay(updates: float, note: str) -> None:
        news.put((updates * share, f"{group.jobs[0].name} {note}"))

    for job, one, folder in zip(group.jobs, settings, train_together(settings, relay=relay), strict=True):
        learner = load_learner(folder, one, build_task(one), build)
        yield [*_measured(job, one, bench, learner, lambda trial: None), *_costs(job, folder.facts())]


def _tune_and_measure(group: Group, settings: Sequence[Settings], bench: Bench, news: Any) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed of a hand-made learner, which is tuned as it is measured."""
    for job, one in zip(group.jobs, settings, strict=True):
        began = time.monotonic()
        prepare(one.hardware)
        trials = len(tunable(one)) * max(1, len(one.evaluation.problems))

        def tell(trial: Trial, share: float = group.work / len(settings) / trials) -> None:
            news.put((share, f"{group.jobs[0].name} tuned: loss {trial.loss:.4g}"))

        rows = _measured(job, one, bench, build_learner(one, build_task(one)), tell)
        tried = sum(row.value for row in rows if row.metric == TRIALS)
        yield [*rows, *_costs(job, {"updates": tried, "seconds": time.monotonic() - began})]


def _measured(
    job: Job, settings: Settings, bench: Bench, learner: Learner[Any], tell: Callable[[Trial], None]
) -> list[Metric]:
    paper: Paper = build(job.paper, "paper")
    store = ScoreStore(bench.scores)
    return list(paper.measure(Subject(job.name, job.row, learner, learner.task, settings, store, tell)))


def _costs(job: Job, facts: Mapping[str, Any]) -> list[Metric]:
    known = [*COSTS, *(name for name in [SEARCH_COST] if name in facts)]
    return [Metric(job.name, job.seed, name, float(facts.get(name, 0)), split=COST) for name in known]
