"""The content of a report, which Markdown, HTML and the terminal draw alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

HOLDS, FAILS, UNDECIDED = "holds", "fails", "open"
"""Verdicts on claims that were run."""

SEVERAL = {HOLDS: "hold", FAILS: "fail", UNDECIDED: "open"}
"""The same, of several claims."""


def tally(verdicts: Iterable[str]) -> dict[str, int]:
    """Return how many claims hold, fail and are open, by verdict; what was not judged does not count."""
    found = list(verdicts)
    return {verdict: found.count(verdict) for verdict in (HOLDS, FAILS, UNDECIDED)}


def counted_verdict(count: int, verdict: str) -> str:
    """Return so many claims of a verdict, in words: "1 holds", "2 hold"."""
    return f"{count} {verdict if count == 1 else SEVERAL.get(verdict, verdict)}"


PAPER, BEYOND, ABOUT = "The paper", "Beyond the paper", "About this report"
"""Parts of a reproduction's report, in their order."""


class Curve(NamedTuple):
    """One line, or marks, of a chart.

    Attributes:
        name: What it is called; nothing for a line that the legend leaves out.
        x: Places, rising.
        y: Values; None where there is none.
        low: Lower ends of its band; none if it has no band.
        high: Upper ends.
        colour: Colour of the line, as "#rrggbb".
        dash: Lengths of strokes and gaps; none is a solid line.
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
        log: Letters of the logarithmic axes.
        range_x: Ends of the horizontal axis.
        range_y: Ends of the vertical axis.
        curves: All curves.
        across: Places of dotted lines across the panel, of one x each.
        level: Places of dotted lines of one y each.
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
        charts: Its panels, where all of them are curves.
    """

    path: Path
    caption: str
    charts: Sequence[Chart] = ()


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, or ours, judged by measurements.

    Attributes:
        text: The statement.
        holds: Whether it holds; None where nothing decides it.
        evidence: What it is judged by; empty if it was not run.
        number: The one number that decides it, with its unit or mark; empty if there are several.
        statement: What is said of several variants alike; the text if it is empty.
        variant: Variant that it is said of; empty if it is said of one alone.
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
        """Return the claim without a verdict, as a smoke run says it."""
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
    """A file or folder beside the report: what it is called, and where it lies, relative to the report."""

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
        question: What the section answers, in one sentence; empty for a detail of the section before.
        deviations: Departures from the source that concern this section.
        command: Command that makes this section anew; empty where there is none of its own.
        part: Part of the report that it belongs to; empty in a report without parts.
        links: Files and folders with what it shows; on the page alone.
        sources: Notes on which code implements which part of the paper; on the page alone.
        folded: Whether a reader opens it first, on the page.
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
        table: The numbers that carry the answer; without them the first section's table and figure stand here.
        figure: The figure that carries it.
        command: Command that makes all of it anew.
        about: What must be known of the table; a short sentence.
    """

    question: str
    answer: Sequence[str]
    table: pd.DataFrame | None = None
    figure: Figure | None = None
    command: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        """See that the answer is short."""
        if len(self.answer) > SENTENCES:
            raise ValueError(f"an answer has at most {SENTENCES} sentences, this one {len(self.answer)}")


SENTENCES = 5
"""Most sentences of an answer."""


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
    """Return text as code in Markdown, whatever marks it has itself."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def listed(items: Iterable[str]) -> str:
    """Return items as a list in Markdown."""
    return "* " + "\n* ".join(items)
