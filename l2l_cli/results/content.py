"""The content of a report, which Markdown, HTML and the terminal draw alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "open"
"""Verdicts on claims that were run."""


@dataclass(frozen=True)
class Figure:
    """A figure: its PNG file, under the report's folder, and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, or ours, judged by measurements.

    Attributes:
        text: The statement.
        holds: Whether it holds; None where nothing decides it.
        evidence: What it is judged by; empty if it was not run.
    """

    text: str
    holds: bool | None
    evidence: str = ""

    @property
    def verdict(self) -> str:
        """Whether the claim holds, in words."""
        return {True: HOLDS, False: FAILS, None: UNDECIDED if self.evidence else "not run"}[self.holds]

    def __str__(self) -> str:
        """Return a sentence for the report."""
        undecided = "*This is open*" if self.evidence else "Not run at this scale"
        verdict = {True: "This holds", False: "**This does not hold**", None: undecided}[self.holds]
        return f"{self.text}: {verdict}{': ' if self.evidence else ''}{self.evidence}."


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

    def paragraphs(self) -> list[str]:
        """Return the question, the text with the claims in their place, deviations and the command, as Markdown."""
        claims = [listed(map(str, self.claims))] if self.claims else []
        question = [f"*{self.question}*"] if self.question else []
        deviations = ["Departures from the source:", listed(self.deviations)] if self.deviations else []
        command = [f"Command: `{self.command}`"] if self.command else []
        return [*question, *self.text[:1], *claims, *self.text[1:], *deviations, *command]


@dataclass(frozen=True)
class Report:
    """A page: its heading, the paragraphs before the first section, and the sections in their order."""

    title: str
    opening: Sequence[str]
    sections: Sequence[Section] = ()


def code(text: object) -> str:
    """Return text as code in Markdown, whatever marks it has itself."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def listed(items: Iterable[str]) -> str:
    """Return items as a list in Markdown."""
    return "* " + "\n* ".join(items)
