"""The results of a sweep's jobs: one file per job, and one table of all of them; no torch."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter
from rich.text import Text

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line, parsed_json, read_text
from l2l_cli.core.printable import counted, printable
from l2l_cli.results.index import ON_CLUSTER
from l2l_cli.results.terminal import FoldingTable

NOT_BEGUN, RUNNING, DONE, REUSED, FAILED = "not begun", "running", "done", "reused", "failed"
INTERRUPTED, LOST, SENT = "interrupted", "lost", ON_CLUSTER

AT_WORK, STARTER = ".at-work-", "sweep"
"""Prefix of the name of the folder of a sweep's locks, and the file in it that the sweep's own process locks."""

LONGEST = 2000
"""Largest number of characters of a job's message, except one that contains a traceback."""

SEED = "seed"
"""Key over whose values the table averages."""


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        number: Number of the job, from 0.
        overrides: Overrides of its configuration, as ``key=value``.
        status: One of the words above.
        row: Row that its command returned, whose entry ``objective`` names the loss to be compared.
        message: Reason for its failure; several lines, with a traceback, for a fault of the program's own.
        exit_code: Exit code of a command that ends in this way.
    """

    number: int
    overrides: list[str]
    status: str = NOT_BEGUN
    row: Entries = field(default_factory=dict)
    message: str = ""
    exit_code: int = 0

    @property
    def objective(self) -> float:
        """The loss to be compared; NaN if there is none."""
        value = self.row.get(self.row.get("objective", ""))
        return math.nan if value is None else float(value)

    @property
    def values(self) -> dict[str, str]:
        """Values of the overrides, by key."""
        pairs = (item.lstrip("+").partition("=") for item in self.overrides)
        return {key: value for key, _, value in pairs}

    def write(self, folder: Path) -> None:
        """Write the job's file in the folder of its sweep."""
        atomic_write(folder / f"job-{self.number:04d}.json", json.dumps(asdict(self), indent=2, default=str) + "\n")


def read_jobs(folder: Path) -> list[SweepJob]:
    """Read the jobs of a sweep that have begun, by their numbers.

    Raises:
        UsageError: A job's file is damaged.
    """
    return sorted((_read_job(path) for path in folder.glob("job-*.json")), key=lambda job: job.number)


def _read_job(path: Path) -> SweepJob:
    try:
        values = parsed_json(read_text(path))
        job = TypeAdapter(SweepJob).validate_python(values)
        _ = job.objective
        return job
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} is damaged ({in_one_line(error)}); delete it and run the sweep again") from error


def swept_keys(jobs: Sequence[SweepJob]) -> list[str]:
    """Return the keys that have several values, in the order in which they were given."""
    keys = dict.fromkeys(key for job in jobs for key in job.values)
    return [key for key in keys if len({job.values.get(key) for job in jobs}) > 1]


def write_summary(jobs: Sequence[SweepJob], path: Path) -> None:
    """Write one line for each job: the swept values, the outcome, and all that its command returned."""
    swept = swept_keys(jobs)
    returned = dict.fromkeys(key for job in jobs for key in job.row if key not in ("objective", "run"))
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(["job", *swept, "objective", "status", "reused", "run", *returned, "message"])
    for job in jobs:
        keys = [job.values.get(key, "") for key in swept]
        objective = "" if math.isnan(job.objective) else job.objective
        status = DONE if job.status == REUSED else job.status
        end = [objective, status, job.status == REUSED, job.row.get("run", "")]
        lines.writerow([job.number, *keys, *end, *(job.row.get(key, "") for key in returned), _reason(job)])
    atomic_write(path, text.getvalue())


