"""l2l reproduce: a paper's tables and figures, from real runs, beside the published numbers and the limits."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli import __version__
from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import papers
from l2l_cli.config.schema import ReproduceRequest, Settings
from l2l_cli.core.errors import PromiseBroken, UsageError
from l2l_cli.papers.base import Artefact, Paper
from l2l_cli.papers.jobs import Job, cost_table, run_jobs
from l2l_cli.results.frame import RULE, Result, write_results
from l2l_cli.results.report import Report, Section, frame_table, results_table, terminal_table, verdict_line
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.progress import console


@dataclass(frozen=True)
class Plan:
    """One artefact at one scale: its experiment, and its jobs by row."""

    name: str
    settings: Settings
    scale: dict[str, Any]
    jobs: dict[str, list[Job]]


def run(request: ReproduceRequest) -> int:
    """Run the command; the result is its exit code.

    Raises:
        PromiseBroken: With ``check``, a number lies outside what the preset promises.
    """
    names = request.artefacts or tuple(_artefacts(request))
    plans = [_plan(request, name) for name in names]
    paper: Paper = build(plans[0].settings.paper, "paper")
    folder, root = _folder(request, plans)
    with folder.lock():
        folder.begin(seeds=sorted({job.seed for plan in plans for jobs in plan.jobs.values() for job in jobs}))
        unique = {job.key: job for plan in plans for jobs in plan.jobs.values() for job in jobs}
        processes = request.processes or os.cpu_count() or 1
        files = run_jobs(list(unique.values()), folder.path / "rows", root, processes, f"reproduce {request.paper}")
        rows = {plan.name: _rows(plan, files) for plan in plans}
        artefacts = [paper.artefact(plan.name, rows[plan.name], folder.path) for plan in plans]
        results = [result for artefact in artefacts for result in artefact.results]
        write_results(folder.path / "results.csv", results)
        folder.end("done")
        costs = cost_table(_distinct(plans, rows))
        _report(paper, request, plans, artefacts, costs, folder).write(folder.path)
    _show(paper, request, results, folder)
    return _check(plans, results) if request.check else 0


def _artefacts(request: ReproduceRequest) -> list[str]:
    """Return all of the paper's artefacts, tables first."""
    return sorted(papers(request.config_dir)[request.paper], key=lambda name: (not name.startswith("table"), name))


def _plan(request: ReproduceRequest, name: str) -> Plan:
    """Compose an artefact's experiment and list its runs."""
    settings = compose("reproduce", [f"experiment={request.paper}/{name}"], request.config_dir)
    scale = settings.scales.get(request.scale)
    if scale is None:
        raise UsageError(
            f"{request.paper} {name} has no scale {request.scale!r} (scales: {', '.join(settings.scales)})"
        )
    jobs = {
        row: [
            Job(
                settings.paper,
                row,
                seed,
                (*overrides, *scale["overrides"], *scale.get("rows", {}).get(row, [])),
                request.config_dir,
            )
            for seed in range(request.seeds or _seeds(scale, row))
        ]
        for row, overrides in settings.rows.items()
        if _is_run(scale, row)
    }
    return Plan(name, settings, scale, jobs)


def _is_run(scale: Mapping[str, Any], row: str) -> bool:
    return not any(fnmatch(row, pattern) for pattern in scale.get("without", []))


def _seeds(scale: Mapping[str, Any], row: str) -> int:
    """Return a row's number of seeds: that of the first pattern that fits it, or else the scale's."""
    own = [seeds for pattern, seeds in scale.get("seeds_of", {}).items() if fnmatch(row, pattern)]
    return int(own[0] if own else scale["seeds"])


def _folder(request: ReproduceRequest, plans: Sequence[Plan]) -> tuple[RunFolder, Path]:
    """Return where the report goes, and under which folder the runs are kept and found again."""
    config = {
        "name": request.paper,
        "scale": request.scale,
        "artefacts": {
            plan.name: {row: [job.overrides for job in jobs] for row, jobs in plan.jobs.items()} for plan in plans
        },
    }
    plain = json.loads(json.dumps(config))  # lists for tuples, as config.yaml will say
    if request.output is None:
        root = Path("outputs")
        return RunFolder.claim(root / request.paper, request.scale, plain, []), root
    path = Path(request.output)
    return RunFolder.make(path, plain, []), path


def _rows(plan: Plan, files: dict[str, Path]) -> dict[str, pd.DataFrame]:
    """Read the measurements of an artefact's rows, all seeds of a row together."""
    read = {
        row: pd.concat([pd.read_csv(files[job.key], dtype={"episode": str}) for job in jobs])
        for row, jobs in plan.jobs.items()
    }
    return {row: read.get(row, pd.DataFrame()) for row in plan.settings.rows}


