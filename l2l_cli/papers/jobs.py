"""The runs behind a reproduction: trained or tuned, and measured, in processes side by side; reused when done."""

from __future__ import annotations

import json
import multiprocessing
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose, identity_of, identity_of_training
from l2l_cli.config.schema import Row, Settings
from l2l_cli.evaluation.contest import ScoreStore
from l2l_cli.evaluation.tune import Trial
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.measured import COST, COSTS, TRIALS
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.run import identity
from l2l_cli.runs.building import build_learner, build_task, prepare
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.progress import Reporter
from l2l_cli.runs.training import expected_seconds, expected_updates, side_by_side, train_together, training_of
from l2l_cli.runs.tuning import tunable

MEASURED = ("learner", "tune", "evaluation")
"""What decides the measurements of a hand-made learner, beside its task."""

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


def run_jobs(jobs: Sequence[Job], folder: Path, root: Path, processes: int, title: str) -> dict[str, Path]:
    """Train or tune, and measure, every job; return the file of measurements of each, by key.

    Args:
        jobs: Distinct jobs.
        folder: Folder of the report, under which the measurements are kept.
        root: Folder under which the runs are kept.
        processes: Number of processes side by side.
        title: Title of the progress bar.
    """
    rows = folder / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    settings = {job.key: job.settings(root) for job in jobs}
    files = {job.key: rows / _file_name(job, settings[job.key]) for job in jobs}
    groups = _groups([job for job in jobs if not files[job.key].exists()], settings)
    if not groups:
        return files
    chains, bench = _chains(groups, settings), Bench(root, folder / "scores", files)
    with multiprocessing.Manager() as manager:
        news: Any = manager.Queue()
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(min(processes, len(chains)), context) as pool,
            Reporter(title, sum(group.work for chain in chains for group in chain)) as reporter,
        ):
            futures = {pool.submit(_run_chain, chain, bench, news): chain for chain in chains}
            try:
                _watch(futures, news, reporter)
            finally:
                # After a failure or Ctrl-C nothing new is begun; after success nothing is left.
                pool.shutdown(wait=True, cancel_futures=True)
    return files


def _groups(jobs: Sequence[Job], settings: Mapping[str, Settings]) -> list[Group]:
    """Put seeds of one row together, as many as can be trained side by side."""
    rows: dict[tuple[str, tuple[str, ...]], list[Job]] = {}
    for job in jobs:
        rows.setdefault((job.name, job.overrides), []).append(job)
    groups = []
    for row in rows.values():
        one = settings[row[0].key]
        size, work = (side_by_side(one), expected_seconds(one)) if _is_trained(one) else (1, _seconds_to_tune(one))
        groups += [Group(tuple(row[start : start + size]), work) for start in range(0, len(row), size)]
    return groups


def _chains(groups: Sequence[Group], settings: Mapping[str, Settings]) -> list[list[Group]]:
    """Put groups that share a training into one chain, which one process runs in turn; the longest chain first."""
    chains: dict[str, list[Group]] = {}
    for group in groups:
        key = group.jobs[0].key
        if _is_trained(settings[key]):
            key = identity(training_of(settings[key]))
        chain = chains.setdefault(key, [])
        chain.append(replace(group, work=0.0) if chain else group)  # trained by the first
    # The last one would run alone.
    return sorted(chains.values(), key=lambda chain: -chain[0].work)


def _watch(futures: dict[Future[None], list[Group]], news: Any, reporter: Reporter) -> None:
    """Show progress until all jobs are done; raise the first failure."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
        with suppress(queue.Empty):
            while True:
                share, note = news.get_nowait()
                reporter.advance(note, share)
        for future in done:
            future.result()
            for group in futures[future]:
                reporter.say(f"done: {group.name}")


def _file_name(job: Job, settings: Settings) -> str:
    trained = _is_trained(settings)
    config = identity_of_training(settings, "evaluation", "tune") if trained else identity_of(settings, *MEASURED)
    return f"{job.name}-seed{job.seed}-{identity(config | {'row': job.facts})}.csv"


def _is_trained(settings: Settings) -> bool:
    """Say whether a configuration's learner has a φ to train."""
    return build_learner(settings, build_task(settings)).is_meta_trained


def _seconds_to_tune(settings: Settings) -> float:
    """Return about how long tuning on every problem takes on one core; for the order of runs and the time left."""
    task, plan = build_task(settings), settings.tune
    steps = len(tunable(settings)) * max(1, len(settings.evaluation.problems)) * task.horizon
    return steps * (3e-4 + plan.episodes * task.model.size * task.spec.examples * 6e-10)


def _run_chain(chain: Sequence[Group], bench: Bench, news: Any) -> None:
    """Run groups in turn; called in a process of its own."""
    for group in chain:
        _run_group(group, bench, news)


def _run_group(group: Group, bench: Bench, news: Any) -> None:
    """Train or tune seeds of one row, measure each and write the measurements."""
    settings = [job.settings(bench.root) for job in group.jobs]
    measure = _train_and_measure if _is_trained(settings[0]) else _tune_and_measure
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
        task = build_task(one)
        learner = load_learner(folder, one, task, [])
        subject = Subject(job.name, job.row, learner, task, one, ScoreStore(bench.scores))
        yield [*_paper(job).measure(subject), *_costs(job, folder.facts())]


def _tune_and_measure(group: Group, settings: Sequence[Settings], bench: Bench, news: Any) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed of a hand-made learner, which is tuned as it is measured."""
    for job, one in zip(group.jobs, settings, strict=True):
        began = time.monotonic()
        prepare(one.hardware)
        trials = len(tunable(one)) * max(1, len(one.evaluation.problems))

        def tell(trial: Trial, share: float = group.work / len(settings) / trials) -> None:
            news.put((share, f"{group.jobs[0].name} tuned: loss {trial.loss:.4g}"))

        task = build_task(one)
        subject = Subject(job.name, job.row, build_learner(one, task), task, one, ScoreStore(bench.scores), tell)
        rows = list(_paper(job).measure(subject))
        tried = sum(row.value for row in rows if row.metric == TRIALS)
        yield [*rows, *_costs(job, {"updates": tried, "seconds": time.monotonic() - began})]


def _paper(job: Job) -> Paper:
    paper: Paper = build(job.paper, "paper")
    return paper


def _costs(job: Job, facts: Mapping[str, Any]) -> list[Metric]:
    known = [*COSTS, *(name for name in [SEARCH_COST] if name in facts)]
    return [Metric(job.name, job.seed, name, float(facts.get(name, 0)), split=COST) for name in known]
