"""The content of a report, independent of whether Markdown, HTML or the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

HOLDS, FAILS, UNDECIDED = "holds", "fails", "open"
"""Verdicts on claims that were judged."""

SEVERAL = {HOLDS: "hold", FAILS: "fail", UNDECIDED: "open"}
"""The same, of several claims."""


def tally(verdicts: Iterable[str]) -> dict[str, int]:
    """Return how many claims hold, fail and are open, by verdict; unjudged claims do not count."""
    found = list(verdicts)
    return {verdict: found.count(verdict) for verdict in (HOLDS, FAILS, UNDECIDED)}


def counted_verdict(count: int, verdict: str) -> str:
    """Return a number of claims with their verdict, as "1 holds" and "2 hold"."""
    return f"{count} {verdict if count == 1 else SEVERAL.get(verdict, verdict)}"


PAPER, BEYOND, ABOUT = "The paper", "Beyond the paper", "About this report"
"""Parts of a reproduction's report, in order."""


class Curve(NamedTuple):
    """One line, or one set of markers, in a chart.

    Attributes:
        name: Name in the legend; empty for a line that the legend leaves out.
        x: Positions, in ascending order.
        y: Values; None where there is none.
        low: Lower ends of its band; empty if it has no band.
        high: Upper ends of its band.
        colour: Colour of the line, as "#rrggbb".
        dash: Lengths of dashes and gaps; empty for a solid line.
        width: Width of the line.
        kind: "line", "marks", or "ghosts" for the hollow marks of published values.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    colour: str = "#000000"
    dash: Sequence[float] = ()
    width: float = 1.5
    kind: str = "line"


class Chart(NamedTuple):
    """A panel of curves that a reader can hover over.

    Attributes:
        title: Title of the panel.
        x: Name of the horizontal axis, with its unit.
        y: Name of the vertical axis.
        log: Letters of the logarithmic axes, such as "xy".
        range_x: Ends of the horizontal axis.
        range_y: Ends of the vertical axis.
        curves: All curves.
        across: Positions x of dotted vertical lines.
        level: Positions y of dotted horizontal lines.
    """

    title: str
    x: str
    y: str
    log: str
    range_x: tuple[float, float]
    range_y: tuple[float, float]
    curves: Sequence[Curve]
    across: Sequence[float] = ()
    level: Sequence[float] = ()


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        path: Its PNG file, under the report's folder; a PDF and an SVG of the same name lie beside it.
        caption: What it shows.
        charts: Its panels as charts, if all of them hold only curves.
    """

    path: Path
    caption: str
    charts: Sequence[Chart] = ()


@dataclass(frozen=True)
class Claim:
    """A statement, the paper's or ours, that is judged by measurements.

    Attributes:
        text: The statement.
        holds: Whether it holds; None if it is undecided.
        evidence: Measurements by which it is judged; empty if it was not run.
        number: The one number that decides it, with its unit or mark; empty if there are several.
        statement: Statement that several variants share; if empty, ``text`` takes its place.
        variant: Variant that it is about; empty if there is only one.
        judged: Whether the run could judge it; a smoke run judges nothing.
    """

    text: str
    holds: bool | None
    evidence: str = ""
    number: str = ""
    statement: str = ""
    variant: str = ""
    judged: bool = True

    def unjudged(self) -> Claim:
        """Return the claim without a verdict, as a smoke run reports it."""
        return replace(self, holds=None, evidence="", number="", judged=False)

    @property
    def verdict(self) -> str:
        """Whether the claim holds, in words."""
        if not self.judged:
            return "not judged"
        return {True: HOLDS, False: FAILS, None: UNDECIDED if self.evidence else "not run"}[self.holds]

    def __str__(self) -> str:
        """Return a sentence for the report."""
        undecided = "*open*" if self.evidence else f"{self.verdict} at this scale"
        verdict = {True: "holds", False: "**fails**", None: undecided}[self.holds]
        return f"{self.text}: {verdict}{f' ({self.evidence})' if self.evidence else ''}."


class Link(NamedTuple):
    """A file or folder that belongs to a report: its name, and its path relative to the report."""

    name: str
    href: str


@dataclass(frozen=True)
class Section:
    """One question and its answer.

    Attributes:
        title: Heading.
        text: Paragraphs and lists ("* …"), with *emphasis*, **weight**, `code` and [links](https://…).
        tables: Frames, shown with three significant digits unless ``formats`` says otherwise.
        figures: Figures, shown after the tables.
        formats: Format by column of the tables, such as ".1%" or ",d".
        claims: Judged statements, shown after the first paragraph.
        question: Question that the section answers, in one sentence; empty for a detail of the preceding section.
        deviations: Departures from the source that concern this section.
        command: Command that reproduces this section; empty if it has none of its own.
        part: Part of the report that it belongs to; empty in a report without parts.
        links: Files and folders that hold what it shows; only on the page.
        sources: Notes on which code implements which part of the paper; only on the page.
        folded: Whether the page shows it collapsed at first.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[pd.DataFrame] = ()
    figures: Sequence[Figure] = ()
    formats: Mapping[str, str] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    question: str = ""
    deviations: Sequence[str] = ()
    command: str = ""
    part: str = ""
    links: Sequence[Link] = ()
    sources: Sequence[str] = ()
    folded: bool = False

    def paragraphs(self) -> list[str]:
        """Return the question, the text with the claims in their place, deviations and the command, as Markdown."""
        claims = [listed(map(str, self.claims))] if self.claims else []
        question = [f"*{self.question}*"] if self.question else []
        deviations = ["Departures from the source:", listed(self.deviations)] if self.deviations else []
        command = [f"Command: `{self.command}`"] if self.command else []
        return [*question, *self.text[:1], *claims, *self.text[1:], *deviations, *command]


@dataclass(frozen=True)
class Lead:
    """The first screen of a page: what was asked, and the answer.

    Attributes:
        question: What was asked.
        answer: At most five sentences.
        table: Numbers that support the answer; without them, the first section's table and figure are shown.
        figure: Figure that supports the answer.
        command: Command that reproduces the whole report.
        about: What a reader must know about the table, in a short sentence.
        source: Citation of what was reproduced, which a narrow screen leaves out.
    """

    question: str
    answer: Sequence[str]
    table: pd.DataFrame | None = None
    figure: Figure | None = None
    command: str = ""
    about: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Check that the answer is short."""
        if len(self.answer) > SENTENCES:
            raise ValueError(f"an answer has at most {SENTENCES} sentences, this one {len(self.answer)}")


SENTENCES = 5
"""Largest number of sentences in an answer."""


@dataclass(frozen=True)
class Report:
    """A page: its heading, the paragraphs before the first section, and the sections in their order.

    Attributes:
        title: Heading.
        opening: Paragraphs before the first section; on a page with a lead they come after all sections.
        sections: Sections.
        lead: First screen; None if the sections alone say everything.
        ribbon: Mark across the page, such as "smoke run"; empty for a result.
    """

    title: str
    opening: Sequence[str]
    sections: Sequence[Section] = ()
    lead: Lead | None = None
    ribbon: str = ""


def code(text: object) -> str:
    """Return text as inline code in Markdown, with its backticks replaced."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def listed(items: Iterable[str]) -> str:
    """Return items as a Markdown list."""
    return "* " + "\n* ".join(items)
