"""l2l reproduce: a paper's tables and figures, from real runs, beside the published numbers and the limits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from l2l_cli import __version__
from l2l_cli.commands.elsewhere import show
from l2l_cli.config.build import build
from l2l_cli.config.hardware import Hardware
from l2l_cli.config.own_task import key_of_word
from l2l_cli.config.schema import ReproduceRequest
from l2l_cli.core.cores import usable_cores
from l2l_cli.core.errors import PromiseBroken, RunFailed, UsageError
from l2l_cli.core.files import atomic_write
from l2l_cli.core.ledger import LEDGER
from l2l_cli.papers.base import Findings, Paper
from l2l_cli.papers.experiments import Experiment, broken_promises, cost_table, cpu_minutes, experiment, experiments
from l2l_cli.papers.jobs import Work, work_of
from l2l_cli.papers.training_curves import training_sections
from l2l_cli.results import report
from l2l_cli.results.content import Report, Section, listed
from l2l_cli.results.ending import ending
from l2l_cli.results.notes import notes_of, source_page
from l2l_cli.results.run import RunFolder, identity
from l2l_cli.results.tables import results_table, terminal_table, verdict_line
from l2l_cli.results.terminal import console
from l2l_cli.results.verdicts import RULE, Result, write_results
from l2l_cli.runs.aside import AGAIN, keep_entries, replace_files, take_place
from l2l_cli.runs.cluster import send
from l2l_cli.runs.pieces import Carrying, carry_out_here
from l2l_cli.runs.progress import Reporter

OUTPUT = "outputs"
"""Folder of all results, unless another is asked for."""

SOURCES = "sources.md"
"""Page beside the report that says where each part of the paper is in the code."""

FREE = ("hardware", "data", "store")
"""Keys that change where and how fast, never what: they do not mark a report as changed."""


def run(request: ReproduceRequest) -> int:
    """Run the command; the result is its exit code.

    Raises:
        RunFailed: Rows failed; the report is that of the others.
        PromiseBroken: With ``check``, a number lies outside what the preset promises.
    """
    # What runs again finds nothing in any store.
    words = [word for word in request.overrides if not (request.force and key_of_word(word).startswith("store"))]
    asked = experiments(replace(request, overrides=tuple(words)))
    paper: Paper = build(asked[0].settings.paper, "paper")
    folder, root = _folder(request, asked)
    with folder.lock():
        jobs = {job.key: job for one in asked for row in one.jobs.values() for job in row}
        folder.begin(seeds=sorted({job.seed for job in jobs.values()}))
        with ending(folder):
            work = work_of(list(jobs.values()), folder.path, root)
            hardware = _hardware(asked)
            if hardware.cluster and request.force:
                raise UsageError(f"--force runs again here; drop it, or hardware.cluster={hardware.cluster}")
            if hardware.cluster and work.pieces:
                return _on_cluster(paper, request, asked, work, folder)
            processes = request.processes or hardware.processes or usable_cores()
            failures = carry_out_here(work.pieces, folder.path, processes, f"reproduce {request.paper}")
            work.store.prune()
            place = _place(request, folder) if request.force and not failures else folder.path
            results = _judged(paper, request, asked, work.files, folder, place)
    if failures:
        raise RunFailed(
            f"{len(failures)} of {len(work.pieces)} runs failed, and the report lacks them: {'; '.join(failures)}; the "
            "same command tries them again"
        )
    if request.force:
        _settle(request, asked[0].name, folder, root)
    return _check(asked, results) if request.check else 0


def _place(request: ReproduceRequest, folder: RunFolder) -> Path:
    """Return where the report of what was run again belongs."""
    return Path(request.output) if request.output else Path(OUTPUT) / request.paper / folder.path.name


def _settle(request: ReproduceRequest, artefact: str, folder: RunFolder, root: Path) -> None:
    """Put all that was run again in the place of what there was; any artefact's rows know the user's store."""
    real = Path(request.output or OUTPUT)
    first = next(job for row in experiment(request, artefact).jobs.values() for job in row)
    for made in sorted((root / "meta-train").glob("*")):
        take_place(made, real / "meta-train" / made.name)
    keep_entries(root / "store", Path(first.settings(real).store.dir or real / "store").expanduser())
    replace_files(folder.path, _place(request, folder))
    shutil.rmtree(root.parent if request.output else root)


def _hardware(asked: Sequence[Experiment]) -> Hardware:
    """Return where the rows run, which is the same for all of them."""
    return next(one.hardware for each in asked for one in each.configurations.values())


def _on_cluster(
    paper: Paper, request: ReproduceRequest, asked: Sequence[Experiment], work: Work, folder: RunFolder
) -> int:
    """Submit the rows, or show how they stand, with a report of those that there are; return the exit code."""
    carried = [Carrying.of(piece, folder.path) for piece in work.pieces]
    standings = send(carried, folder.path / "cluster", _hardware(asked))
    if any(one.can_be_judged(work.files) for one in asked):
        _judged(paper, request, asked, work.files, folder, folder.path)
    return show(standings, work.done, folder.path / "cluster", "writes the report")


def _judged(
    paper: Paper,
    request: ReproduceRequest,
    asked: Sequence[Experiment],
    files: Mapping[str, Path],
    folder: RunFolder,
    place: Path,
) -> list[Result]:
    """Judge and draw what is measured, write the report and show it, with the place where it will be; return results.

    Raises:
        RunFailed: Nothing is measured that could be judged.
    """
    judged = [one for one in asked if one.can_be_judged(files)]
    if not judged:
        raise RunFailed("nothing is measured yet, since all runs failed; the same command tries them again")
    with LEDGER.of("drawing"), Reporter(f"report {request.paper}", len(judged), unit="artefacts") as reporter:
        measured = [one.measured(files, folder.path) for one in judged]
        findings = []
        for one, each in zip(judged, measured, strict=True):
            reporter.say(f"judging and drawing {one.name}")
            findings.append(one.artefact.judge(each))
            reporter.advance(one.name)
        results = [result for each in findings for result in each.results]
        write_results(folder.path / "results.csv", results)
        costs = cost_table(judged, measured)
        behind = training_sections(judged, measured, folder.path)
    missing = _missing(asked, files)
    folder.note()  # what the report says of the run itself
    page = _report(paper, request, judged, findings, [*behind, *_ending(paper, judged, costs, folder)])
    report.write(replace(page, opening=[*page.opening, *missing]), folder.path)
    folder.end("failed" if missing else "done")  # when all of it is written
    _show(paper, request, results, place)
    for line in missing:
        print(line.replace("**", ""))
    return results


def _missing(asked: Sequence[Experiment], files: Mapping[str, Path]) -> list[str]:
    """Return a mark that says what the report lacks, or nothing where it is whole."""
    rows = {one.name: one.missing(files) for one in asked}
    lacking = "; ".join(f"{name}: {', '.join(missing)}" for name, missing in rows.items() if missing)
    return (
        [f"**This report is of what there is so far.  All or some seeds are missing of {lacking}.**"] if lacking else []
    )


def _folder(request: ReproduceRequest, asked: Sequence[Experiment]) -> tuple[RunFolder, Path]:
    """Return where the report goes, and under which folder the runs are kept and found again."""
    config = {
        "name": request.paper,
        "scale": request.scale,
        "artefacts": {
            one.name: {row: [_deciding(job.overrides) for job in jobs] for row, jobs in one.jobs.items()}
            for one in asked
        },
    }
    plain = json.loads(json.dumps(config))  # lists for tuples, as config.yaml will say
    aside = f"{AGAIN}{identity(plain)}"
    if request.output is None:
        root = Path(OUTPUT) / aside if request.force else Path(OUTPUT)
        return RunFolder.claim(root / request.paper, request.scale, plain, []), root
    path = Path(request.output)
    path = path.parent / aside / path.name if request.force else path
    return RunFolder.make(path, plain, []), path


def _report(
    paper: Paper,
    request: ReproduceRequest,
    asked: Sequence[Experiment],
    findings: Sequence[Findings],
    ending: Sequence[Section],
) -> Report:
    results = [result for each in findings for result in each.results]
    opening = [
        paper.citation,
        f"Scale `{request.scale}`; {verdict_line(results)}.  {RULE}  Numbers are means over seeds ± their standard "
        "deviation.",
        *_marks(request),
    ]
    shown, left_out = _run_and_left_out(results)
    sections = [Section("All numbers", [left_out] if left_out else [], tables=[results_table(shown)])]
    for one, each in zip(asked, findings, strict=True):
        sections += _introduced(request, one, each.sections)
    return Report(paper.title, opening, [*sections, *ending])


def _ending(paper: Paper, asked: Sequence[Experiment], costs: pd.DataFrame, folder: RunFolder) -> list[Section]:
    return [_departures(paper, asked, folder), _provenance(asked, costs, folder)]


def _marks(request: ReproduceRequest) -> list[str]:
    """Return what a reader must know before any number."""
    marks = []
    if request.scale == "smoke":
        marks.append("**This is a smoke run: it shows that everything runs.  Its numbers mean nothing.**")
    if changed := _deciding(request.overrides):
        marks.append(f"**The preset was changed: `{'`, `'.join(changed)}`.  These are not the preset's numbers.**")
    return marks


def _deciding(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that change what is computed."""
    return [item for item in overrides if item.lstrip("+~").split(".")[0].split("=")[0] not in FREE]


