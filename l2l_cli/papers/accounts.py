"""What is kept of a row's runs besides its measurements: the course of the training, the costs and the origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from l2l_cli.core.ledger import ACTIVITIES, LEDGER, Mark
from l2l_cli.papers.agenda import Job
from l2l_cli.papers.measured import BEGAN, COMMIT, COST, COSTS, MACHINE, REUSED, SELECTED, TRAINING, VALIDATION
from l2l_cli.results.course import losses_of
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.provenance import commit, machine
from l2l_cli.results.run import METRICS, RunFolder

SEARCH_COST = "search_updates"
"""Number of updates of a run's search for its settings, if it had one; its seconds include the search."""


USED = ("cpu_seconds", "reused_cpu_seconds")
"""Entries of run.json, by activity: CPU-seconds spent, and CPU-seconds that results found in the store once took."""


def course_of(job: Job, folder: RunFolder) -> Iterator[Metric]:
    """Yield the validation losses of a training, and the number of updates of the weights that were kept."""
    facts, row = folder.facts(), Metric(job.name, job.seed, VALIDATION, 0.0, statistic="mean", split=TRAINING)
    losses = losses_of(MetricsFile(folder.path / METRICS).rows(), facts["criterion"])
    yield from (row._replace(value=loss, step=step) for step, loss in losses.items())
    if (kept := facts.get("selected")) is not None:
        yield row._replace(metric=SELECTED, value=float(kept), statistic="")


def costs_of(job: Job, facts: Mapping[str, Any]) -> list[Metric]:
    """Return what a run cost, and where and by which commit it was made."""
    known = [*COSTS, *(name for name in [SEARCH_COST] if name in facts)]
    origin = {COMMIT: commit() or "", MACHINE: machine()}
    said = [Metric(job.name, job.seed, name, 0.0, split=COST, part=text) for name, text in origin.items()]
    return [*said, *(Metric(job.name, job.seed, name, float(facts.get(name, 0)), split=COST) for name in known)]


def spent_on(job: Job, facts: Mapping[str, Any], mark: Mark) -> Iterator[Metric]:
    """Yield the CPU-seconds of each activity, and when it began; those of the training in ``facts`` are included.

    Results that were found in the store count with what they once took, the sum of which is yielded, too.
    """
    spent, row = LEDGER.since(mark), Metric(job.name, job.seed, "", 0.0, split=COST)
    parts, began = [*(facts.get(kind, {}) for kind in USED), spent.seconds, spent.reused], facts.get("began", {})
    for activity in ACTIVITIES:
        if any(activity in part for part in parts):
            first = datetime.fromisoformat(began[activity]).timestamp() if activity in began else spent.began[activity]
            yield row._replace(metric=activity, value=sum(part.get(activity, 0.0) for part in parts))
            yield row._replace(metric=BEGAN, value=first, part=activity)
    if reused := sum([*parts[1].values(), *spent.reused.values()]):
        yield row._replace(metric=REUSED, value=reused)
