"""Reports as files: one content, as Markdown and as a self-contained HTML page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from l2l_cli.core.files import atomic_write
from l2l_cli.core.printable import printable
from l2l_cli.results.content import Figure, Report
from l2l_cli.results.page import PAGE
from l2l_cli.results.tables import VERDICT_STYLE, are_numeric, cells_of


def write(report: Report, folder: Path) -> None:
    """Write report.md and report.html into a folder."""
    atomic_write(folder / "report.md", printable(markdown(report, folder)))
    atomic_write(folder / "report.html", printable(page(report)))


def markdown(report: Report, folder: Path) -> str:
    """Return a report as Markdown, with figures linked relative to ``folder``."""
    parts = [f"# {_line(report.title)}", *report.opening]
    for section in report.sections:
        parts += [f"## {_line(section.title)}", *section.paragraphs()]
        parts += [markdown_table(table, section.formats) for table in section.tables]
        for figure in section.figures:
            link = figure.path.relative_to(folder).as_posix()
            parts.append(f"![{figure.caption}]({link})\n\n*{figure.caption}*")
    return _without_tags("\n\n".join(parts) + "\n")


def _line(text: str) -> str:
    return " ".join(text.split())


def _without_tags(text: str) -> str:
    """Let what would begin a tag of HTML, which may be in any name, be read as it is."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def page(report: Report) -> str:
    """Return a report as one HTML page with its figures inside."""
    parts = [f"<h1>{html.escape(report.title)}</h1>", *map(_paragraph, report.opening)]
    for section in report.sections:
        parts += [f"<h2>{html.escape(section.title)}</h2>", *map(_paragraph, section.paragraphs())]
        parts += [_html_table(table, section.formats) for table in section.tables]
        parts += map(_html_figure, section.figures)
    return PAGE.format(title=html.escape(report.title), body="\n".join(parts))


def _html_figure(figure: Figure) -> str:
    data, caption = base64.b64encode(figure.path.read_bytes()).decode(), html.escape(figure.caption)
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def markdown_table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """Return a frame as an aligned Markdown table, pipes escaped."""

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


def _paragraph(text: str) -> str:
    """Turn one paragraph of our Markdown into HTML: lists, *emphasis*, `code` and links."""
    if text.startswith("* "):
        items = (f"<li>{_inline(item)}</li>" for item in text.removeprefix("* ").split("\n* "))
        return "<ul>" + "".join(items) + "</ul>"
    return f"<p>{_inline(text)}</p>"


_MARKS = (
    (r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r'<a href="\2">\1</a>'),
    (r"\*\*(?=\S)(.+?)(?<=\S)\*\*", r"<strong>\1</strong>"),
    (r"\*(?=\S)([^*]+?)(?<=\S)\*", r"<em>\1</em>"),
)


def _inline(text: str) -> str:
    """Mark up all but code, in which a star is a star."""
    pieces = re.split(r"`([^`]+)`", text)
    for index, piece in enumerate(pieces):
        pieces[index] = html.escape(piece)
        if index % 2:
            pieces[index] = f"<code>{pieces[index]}</code>"
        else:
            for mark, tag in _MARKS:
                pieces[index] = re.sub(mark, tag, pieces[index])
    return "".join(pieces)


def _html_table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    numeric = are_numeric(frame)
    sides = [" class=n" if right else "" for right in numeric.values()]
    head = "".join(f"<th{side}>{html.escape(name)}</th>" for name, side in zip(numeric, sides, strict=True))
    body = "".join("<tr>" + "".join(map(_html_cell, row, sides)) + "</tr>" for row in cells_of(frame, formats))
    return f"<div class=table><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _html_cell(cell: str, side: str) -> str:
    verdict = f" class={VERDICT_STYLE[cell]}" if cell in VERDICT_STYLE else side
    return f"<td{verdict}>{html.escape(cell)}</td>"