def _distinct(plans: Sequence[Plan], rows: Mapping[str, Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Return the measurements of distinct runs by row, and by artefact where different runs have one row's name."""
    found = {
        tuple(job.key for job in jobs): (plan.name, row) for plan in plans[::-1] for row, jobs in plan.jobs.items()
    }
    names = Counter(row for _, row in found.values())
    ordered = [(plan.name, row) for plan in plans for row in plan.jobs if (plan.name, row) in found.values()]
    return {row if names[row] == 1 else f"{row} ({plan})": rows[plan][row] for plan, row in ordered}


def _report(
    paper: Paper,
    request: ReproduceRequest,
    plans: Sequence[Plan],
    artefacts: Sequence[Artefact],
    costs: pd.DataFrame,
    folder: RunFolder,
) -> Report:
    results = [result for artefact in artefacts for result in artefact.results]
    facts = folder.facts()
    opening = [
        paper.citation,
        f"Scale `{request.scale}`; {verdict_line(results)}.  {RULE}  Numbers are means over seeds ± their standard "
        "deviation.",
    ]
    if request.scale == "smoke":
        opening.append("**This is a smoke run: it shows that everything runs.  Its numbers mean nothing.**")
    shown, left_out = _run_and_left_out(results)
    sections = [Section("All numbers", [left_out] if left_out else [], tables=[results_table(shown)])]
    sections += [section for artefact in artefacts for section in artefact.sections]
    deviations = "* " + "\n* ".join(paper.deviations())
    sections.append(Section("Where this departs from the paper", [deviations]))
    provenance = [
        f"l2l {__version__}, commit {facts['commit'] or 'unknown'}, Python {facts['versions']['python']}, "
        f"{facts['machine']}; {facts['seconds'] / 60:.1f} minutes, seeds {facts['seeds']}; command "
        f"`{facts['command']}`.  Runs that were already done are reused and not counted; seeds that ran "
        "side by side share the seconds of one run.",
        "\n".join(["* " + f"{plan.name}: {plan.settings.source}" for plan in plans]),
    ]
    return Report(paper.title, opening, [*sections, Section("Provenance", provenance, tables=[costs])])


def _show(paper: Paper, request: ReproduceRequest, results: Sequence[Result], folder: RunFolder) -> None:
    shown, left_out = _run_and_left_out(results)
    console().print(terminal_table(shown, f"{paper.title} (scale {request.scale})"))
    print(verdict_line(results))
    if left_out:
        print(left_out)
    print(f"report: {folder.path / 'report.md'}  (and report.html, results.csv, figures/)")


def _run_and_left_out(results: Sequence[Result]) -> tuple[list[Result], str]:
    """Return the results that were measured, and a sentence that names the other rows."""
    rows = dict.fromkeys(item.row for item in results if item.verdict == "not run")
    shown = [item for item in results if item.verdict != "not run"]
    return shown, f"Not run at this scale: {'; '.join(rows)}." if rows else ""


def _check(plans: Sequence[Plan], results: Sequence[Result]) -> int:
    broken = []
    for plan in plans:
        for row, promises in plan.scale.get("promises", {}).items():
            for metric, bound in promises.items():
                found = [item for item in results if (item.artefact, item.row, item.metric) == (plan.name, row, metric)]
                broken += [
                    f"{plan.name} {row} {metric} is {item.ours:.4g}, promised ≤ {bound:g}"
                    for item in found
                    if item.ours is None or item.ours > bound
                ]
    if broken:
        raise PromiseBroken("; ".join(broken))
    print("check: every promise is kept")
    return 0


def print_catalogue(known: dict[str, list[str]], config_dir: str | None) -> int:
    """Print papers, artefacts and scales with the minutes that they are expected to take on two cores."""
    rows = []
    for paper, names in known.items():
        for name in names:
            settings = compose("reproduce", [f"experiment={paper}/{name}"], config_dir)
            scales = {
                scale: f"{facts['minutes']} min, {_seed_counts(facts, settings.rows)}"
                for scale, facts in settings.scales.items()
            }
            rows.append(
                {
                    "preset": paper,
                    "artefact": name,
                    **scales,
                    "rows": ", ".join(settings.rows),
                    "source": settings.source,
                }
            )
    console().print(
        frame_table(
            pd.DataFrame(rows),
            "l2l reproduce PAPER [ARTEFACT]… --scale SCALE (minutes on two cores; shared runs count once)",
        )
    )
    return 0


def _seed_counts(scale: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    counts = sorted({_seeds(scale, row) for row in rows if _is_run(scale, row)})
    if not counts:
        return "left out"
    if counts == [1]:
        return "1 seed"
    return f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seeds"
