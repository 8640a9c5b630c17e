"""The runs behind a reproduction: trained or tuned, and measured, in processes side by side; reused when done."""

from __future__ import annotations

import json
import multiprocessing
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose, identity_of, identity_of_training
from l2l_cli.config.schema import Settings
from l2l_cli.evaluation.tune import Trial
from l2l_cli.papers.base import TRIALS, Paper
from l2l_cli.results.frame import Metric, MetricsFile
from l2l_cli.results.run import identity
from l2l_cli.runs.building import build_learner, build_task, prepare
from l2l_cli.runs.loading import open_trained, untrained
from l2l_cli.runs.progress import Reporter
from l2l_cli.runs.training import expected_seconds, expected_updates, side_by_side, train_together, training_of
from l2l_cli.runs.tuning import tunable

COST = "run"
"""Contender under which a file of measurements keeps what the run itself cost."""

COSTS = ("updates", "seconds", "skipped", "meta_parameters")
"""Updates of φ, or the trials of tuning where there is none."""

MEASURED = ("learner", "tune", "evaluation")
"""What decides the measurements of a hand-made learner, beside its task."""

SEARCH_COST = "search_updates"
"""Known of a run that searched for its settings; the seconds include them."""


@dataclass(frozen=True)
class Job:
    """One row of a table for one seed.

    Attributes:
        paper: Node of the class that measures it.
        row: Name in the table.
        seed: Of everything drawn.
        overrides: That make the run's configuration.
        config_dir: A folder with further configuration.
    """

    paper: dict[str, Any]
    row: str
    seed: int
    overrides: tuple[str, ...]
    config_dir: str | None

    @property
    def key(self) -> str:
        """What tells jobs apart."""
        return json.dumps([self.row, self.seed, self.overrides])

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
        return f"{self.jobs[0].row} seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def run_jobs(jobs: Sequence[Job], rows: Path, root: Path, processes: int, title: str) -> dict[str, Path]:
    """Train or tune, and measure, every job; return the file of measurements of each, by key.

    Args:
        jobs: Distinct ones.
        rows: Folder of the measurements.
        root: Folder under which the runs are kept.
        processes: Side by side.
        title: Of the progress bar.
    """
    rows.mkdir(parents=True, exist_ok=True)
    settings = {job.key: job.settings(root) for job in jobs}
    files = {job.key: rows / _file_name(job, settings[job.key]) for job in jobs}
    groups = _groups([job for job in jobs if not files[job.key].exists()], settings)
    if not groups:
        return files
    chains = _chains(groups, settings)
    with multiprocessing.Manager() as manager:
        news: Any = manager.Queue()
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(min(processes, len(chains)), context) as pool,
            Reporter(title, sum(group.work for chain in chains for group in chain)) as reporter,
        ):
            futures = {pool.submit(_run_chain, chain, root, files, news): chain for chain in chains}
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
        rows.setdefault((job.row, job.overrides), []).append(job)
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
    return f"{job.row}-seed{job.seed}-{identity(config)}.csv"


def _is_trained(settings: Settings) -> bool:
    """Say whether a configuration's learner has a φ to train."""
    return build_learner(settings, build_task(settings)).is_meta_trained


def _seconds_to_tune(settings: Settings) -> float:
    """Return about how long tuning on every problem takes on one core; for the order of runs and the time left."""
    task, plan = build_task(settings), settings.tune
    steps = len(tunable(settings)) * max(1, len(settings.evaluation.problems)) * task.horizon
    return steps * (3e-4 + plan.episodes * task.model.size * task.spec.examples * 6e-10)


def _run_chain(chain: Sequence[Group], root: Path, files: Mapping[str, Path], news: Any) -> None:
    """Run groups in turn; called in a process of its own."""
    for group in chain:
        _run_group(group, root, files, news)


def _run_group(group: Group, root: Path, files: Mapping[str, Path], news: Any) -> None:
    """Train or tune seeds of one row, measure each and write the measurements."""
    settings = [job.settings(root) for job in group.jobs]
    write = _train_and_measure if _is_trained(settings[0]) else _tune_and_measure
    for job, rows in zip(group.jobs, write(group, settings, news), strict=True):
        partial = files[job.key].with_suffix(".part")
        partial.unlink(missing_ok=True)
        MetricsFile(partial).append(rows)
        partial.replace(files[job.key])


def _train_and_measure(group: Group, settings: Sequence[Settings], news: Any) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed, all trained side by side."""
    share = group.work / expected_updates(settings[0], len(settings))

    def relay(updates: float, note: str) -> None:
        news.put((updates * share, f"{group.jobs[0].row} {note}"))

    for job, one, folder in zip(group.jobs, settings, train_together(settings, relay=relay), strict=True):
        paper: Paper = build(job.paper, "paper")
        facts = folder.facts()
        yield [*paper.measure(job.row, open_trained(folder, one)), *_costs(job.seed, facts)]


def _tune_and_measure(group: Group, settings: Sequence[Settings], news: Any) -> Iterator[list[Metric]]:
    """Yield the measurements of each seed of a hand-made learner, which is tuned as it is measured."""
    for job, one in zip(group.jobs, settings, strict=True):
        began = time.monotonic()
        prepare(one.hardware)
        trials = len(tunable(one)) * max(1, len(one.evaluation.problems))

        def tell(trial: Trial, share: float = group.work / len(settings) / trials) -> None:
            news.put((share, f"{group.jobs[0].row} tuned: loss {trial.loss:.4g}"))

        paper: Paper = build(job.paper, "paper")
        rows = paper.measure(job.row, untrained(one, tell))
        tried = sum(row.value for row in rows if row.metric == TRIALS)
        yield [*rows, *_costs(job.seed, {"updates": tried, "seconds": time.monotonic() - began})]


def _costs(seed: int, facts: Mapping[str, Any]) -> list[Metric]:
    known = [*COSTS, *(name for name in [SEARCH_COST] if name in facts)]
    return [Metric(COST, seed, "all", 0, "meta_train", name, float(facts.get(name, 0))) for name in known]


def cost_table(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what each row's runs cost: means over seeds, skipped updates in sum."""
    table = []
    for row, frame in rows.items():
        if not len(frame):  # left out at this scale
            continue
        part = frame[frame.contender == COST].pivot_table(index="seed", columns="metric", values="value")
        table.append(
            {
                "row": row,
                "seeds": len(part),
                "weights": part.meta_parameters.mean(),
                "updates or trials": part.updates.mean(),
                **({"updates of its search": part[SEARCH_COST].mean()} if SEARCH_COST in part else {}),
                "seconds a run": part.seconds.mean(),
                "skipped updates": part.skipped.sum(),
            }
        )
    return pd.DataFrame(table)
