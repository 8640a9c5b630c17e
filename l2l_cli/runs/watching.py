"""Work in progress below a folder, from its files alone: runs, sweeps and jobs of a cluster; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from l2l_cli.core.errors import L2LError
from l2l_cli.core.layout import CLUSTER, PROGRESS, SWEEPS
from l2l_cli.core.locks import is_locked
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.results.index import ON_CLUSTER
from l2l_cli.results.listing import ListedRun
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import METRICS
from l2l_cli.results.sweeps import AT_WORK, STARTER, read_jobs
from l2l_cli.runs.cluster import standings_of
from l2l_cli.runs.progress_files import stands_of

GOING = ("running", ON_CLUSTER)
"""States of work in progress."""

TO_COME = ("waiting", "running")
"""States of jobs that have not ended."""


class Watched(NamedTuple):
    """A run, a sweep or a job in progress.

    Attributes:
        name: Its folder, or the name of a job's work.
        state: One of ``GOING``.
        share: Share of its work that is done; None if unknown.
        note: What it is working on.
    """

    name: str
    state: str
    share: float | None
    note: str


def going_on(runs: Iterable[ListedRun], roots: Sequence[Path]) -> list[Watched]:
    """Return the runs in progress among those given, and the sweeps and jobs in progress in some output folders."""
    found = [one for run in runs if run.state in GOING and (one := _watched(run))]
    for root in roots:
        found += [*_sweeps(root / SWEEPS), *_jobs(root / CLUSTER, str(root / CLUSTER))]
    return found


def progress_of(run: ListedRun) -> tuple[float | None, str]:
    """Return the share of a run's work that is done, None if unknown, and what it is working on."""
    if run.command == "meta-train":
        return _of_training(run)
    paths = {path.stem: path for path in sorted((run.path / PROGRESS).glob("*.json"))}
    try:
        stands = stands_of(paths).values()
    except L2LError as error:
        return None, in_one_line(error)
    if not stands:
        return None, ""
    counts = Counter(stand.state for stand in stands)
    latest = max(stands, key=lambda stand: stand.when)
    total = sum(stand.total for stand in stands)
    done = sum(stand.total if stand.state == "done" else stand.done for stand in stands)
    # Pieces that have not begun have no file yet, so this is the share of those that have begun.
    return None if not total else min(1.0, done / total), f"{_counted(counts)} of those begun · {latest.note}"


def _watched(run: ListedRun) -> Watched | None:
    """Return where a run stands; None if it was left to jobs of a cluster, all of which have ended."""
    if run.state == ON_CLUSTER:
        jobs = list(standings_of(run.path).values())
        if not any(job.state in TO_COME for job in jobs):
            return None
        done = sum(job.state == "done" for job in jobs)
        return Watched(str(run.path), run.state, done / len(jobs), _counted(Counter(job.state for job in jobs)))
    return Watched(str(run.path), run.state, *progress_of(run))


def _of_training(run: ListedRun) -> tuple[float | None, str]:
    """Return the progress of a meta-training at its last validation."""
    plan = run.config.get("meta")
    updates = plan.get("updates") if isinstance(plan, dict) else None
    try:
        rows = [row for row in MetricsFile(run.path / METRICS).latest() if row.split == "meta_valid"]
    except (L2LError, OSError) as error:
        return None, in_one_line(error)
    if not rows or not isinstance(updates, int):
        return None, "before its first validation"
    loss = next(row for row in reversed(rows) if row.metric == "mean_loss" or row is rows[0])
    return rows[-1].step / updates, f"validation at update {loss.step} of {updates}: {loss.value:.4g}"


def _sweeps(folder: Path) -> list[Watched]:
    """Return the sweeps whose own process is alive."""
    found = []
    for starter in sorted(folder.glob(f"*/{AT_WORK}*/{STARTER}")):
        sweep = starter.parent.parent
        try:
            if not is_locked(starter):
                continue
            counts = Counter(job.status for job in read_jobs(sweep))
        except (L2LError, OSError) as error:  # including one that ends at this moment
            found.append(Watched(str(sweep), "running", None, in_one_line(error)))
            continue
        found.append(Watched(str(sweep), "running", None, f"jobs begun: {_counted(counts)}"))
    return found


def _jobs(folder: Path, name: str) -> list[Watched]:
    """Return a line for the jobs submitted from a folder, if some have not ended, and one for each that is running."""
    jobs = list(standings_of(folder).values())
    if not any(job.state in TO_COME for job in jobs):
        return []
    counts = Counter(job.state for job in jobs)
    running = [Watched(job.name, "running", None, job.note) for job in jobs if job.state == "running"]
    return [Watched(name, ON_CLUSTER, counts["done"] / len(jobs), _counted(counts)), *running]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "nothing yet"
