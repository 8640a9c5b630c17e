"""Reports as files: one content, as Markdown and as a self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from l2l_cli.core.files import atomic_write
from l2l_cli.core.printable import printable
from l2l_cli.results.content import Figure, Lead, Report
from l2l_cli.results.page.render import report_page
from l2l_cli.results.tables import are_numeric, cells_of


def write(report: Report, folder: Path) -> None:
    """Write report.md and report.html into a folder."""
    atomic_write(folder / "report.md", printable(markdown(report, folder)))
    atomic_write(folder / "report.html", printable(report_page(report)))


def markdown(report: Report, folder: Path) -> str:
    """Return a report as Markdown, with figures linked relative to ``folder``."""
    parts = [f"# {_line(report.title)}", *_lead(report.lead, folder), *report.opening]
    for section in report.sections:
        parts += [f"## {_line(section.title)}", *section.paragraphs()]
        parts += [markdown_table(table, section.formats) for table in section.tables]
        parts += [_linked(figure, folder) for figure in section.figures]
    return _without_tags("\n\n".join(parts) + "\n")


def _lead(lead: Lead | None, folder: Path) -> list[str]:
    """Return the question and its answer, with table and figure; nothing for a lead without a table of its own."""
    if lead is None or lead.table is None:
        return []
    figure = [_linked(lead.figure, folder)] if lead.figure else []
    about = [lead.about] if lead.about else []
    answer = "\n".join([lead.answer[0], "", *(f"* {sentence}" for sentence in lead.answer[1:])]).strip()
    return [f"*{lead.question}*", answer, markdown_table(lead.table), *about, *figure]


def _linked(figure: Figure, folder: Path) -> str:
    link = figure.path.with_suffix(".svg").relative_to(folder).as_posix()
    return f"![{figure.caption}]({link})\n\n*{figure.caption}*"


def _line(text: str) -> str:
    return " ".join(text.split())


def _without_tags(text: str) -> str:
    """Escape whatever would begin an HTML tag, which any name may contain."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def markdown_table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """Return a data frame as an aligned Markdown table, with pipes escaped."""

    def plain(cell: str) -> str:
        return " ".join(cell.split()).replace("|", "\\|")

    numeric = list(are_numeric(frame).values())
    header, *rows = [
        [plain(cell) for cell in row] for row in [list(map(str, frame.columns)), *cells_of(frame, formats)]
    ]
    widths = [max(3, *(len(row[index]) for row in [header, *rows])) for index in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
    return "\n".join([line(header), line(rule), *map(line, rows)])
