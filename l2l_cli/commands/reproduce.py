"""l2l reproduce: a paper's tables and figures from real runs, compared with the published numbers and the limits."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from l2l_cli.commands.elsewhere import show
from l2l_cli.commands.paper_lead import SMOKE
from l2l_cli.commands.paper_report import command_of, deciding, headline, numbers_beside, page_of, run_and_left_out
from l2l_cli.config.build import build
from l2l_cli.config.hardware import Hardware
from l2l_cli.config.own_task import key_of_word
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.core.cores import usable_cores
from l2l_cli.core.errors import PromiseBroken, RunFailed, UsageError
from l2l_cli.core.layout import CLUSTER, META_TRAIN, OUTPUTS, STORE
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.printable import counted
from l2l_cli.core.voice import VOICE
from l2l_cli.papers.base import Findings, Paper
from l2l_cli.papers.experiments import Experiment, broken_promises, cost_table, experiment, experiments
from l2l_cli.papers.jobs import Work, work_of
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.origin import RESULTS_FILE, archive_of, claims_of, origin_of, write_results
from l2l_cli.papers.training_curves import training_sections
from l2l_cli.results import report
from l2l_cli.results.ending import ending
from l2l_cli.results.run import RunFolder, identity
from l2l_cli.results.tables import counted_verdicts, terminal_table
from l2l_cli.results.terminal import console
from l2l_cli.results.verdicts import Result
from l2l_cli.runs.aside import AGAIN, keep_entries, replace_files, take_place
from l2l_cli.runs.cluster import send
from l2l_cli.runs.pieces import Carrying, carry_out_here
from l2l_cli.runs.progress import Reporter


class Reproduced(NamedTuple):
    """The command's exit code, and the folder of its report."""

    exit_code: int
    path: Path


def run(request: ReproduceRequest) -> Reproduced:
    """Run the command.

    Raises:
        RunFailed: Some rows failed; the report covers the others.
        PromiseBroken: With ``check``, a number is outside the bounds of the preset.
    """
    # What runs again must find nothing in any store.
    words = [word for word in request.overrides if not (request.force and key_of_word(word).startswith("store"))]
    asked = experiments(replace(request, overrides=tuple(words)))
    paper: Paper = build(asked[0].settings.paper, "paper")
    folder, root = _folder(request, asked)
    with folder.lock():
        jobs = {job.key: job for one in asked for row in one.jobs.values() for job in row}
        folder.begin(seeds=sorted({job.seed for job in jobs.values()}))
        with ending(folder):
            archive = None if request.force else archive_of(type(paper))
            work = work_of(list(jobs.values()), folder.path, root, archive)
            hardware = _hardware(asked)
            if hardware.cluster and request.force:
                raise UsageError(
                    f"--force runs the rows again on this machine; drop it, or hardware.cluster={hardware.cluster}"
                )
            if hardware.cluster and work.pieces:
                return Reproduced(_on_cluster(paper, request, asked, work, folder), folder.path)
            processes = request.processes or hardware.processes or usable_cores()
            failures = carry_out_here(work.pieces, folder.path, processes, f"reproduce {request.paper}")
            work.store.prune()
            place = _place(request, folder) if request.force and not failures else folder.path
            results = _judged(paper, request, asked, work.files, folder, place)
    if failures:
        raise RunFailed(
            f"{len(failures)} of {counted(len(work.pieces), 'run')} failed and are missing from the report: "
            f"{'; '.join(failures)}; the same command tries them again"
        )
    if request.force:
        _settle(request, asked[0].name, folder, root)
    return Reproduced(_check(asked, results) if request.check else 0, place)


def _place(request: ReproduceRequest, folder: RunFolder) -> Path:
    """Return the folder to which the report of a repeated reproduction belongs."""
    return Path(request.output) if request.output else Path(OUTPUTS) / request.paper / folder.path.name


def _settle(request: ReproduceRequest, artefact: str, folder: RunFolder, root: Path) -> None:
    """Move everything that was run again to its proper place; the rows of any artefact give the user's store."""
    real = Path(request.output or OUTPUTS)
    first = next(job for row in experiment(request, artefact).jobs.values() for job in row)
    for made in sorted((root / META_TRAIN).glob("*")):
        take_place(made, real / META_TRAIN / made.name)
    keep_entries(root / STORE, Path(first.settings(real).store.dir or real / STORE).expanduser())
    replace_files(folder.path, _place(request, folder))
    shutil.rmtree(root.parent if request.output else root)


def _hardware(asked: Sequence[Experiment]) -> Hardware:
    """Return the hardware settings of the rows, which are the same for all."""
    return next(one.hardware for each in asked for one in each.configurations.values())


def _on_cluster(
    paper: Paper, request: ReproduceRequest, asked: Sequence[Experiment], work: Work, folder: RunFolder
) -> int:
    """Submit the rows, or show their state with a report on those that are done; return the exit code."""
    carried = [Carrying.of(piece, folder.path) for piece in work.pieces]
    standings = send(carried, folder.path / CLUSTER, _hardware(asked))
    if any(one.can_be_judged(work.files) for one in asked):
        _judged(paper, request, asked, work.files, folder, folder.path)
    return show(standings, work.done, folder.path / CLUSTER, "writes the report")


