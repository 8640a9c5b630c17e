"""The runs behind a reproduction: trained and measured in processes side by side, reused when done."""

from __future__ import annotations

import json
import multiprocessing
import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.build import build
from l2l_cli.commands.meta_train import train
from l2l_cli.commands.progress import Reporter
from l2l_cli.config import compose, identity_of
from l2l_cli.results.frame import Metric, MetricsFile
from l2l_cli.results.run import identity
from l2l_cli.runs import open_trained
from l2l_cli.schema import Settings

COST = "run"
"""Contender under which a file of measurements keeps what the run itself cost."""

COSTS = ("updates", "seconds", "skipped", "meta_parameters")


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


def run_jobs(jobs: Sequence[Job], rows: Path, root: Path, processes: int, title: str) -> dict[str, Path]:
    """Train and measure every job; return the file of measurements of each, by key.

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
    open_jobs = [job for job in jobs if not files[job.key].exists()]
    if not open_jobs:
        return files
    updates = {job.key: settings[job.key].meta.updates for job in open_jobs}
    # The longest first, or the last one would run alone.
    open_jobs.sort(key=lambda job: -updates[job.key] * int(settings[job.key].task.get("length", 1)))
    with multiprocessing.Manager() as manager:
        news: Any = manager.Queue()
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(min(processes, len(open_jobs)), context) as pool,
            Reporter(f"{title}: {len(open_jobs)} runs", sum(updates.values())) as reporter,
        ):
            futures = {pool.submit(_run_job, job, root, files[job.key], news): job for job in open_jobs}
            try:
                _watch(futures, news, reporter)
            finally:
                # After a failure or Ctrl-C nothing new is begun; after success nothing is left.
                pool.shutdown(wait=True, cancel_futures=True)
    return files


def _watch(futures: dict[Future[None], Job], news: Any, reporter: Reporter) -> None:
    """Show progress until all jobs are done; raise the first failure."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
        with suppress(queue.Empty):
            while True:
                steps, note = news.get_nowait()
                reporter.advance(note, steps)
        for future in done:
            future.result()
            job = futures[future]
            reporter.say(f"done: {job.row} seed {job.seed}")


def _file_name(job: Job, settings: Settings) -> str:
    config = identity_of(settings, "learner", "optimizer", "gradient", "meta", "evaluation")
    return f"{job.row}-seed{job.seed}-{identity(config)}.csv"


def _run_job(job: Job, root: Path, file: Path, news: Any) -> None:
    """Train one run, measure it and write the measurements; called in a process of its own."""
    settings = job.settings(root)
    folder = train(settings, relay=lambda steps, note: news.put((steps, f"{job.row} {note}")))
    trained = open_trained(folder, settings)
    paper = build(job.paper, "paper")
    partial = file.with_suffix(".part")
    partial.unlink(missing_ok=True)
    facts = folder.facts()
    cost = [Metric(COST, job.seed, "all", 0, "meta_train", name, float(facts[name])) for name in COSTS]
    MetricsFile(partial).append([*paper.measure(job.row, trained), *cost])
    partial.replace(file)


def cost_table(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what each row's runs cost: means over seeds, skipped updates in sum."""
    table = []
    for row, frame in rows.items():
        part = frame[frame.contender == COST].pivot_table(index="seed", columns="metric", values="value")
        table.append(
            {
                "row": row,
                "seeds": len(part),
                "weights": part.meta_parameters.mean(),
                "updates": part.updates.mean(),
                "seconds a seed": part.seconds.mean(),
                "skipped updates": part.skipped.sum(),
            }
        )
    return pd.DataFrame(table)
