"""The origin of a paper's numbers: what determines them, and the commit, the date and the machine of their runs.

Beside each paper's code lie results.csv, the numbers of its last study, which README and the paper's page print, and a
folder of the measurements behind them, from which they can be judged and drawn again.
"""

from __future__ import annotations

import csv
import inspect
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from l2l_cli.config.compose import identity_of, identity_of_training
from l2l_cli.config.schema import TRAINED
from l2l_cli.core.files import atomic_write
from l2l_cli.core.ledger import date_of
from l2l_cli.papers.base import Paper
from l2l_cli.papers.experiments import OF_ROWS, Experiment
from l2l_cli.papers.jobs import MEASURED
from l2l_cli.papers.measured import BEGAN, COMMIT, COST, MACHINE, Measured
from l2l_cli.results.content import Section, tally
from l2l_cli.results.run import identity
from l2l_cli.results.tables import number, with_interval
from l2l_cli.results.verdicts import COLUMNS, NOT_RUN, Result, summarise

STUDY = "study"
"""Scale whose results are committed."""

RESULTS_FILE = "results.csv"

CLAIM = "claim"
"""Metric of the lines of results.csv that hold a claim in place of a number."""


class Origin(NamedTuple):
    """Where the results of one artefact come from; the last columns of results.csv.

    Attributes:
        identity: Hash, 8 hex digits, of all that determines them: rows, seeds, artefact, published numbers.
        commit: Commits of the runs.
        date: Day on which the last of the runs began.
        machine: Machines of the runs.
        command: Command that reproduces them.
        cpu_minutes: CPU-minutes of all the artefact's rows, including those that other artefacts share.
    """

    identity: str
    commit: str
    date: str
    machine: str
    command: str
    cpu_minutes: str


Key = tuple[str, str, str]
"""Artefact, row and metric."""


def identity_of_artefact(one: Experiment) -> str:
    """Return 8 hex digits that identify an artefact's configuration at its scale, without building any of it."""
    rows = {}
    for row, settings in one.configurations.items():
        trained = one.settings.rows[row].role in TRAINED
        keys = identity_of_training(settings, "evaluation", "tune") if trained else identity_of(settings, *MEASURED)
        rows[row] = {"config": keys, "seeds": [job.seed for job in one.jobs[row]], "row": one.jobs[row][0].facts}
    return identity(
        {
            "rows": rows,
            "artefact": one.settings.artefact,
            "published": one.settings.published,
            "paper": one.settings.paper,
        }
    )


def origin_of(one: Experiment, measured: Measured, command: str) -> Origin:
    """Return where an artefact's results come from, according to the records of its rows' runs."""
    frames = [frame[frame.split == COST] for frame in measured.frames.values() if len(frame)]
    commits, machines = (
        dict.fromkeys(str(part) for frame in frames for part in frame[frame.metric == name].part)
        for name in (COMMIT, MACHINE)
    )
    began = [float(value) for frame in frames for value in frame[frame.metric == BEGAN].value]
    date = date_of(max(began))[:10] if began else ""
    minutes = sum(float(frame[frame.metric.isin(OF_ROWS)].value.sum()) for frame in frames) / 60
    return Origin(identity_of_artefact(one), ", ".join(commits), date, ", ".join(machines), command, f"{minutes:.3g}")


def claims_of(artefact: str, sections: Iterable[Section]) -> list[Result]:
    """Return an artefact's claims as lines of results.csv: the statement, its verdict, and the evidence as a note."""
    return [
        replace(summarise((artefact, claim.text, CLAIM), [], None), verdict=claim.verdict, note=claim.evidence)
        for section in sections
        for claim in section.claims
    ]


def write_results(path: Path, results: Sequence[Result], origins: Mapping[str, Origin]) -> None:
    """Write results.csv; what is unknown is left empty.  ``origins`` are by artefact."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *Origin._fields])
    writer.writerows([*astuple(result), *origins[result.artefact]] for result in results)
    atomic_write(path, text.getvalue())


def file_of_study(paper: type[Paper]) -> Path:
    """Return the path of a paper's committed results, which need not exist: beside the file of the paper's class."""
    return Path(inspect.getfile(paper)).with_name(RESULTS_FILE)


def study_of(paper: type[Paper]) -> list[dict[str, str]]:
    """Return the lines of a paper's committed study that were run, each by column; none if no study is committed."""
    path = file_of_study(paper)
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [line for line in csv.DictReader(file) if line["verdict"] != NOT_RUN]


def archive_of(paper: type[Paper]) -> Path:
    """Return the folder for the committed measurements of a paper's studies, which need not exist."""
    return file_of_study(paper).with_name("measurements")


def numbers_of_study(paper: type[Paper]) -> dict[Key, str]:
    """Return the committed numbers with their intervals as text, by artefact, row and metric."""
    found = {}
    for line in study_of(paper):
        if line["metric"] == CLAIM:
            continue
        ours, *ends = (float(line.get(column) or math.nan) for column in ("ours", "low", "high"))
        text = number(ours) if math.isnan(ends[0]) else with_interval(ours, *ends)
        if share := re.match(r"\d+ of \d+ seeds", line["note"]):
            text = text.replace(number(ours), share[0], 1)
        found[line["artefact"], line["row"], line["metric"]] = text
    return found


def contents_table(paper: type[Paper]) -> pd.DataFrame:
    """Return every table, figure and numbered claim of a paper, with the last committed run that reproduces it.

    Both the paper's claims and ours are counted, each once for every variant.
    """
    runs: dict[str, list[dict[str, str]]] = {}
    for line in study_of(paper):
        runs.setdefault(line["artefact"], []).append(line)
    lines = []
    for content in paper.contents:
        for artefact in content.artefacts or [""]:
            of_run = runs.get(artefact, [])
            counts = sorted({int(line["seeds"]) for line in of_run if line["metric"] != CLAIM})
            lines.append(
                {
                    "of the paper": content.what,
                    "artefact": artefact or "–",
                    "scale": of_run[0]["command"].partition("--scale ")[2].split()[0] if of_run else "–",
                    "run on": of_run[0]["date"] if of_run else "–",
                    "seeds": "–" if not counts else " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))),
                    "CPU-minutes": of_run[0]["cpu_minutes"] if of_run else "–",
                    "claims held · failed · open": _counted(of_run) or "–",
                    "remark": content.why_not or ("" if of_run else "no run is committed"),
                }
            )
    return pd.DataFrame(lines)


def _counted(lines: Iterable[Mapping[str, str]]) -> str:
    verdicts = [line["verdict"] for line in lines if line["metric"] == CLAIM]
    return " · ".join(map(str, tally(verdicts).values())) if verdicts else ""
