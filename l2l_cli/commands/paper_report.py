"""The report of a reproduction: results, sections in order, departures from the paper, and the origin of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

import pandas as pd

from l2l_cli import __version__
from l2l_cli.commands.paper_lead import SMOKE, lead_of
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.core.files import atomic_write
from l2l_cli.papers.base import Findings, Paper
from l2l_cli.papers.experiments import Experiment, cpu_minutes
from l2l_cli.papers.origin import RESULTS_FILE, STUDY, contents_table, numbers_of_study
from l2l_cli.results.content import ABOUT, BEYOND, PAPER, Link, Report, Section, counted_verdict, listed, tally
from l2l_cli.results.notes import Note, notes_of, source_page
from l2l_cli.results.run import RunFolder
from l2l_cli.results.statistics import EPISODES, SEEDS
from l2l_cli.results.tables import results_table, verdict_line
from l2l_cli.results.verdicts import NOT_RUN, RULE, Result

RIBBON = "Smoke run: it shows that everything runs.  Its numbers mean nothing, and nothing is judged."
"""Banner across the page of a smoke run."""

STUDY_TEXT = (
    "*Study* is the committed result of `l2l reproduce {paper} --scale study`: more seeds, and hours of computing."
)
"""Explanation of the study's numbers, for pages that show them next to others."""

CONTENTS = (
    "Every table, figure and numbered claim of the paper: the artefact that reproduces it, and the scale, the date and "
    "the number of seeds of its last committed run, or the reason why there is none."
)
"""Text above the table of a paper's contents."""

SOURCES = "sources.md"
"""Page next to the report that says where each part of the paper is implemented."""

NAMED = 12
"""Number of rows that the report names among those not run."""

FREE = ("hardware", "data", "store")
"""Keys that change where and how fast results are computed, but not which: they do not mark a report as changed."""


def page_of(
    paper: Paper,
    request: ReproduceRequest,
    asked: Sequence[Experiment],
    findings: Sequence[Findings],
    costs: pd.DataFrame,
    folder: RunFolder,
    behind: Sequence[Section],
) -> Report:
    """Return the report: the answer, each artefact in the paper's order, additions to the paper, and all numbers.

    The sections in ``behind`` follow those of all artefacts.
    """
    results = [result for each in findings for result in each.results]
    opening = [
        paper.citation,
        f"Scale `{request.scale}`; {verdict_line(results)}.  {RULE}  Numbers are means over seeds, in "
        "brackets their 95 % intervals, or where there is none ± their standard deviation over seeds.  An interval is "
        f"about one rule, over at least {EPISODES} episodes, or about a recipe, over these and at least {SEEDS} seeds.",
        *_marks(request),
    ]
    shown, left_out = run_and_left_out(results)
    study = numbers_beside(paper, request)
    text = [*([left_out] if left_out else []), *([STUDY_TEXT.format(paper=request.paper)] if study else [])]
    notes = {one.name: notes_of(one.built()) for one in asked}
    sections = []
    for part, one, each in in_order(paper, asked, findings):
        sections += _introduced(request, one, each.sections, part, specific(one.name, notes))
    closing = [*behind, *closing_sections(paper, asked, costs, folder)]
    closing.append(Section("All numbers", text, tables=[results_table(shown, study)], folded=True))
    minutes = sum(cpu_minutes(costs).values())
    return Report(
        paper.title,
        opening,
        [*sections, *(replace(section, part=ABOUT) for section in closing)],
        lead_of(paper, request, asked, findings, minutes),
        RIBBON if request.scale == SMOKE else "",
    )


def headline(page: Report, results: Sequence[Result]) -> str:
    """Return the result of a reproduction in one line."""
    judged = tally(claim.verdict for section in page.sections for claim in section.claims)
    said = ", ".join(counted_verdict(count, verdict) for verdict, count in judged.items() if count)
    return "; ".join(filter(None, [page.ribbon.partition(":")[0], verdict_line(results), said and f"claims: {said}"]))


def in_order(
    paper: Paper, asked: Sequence[Experiment], findings: Sequence[Findings]
) -> list[tuple[str, Experiment, Findings]]:
    """Return the artefacts in the order of the paper's contents, each with its part of the report; ours come last."""
    named = list(dict.fromkeys(artefact for content in paper.contents for artefact in content.artefacts))
    place = {name: index for index, name in enumerate(named)}
    pairs = sorted(zip(asked, findings, strict=True), key=lambda pair: place.get(pair[0].name, len(named)))
    return [(PAPER if one.name in place or not named else BEYOND, one, each) for one, each in pairs]


def specific(name: str, notes: Mapping[str, Sequence[Note]]) -> list[Note]:
    """Return the notes that concern an artefact but not all others; shared ones are at the report's end."""
    others = [set(each) for other, each in notes.items() if other != name]
    shared = set.intersection(*others) if others else set()
    return [note for note in notes[name] if note not in shared]


