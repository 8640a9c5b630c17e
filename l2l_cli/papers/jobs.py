"""The runs behind a reproduction, in processes side by side; reused when done."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from l2l_cli.config.compose import identity_of, identity_of_training
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import RunFailed
from l2l_cli.papers.agenda import Job
from l2l_cli.papers.measuring import Bench, Group, run_chain
from l2l_cli.results.run import identity
from l2l_cli.runs.building import build_learner, build_task, is_meta_trained, store_of
from l2l_cli.runs.contenders import problems_of
from l2l_cli.runs.progress import Reporter
from l2l_cli.runs.training import expected_seconds, side_by_side
from l2l_cli.runs.tuning import tunable

MEASURED = ("learner", "tune", "evaluation")
"""What decides the measurements of a hand-made learner, beside its task."""


def run_jobs(jobs: Sequence[Job], folder: Path, root: Path, processes: int, title: str) -> dict[str, Path]:
    """Train or tune, and measure, every distinct job; return the file of measurements of each, by key.

    Measurements are kept under the report's ``folder``, the runs under ``root``; so many processes work side by side.
    """
    rows = folder / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    settings = {job.key: job.settings(root) for job in jobs}
    files = {job.key: rows / _file_name(job, settings[job.key]) for job in jobs}
    groups = _groups([job for job in jobs if not files[job.key].exists()], settings)
    if not groups:
        return files
    chains, bench = _chains(groups, settings), Bench(files)
    with multiprocessing.Manager() as manager:
        news: Any = manager.Queue()
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(min(processes, len(chains)), context) as pool,
            Reporter(title, sum(group.work + group.scoring for chain in chains for group in chain)) as reporter,
        ):
            futures = {pool.submit(run_chain, chain, bench, news): chain for chain in chains}
            try:
                _watch(futures, news, reporter)
            finally:
                # After a failure or Ctrl-C nothing new is begun; after success nothing is left.
                pool.shutdown(wait=True, cancel_futures=True)
    store_of(settings[jobs[0].key]).prune()
    return files


def _groups(jobs: Sequence[Job], settings: Mapping[str, Settings]) -> list[Group]:
    """Put seeds of one row together, as many as can be trained side by side."""
    rows: dict[tuple[str, tuple[str, ...]], list[Job]] = {}
    for job in jobs:
        rows.setdefault((job.name, job.overrides), []).append(job)
    groups = []
    for row in rows.values():
        one = settings[row[0].key]
        size, work = (side_by_side(one), expected_seconds(one)) if is_meta_trained(one) else (1, _seconds_to_tune(one))
        scoring = len(one.evaluation.seeds) * _seconds(one, one.evaluation.episodes)
        for start in range(0, len(row), size):
            part = row[start : start + size]
            groups.append(Group(tuple(part), tuple(settings[job.key] for job in part), work, scoring * len(part)))
    return groups


def _chains(groups: Sequence[Group], settings: Mapping[str, Settings]) -> list[list[Group]]:
    """Put groups that share a training into one chain, which one process runs in turn; the longest chain first."""
    chains: dict[str, list[Group]] = {}
    for group in groups:
        key = group.jobs[0].key
        if is_meta_trained(settings[key]):
            key = identity(identity_of_training(settings[key]))
        chain = chains.setdefault(key, [])
        chain.append(replace(group, work=0.0) if chain else group)  # trained by the first
    # The last one would run alone.
    return sorted(chains.values(), key=lambda chain: -sum(group.work + group.scoring for group in chain))


def _watch(futures: dict[Future[None], list[Group]], news: Any, reporter: Reporter) -> None:
    """Show progress until all jobs are done; raise the first failure.

    Raises:
        RunFailed: The system ended a process, so that there is no exception of its own to raise.
    """
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
        with suppress(queue.Empty):
            while True:
                share, note = news.get_nowait()
                reporter.advance(note, share)
        for future in done:
            try:
                future.result()
            except BrokenProcessPool as error:
                names = ", ".join(group.name for group in futures[future])
                raise RunFailed(
                    f"the system ended a process while {names} ran or waited, most likely for want of memory; "
                    "the same command goes on from what is saved, and --processes 1 needs less memory"
                ) from error
            for group in futures[future]:
                reporter.say(f"done: {group.name}")


def _file_name(job: Job, settings: Settings) -> str:
    trained = is_meta_trained(settings)
    config = identity_of_training(settings, "evaluation", "tune") if trained else identity_of(settings, *MEASURED)
    return f"{job.name}-seed{job.seed}-{identity(config | {'row': job.facts, 'paper': job.paper})}.csv"


def _seconds_to_tune(settings: Settings) -> float:
    """Return about how long tuning on every problem takes on one core; for the order of runs and the time left."""
    trials = len(tunable(settings))
    return trials * _seconds(settings, settings.tune.episodes) if trials > 1 else 0.0


def _seconds(settings: Settings, episodes: int) -> float:
    """Return about how long a learner takes for episodes of every problem, of longer ones for as many fewer."""
    seconds = 0.0
    for problem in problems_of(settings, build_task(settings).horizon):
        learner = build_learner(settings, problem.task)
        seconds += problem.steps * learner.step_seconds(round(episodes * problem.plan.share))
    return seconds