def _introduced(request: ReproduceRequest, one: Experiment, sections: Sequence[Section]) -> list[Section]:
    """Give an artefact's first section its question and text, and its last one the command that makes it anew."""
    sections = list(sections)
    if sections:
        text = [*one.settings.text, *sections[0].text]
        sections[0] = replace(sections[0], question=one.settings.question, text=text)
        command = f"l2l reproduce {request.paper} {one.name} --scale {request.scale}"
        command += f" --config-dir {request.config_dir}" if request.config_dir else ""
        sections[-1] = replace(sections[-1], command=" ".join([command, *request.overrides]))
    return sections


def _departures(paper: Paper, asked: Sequence[Experiment], folder: RunFolder) -> Section:
    """List every departure that the code of any row notes, and write the page of the sources."""
    notes = notes_of(set().union(*(one.built() for one in asked)))
    atomic_write(folder.path / SOURCES, source_page(paper.title, paper.citation, notes))
    departures = [note for note in notes if note.kind == "Deviation"]
    text = [f"`{SOURCES}` says which file and function implement which part of the paper."]
    if departures:
        text.insert(0, listed(f"{note.text[:1].upper()}{note.text[1:]} (`{note.place}`)" for note in departures))
    return Section("Where this departs from the paper", text)


def _provenance(asked: Sequence[Experiment], costs: pd.DataFrame, folder: RunFolder) -> Section:
    facts = folder.facts()
    minutes = cpu_minutes(costs) | {"drawing": facts["cpu_seconds"]["drawing"] / 60}
    text = [
        f"l2l {__version__}, commit {facts['commit'] or 'unknown'}, Python {facts['versions']['python']}, "
        f"{facts['machine']}; {facts['seconds'] / 60:.1f} minutes, seeds {facts['seeds']}; command "
        f"`{facts['command']}`.  Runs that were already done are reused and not counted in these minutes.",
        f"CPU-minutes of all rows, reused or not: {', '.join(f'{name} {each:.1f}' for name, each in minutes.items())}; "
        f"{sum(minutes.values()):.1f} in all.  The table gives the CPU-seconds of a run, means over seeds; seeds that "
        "were trained side by side have equal shares, and a training that several rows measure is the first one's.  "
        "Scores and trials that were found in the store count by what they once took.",
        listed(f"{one.name}: {one.settings.source}" for one in asked),
    ]
    return Section("Provenance", text, tables=[costs.dropna(axis=1, how="all")])


def _show(paper: Paper, request: ReproduceRequest, results: Sequence[Result], place: Path) -> None:
    shown, left_out = _run_and_left_out(results)
    console().print(terminal_table(shown, f"{paper.title} (scale {request.scale})"))
    print(verdict_line(results))
    if left_out:
        print(left_out)
    print(f"report: {place / 'report.md'}  (and report.html, results.csv, figures/)")


def _run_and_left_out(results: Sequence[Result]) -> tuple[list[Result], str]:
    """Return the results that were measured, and a sentence that names the other rows."""
    rows = dict.fromkeys(item.row for item in results if item.verdict == "not run")
    shown = [item for item in results if item.verdict != "not run"]
    return shown, f"Not run at this scale: {'; '.join(rows)}." if rows else ""


def _check(asked: Sequence[Experiment], results: Sequence[Result]) -> int:
    broken: list[str] = []
    for one in asked:
        values = {(item.row, item.metric): item.ours for item in results if item.artefact == one.name}
        broken += broken_promises(one, values)
    if broken:
        raise PromiseBroken("; ".join(broken))
    print("check: every promise is kept")
    return 0