def closing_sections(
    paper: Paper, asked: Sequence[Experiment], costs: pd.DataFrame, folder: RunFolder
) -> list[Section]:
    """Return the sections on the paper's contents, departures and provenance, and write the page of sources."""
    sections = [_departures(paper, asked, folder), _provenance(asked, costs, folder)]
    if paper.contents:
        sections.insert(
            0, Section("Where each part of the paper is", [CONTENTS], [contents_table(type(paper))], folded=True)
        )
    return sections


def _marks(request: ReproduceRequest) -> list[str]:
    """Return the warnings that must precede all numbers."""
    marks = []
    if request.scale == SMOKE:
        marks.append("**This is a smoke run: it shows that everything runs.  Its numbers mean nothing.**")
    if changed := deciding(request.overrides):
        marks.append(f"**The preset was changed: `{'`, `'.join(changed)}`.  These are not the preset's numbers.**")
    return marks


def deciding(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that change what is computed."""
    return [item for item in overrides if item.lstrip("+~").split(".")[0].split("=")[0] not in FREE]


def _introduced(
    request: ReproduceRequest, one: Experiment, sections: Sequence[Section], part: str, notes: Sequence[Note]
) -> list[Section]:
    """Add an artefact's question and text to its first section, and its command, notes and links to its last one."""
    sections = [replace(section, part=part) for section in sections]
    if sections:
        text = [*one.settings.text, *sections[0].text]
        sections[0] = replace(sections[0], question=one.settings.question, text=text)
        sections[-1] = replace(
            sections[-1],
            command=command_of(request, one),
            deviations=[_said(note) for note in notes if note.kind == "Deviation"],
            sources=[_said(note) for note in notes if note.kind == "Source"],
            links=_links(sections),
        )
    return sections


def _said(note: Note) -> str:
    return f"{note.text[:1].upper()}{note.text[1:]} (`{note.place}`)"


def _links(sections: Sequence[Section]) -> list[Link]:
    """Return links to the files of an artefact, which are next to the report."""
    figures = [figure.path for section in sections for figure in section.figures]
    drawn = [Link(f"{path.stem}.pdf", f"figures/{quote(path.stem)}.pdf") for path in figures]
    return [Link("results.csv", RESULTS_FILE), Link("measurements (rows/)", "rows/"), Link("run folder", "./"), *drawn]


def command_of(request: ReproduceRequest, one: Experiment) -> str:
    """Return the command that reproduces an artefact."""
    command = f"l2l reproduce {request.paper} {one.name} --scale {request.scale}"
    command += f" --config-dir {request.config_dir}" if request.config_dir else ""
    return " ".join([command, *request.overrides])


def numbers_beside(paper: Paper, request: ReproduceRequest) -> dict[tuple[str, str, str], str]:
    """Return the committed numbers of the paper's study, to be shown next to others."""
    return {} if request.scale in (SMOKE, STUDY) else numbers_of_study(type(paper))


def _departures(paper: Paper, asked: Sequence[Experiment], folder: RunFolder) -> Section:
    """List every departure that the code behind any row notes, and write the page of sources."""
    notes = notes_of(set().union(*(one.built() for one in asked)))
    atomic_write(folder.path / SOURCES, source_page(paper.title, paper.citation, notes))
    departures = [note for note in notes if note.kind == "Deviation"]
    text = [f"`{SOURCES}` says which file and function implement which part of the paper."]
    if departures:
        text.insert(0, listed(map(_said, departures)))
    return Section("Where this departs from the paper", text, folded=True)


def _provenance(asked: Sequence[Experiment], costs: pd.DataFrame, folder: RunFolder) -> Section:
    facts = folder.facts()
    minutes = cpu_minutes(costs) | {"drawing": facts["cpu_seconds"]["drawing"] / 60}
    text = [
        f"l2l {__version__}, commit {facts['commit'] or 'unknown'}, Python {facts['versions']['python']}, "
        f"{facts['machine']}; {facts['seconds'] / 60:.1f} minutes, seeds {facts['seeds']}; command "
        f"`{facts['command']}`.  Runs that were already done are reused and not counted in these minutes.",
        f"CPU-minutes of all rows, reused or not: {', '.join(f'{name} {each:.1f}' for name, each in minutes.items())}; "
        f"{sum(minutes.values()):.1f} in total.  The table gives the CPU-seconds of a run, as means over seeds; seeds "
        "that were trained side by side share the time equally, and a training that several rows use is counted in the "
        "first of them.  Scores and trials found in the store are counted at their original cost.",
        listed(f"{one.name}: {one.settings.source}" for one in asked),
    ]
    return Section("Provenance", text, tables=[costs.dropna(axis=1, how="all")], folded=True)


def run_and_left_out(results: Sequence[Result]) -> tuple[list[Result], str]:
    """Return the results that were measured, and a sentence that names some of the other rows and counts the rest."""
    rows = list(dict.fromkeys(item.row for item in results if item.verdict == NOT_RUN))
    shown = [item for item in results if item.verdict != NOT_RUN]
    more = f"; and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return shown, f"Not run at this scale: {'; '.join(rows[:NAMED])}{more}." if rows else ""