def sweep_table(jobs: Sequence[SweepJob]) -> FoldingTable:
    """Return a line for each combination of what was swept, the lowest mean over seeds first."""
    swept = swept_keys(jobs)
    seeded = SEED in swept
    keys = [key for key in swept if key != SEED]
    groups: dict[tuple[str, ...], list[SweepJob]] = {}
    for job in jobs:
        groups.setdefault(tuple(job.values.get(key, "") for key in keys), []).append(job)
    lines = [(_mean(group), values, group) for values, group in groups.items()]
    lines.sort(key=lambda line: math.inf if math.isnan(line[0]) else line[0])
    measure = next((str(job.row["objective"]).replace("_", " ") for job in jobs if job.row), "objective")
    timed = any(key.split(".")[0] == "hardware" for key in keys)
    columns = dict.fromkeys(keys, False) | ({"seeds": True} if seeded else {})
    several = len(lines) > 1
    rows = []
    for place, (mean, values, group) in enumerate(lines):
        style = "bold" if several and place == 0 and not math.isnan(mean) else ""
        note = "lowest; " if style else ""
        seeds = [str(len(_losses(group)))] if seeded else []
        seconds = [_seconds(group)] if timed else []
        cells = [*map(_brief, values), *seeds, _shown(group), *seconds, note + _states(group)]
        rows.append([Text(printable(cell), style) for cell in cells])
    counts = Counter(job.status for job in jobs)
    title = f"{counted(len(jobs), 'job')}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    columns |= {measure: True} | ({"seconds": True} if timed else {}) | {"status": False}
    return FoldingTable(title, columns, rows)


def messages(jobs: Sequence[SweepJob]) -> list[str]:
    """Return the error messages of the jobs that did not succeed, each reason once."""
    told: dict[str, list[SweepJob]] = {}
    for job in jobs:
        if job.message:
            has_frames = "\n  " in job.message
            text = printable(job.message) if has_frames else in_one_line(job.message, LONGEST)
            told.setdefault(text, []).append(job)
    swept = swept_keys(jobs)
    lines = []
    for message, (first, *others) in told.items():
        values = in_one_line(" ".join(f"{key}={first.values.get(key, '')}" for key in swept))
        name = f"job {first.number}" + (f" ({values})" if values else "")
        lines.append(f"error: {name}{f' and {len(others)} more' if others else ''}: {message}")
    return lines


def _losses(group: Iterable[SweepJob]) -> list[float]:
    return [job.objective for job in group if not math.isnan(job.objective)]


def _mean(group: Iterable[SweepJob]) -> float:
    losses = _losses(group)
    return statistics.fmean(losses) if losses else math.nan


def _shown(group: Sequence[SweepJob]) -> str:
    losses = _losses(group)
    if not losses:
        return "–"
    # The spread of one seed, or of infinite losses, says nothing.
    has_spread = len(losses) > 1 and all(map(math.isfinite, losses))
    spread = f" ± {_digits(statistics.stdev(losses), 3)}" if has_spread else ""
    return _digits(statistics.fmean(losses), 4) + spread


def _seconds(group: Sequence[SweepJob]) -> str:
    """Return the mean seconds that jobs took; reused jobs count with what they took when they ran."""
    seconds = [float(job.row["seconds"]) for job in group if "seconds" in job.row]
    return f"{statistics.fmean(seconds):.2f}" if seconds else "–"


def _brief(value: str) -> str:
    """Shorten a number that a sweeper has drawn."""
    return f"{float(value):.4g}" if re.fullmatch(r"-?\d+\.\d{5,}(e-?\d+)?", value) else value


def _digits(value: float, count: int) -> str:
    return f"{value:#.{count}g}".removesuffix(".")


def _states(group: Sequence[SweepJob]) -> str:
    counts = Counter(job.status for job in group)
    states = ", ".join(name if len(counts) == 1 else f"{count} {name}" for name, count in counts.items())
    reasons = dict.fromkeys(_reason(job) for job in group if job.message)
    return states + (f": {'; '.join(reasons)}" if reasons else "")


def _reason(job: SweepJob) -> str:
    return job.message.partition("\n")[0]