def _judged(
    paper: Paper,
    request: ReproduceRequest,
    asked: Sequence[Experiment],
    files: Mapping[str, Path],
    folder: RunFolder,
    place: Path,
) -> list[Result]:
    """Judge and draw what was measured, write the report, and show it with its final ``place``; return the results.

    Raises:
        RunFailed: Nothing was measured that could be judged.
    """
    judged = [one for one in asked if one.can_be_judged(files)]
    if not judged:
        raise RunFailed("there is nothing to report, since all runs failed; the same command tries them again")
    with LEDGER.of("drawing"), Reporter(f"report {request.paper}", len(judged) + 1, unit="parts") as reporter:
        measured = [one.measured(files, folder.path) for one in judged]
        findings = []
        for one, each in zip(judged, measured, strict=True):
            reporter.say(f"judging and drawing {one.name}")
            findings.append(one.artefact.judge(each))
            reporter.advance(one.name)
        if request.scale == SMOKE:
            findings = [each.unjudged() for each in findings]
        results = _recorded(request, judged, measured, findings, folder)
        reporter.say("drawing the meta-training curves")
        behind = training_sections(judged, measured, folder.path)
        reporter.advance("trainings")
    missing = _missing(asked, files)
    folder.note()  # the report uses the run's own costs
    page = page_of(paper, request, judged, findings, cost_table(judged, measured), folder, behind)
    report.write(replace(page, opening=[*page.opening, *missing]), folder.path)
    said = headline(page, results)
    folder.end("failed" if missing else "done", headline=said)  # only when all of it is written
    _show(paper, request, results, said, place)
    for line in missing:
        print(line.replace("**", ""))
    return results


def _recorded(
    request: ReproduceRequest,
    judged: Sequence[Experiment],
    measured: Sequence[Measured],
    findings: Sequence[Findings],
    folder: RunFolder,
) -> list[Result]:
    """Write results.csv, numbers first and then claims, with the origin of each; return the numbers."""
    results = [result for each in findings for result in each.results]
    origins = {
        one.name: origin_of(one, each, command_of(request, one)) for one, each in zip(judged, measured, strict=True)
    }
    claims = [
        claim
        for one, each in zip(judged, findings, strict=True)
        if request.scale != SMOKE
        for claim in claims_of(one.name, each.sections)
    ]
    write_results(folder.path / RESULTS_FILE, [*results, *claims], origins)
    return results


def _missing(asked: Sequence[Experiment], files: Mapping[str, Path]) -> list[str]:
    """Return a warning about what the report lacks, or nothing if it is complete."""
    rows = {one.name: one.missing(files) for one in asked}
    lacking = "; ".join(f"{name}: {', '.join(missing)}" for name, missing in rows.items() if missing)
    return [f"**This report is incomplete: it lacks some or all seeds of {lacking}.**"] if lacking else []


def _folder(request: ReproduceRequest, asked: Sequence[Experiment]) -> tuple[RunFolder, Path]:
    """Return the folder of the report, and the folder below which runs are stored and found."""
    config = {
        "name": request.paper,
        "scale": request.scale,
        "artefacts": {
            one.name: {row: [deciding(job.overrides) for job in jobs] for row, jobs in one.jobs.items()}
            for one in asked
        },
    }
    plain = json.loads(json.dumps(config))  # lists instead of tuples, as in config.yaml
    aside = f"{AGAIN}{identity(plain)}"
    if request.output is None:
        root = Path(OUTPUTS) / aside if request.force else Path(OUTPUTS)
        return RunFolder.claim(root / request.paper, request.scale, plain, []), root
    path = Path(request.output)
    path = path.parent / aside / path.name if request.force else path
    return RunFolder.make(path, plain, []), path


def _show(paper: Paper, request: ReproduceRequest, results: Sequence[Result], said: str, place: Path) -> None:
    """Show the numbers and what the report says of them in one line, where it lies, and what to do next."""
    shown, left_out = run_and_left_out(results)
    console().print(terminal_table(shown, f"{paper.title} (scale {request.scale})", numbers_beside(paper, request)))
    print(said)
    if left_out:
        print(left_out)
    print(f"report: {place / 'report.md'}  (and report.html, results.csv, figures/)")
    if request.scale == SMOKE:
        words = [word for word in sys.argv[1:] if word not in ("--scale", SMOKE, f"--scale={SMOKE}", "--check")]
        VOICE.suggest(*words, "--scale", "short")
    else:
        VOICE.suggest("runs", str(place), "--open")
    verdicts = dict(counted_verdicts(results))
    VOICE.event("done", run=str(place), report=str(place / "report.html"), result=said, **verdicts)


def _check(asked: Sequence[Experiment], results: Sequence[Result]) -> int:
    broken: list[str] = []
    for one in asked:
        values = {(item.row, item.metric): item.ours for item in results if item.artefact == one.name}
        broken += broken_promises(one, values)
    if broken:
        raise PromiseBroken("; ".join(broken))
    print("check: every bound of the preset is met")
    return 0
