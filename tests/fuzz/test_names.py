"""Text of a user's or a stranger's, with control characters, markup and HTML, in tables, reports and messages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from l2l_cli.core.errors import L2LError
from l2l_cli.results import report
from l2l_cli.results.content import Report, Section
from l2l_cli.results.sweeps import DONE, FAILED, SweepJob, messages, sweep_table
from l2l_cli.results.tables import frame_table
from l2l_cli.results.terminal import FoldingTable, console
from l2l_cli.runs.progress import Reporter
from tests.fuzz.outcome import CONTROL, SLOW, Faults, each, outcome

pytestmark = SLOW

PIECES = (
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "&lt;",
        "</title>",
        "{title}",
        "[bold]x[/]",
        "[/nothing]",
    ),
    *(
        "[link=file:///etc]x[/link]",
        "\x1b[31mred",
        "\x1b]0;title\x07",
        "\r",
        "\n",
        "\x00",
        "\x9b31m",
        "\u202e",
        "\u2028",
        "|",
    ),
    *(
        "`",
        "*",
        "_",
        "](javascript:alert(1))",
        "![x](file:///etc/passwd)",
        "\t",
        "ä",
        "日本語",
        "a" * 400,
        "",
        " ",
        "# x",
        "---",
    ),
)
TAGS = (
    {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "code",
        "em",
        "strong",
        "a",
        "div",
    }
    | {*("link", "nav", "main", "header", "section", "details", "summary", "button", "small", "output", "script")}
    | {*("table", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption", "span", "b", "i", "br", "pre")}
)


def names() -> st.SearchStrategy[str]:
    piece = st.sampled_from(PIECES) | st.text(max_size=6)
    return st.lists(piece, min_size=1, max_size=3).map("".join)


class Tags(HTMLParser):
    """Notes what a page has that a report has not."""

    def __init__(self) -> None:
        super().__init__()
        self.strange: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at a tag and its attributes."""
        self.scripts += tag == "script"
        if tag not in TAGS or self.scripts > 1:  # a report without charts has one of its own
            self.strange.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or "javascript:" in (value or "").lower():
                self.strange.append(f"<{tag} {name}>")


def wrong_page(text: str) -> str:
    tags = Tags()
    tags.feed(text)
    return f"{tags.strange[0]} in report.html" if tags.strange else ""


def controls(text: str, where: str) -> str:
    return f"a control character in {where}" if CONTROL.search(text) else ""


def written(name: str, folder: Path) -> None:
    frame = pd.DataFrame({"contender": [name, "adam"], name or "x": [0.5, 1.5]})
    section = Section(name, [f"of {name}"], tables=[frame], question=name)
    report.write(Report(f"Evaluation of {name}", [f"Learner `{name}`"], [section]), folder)


def shown(name: str) -> None:
    table = pd.DataFrame({"contender": [name, "adam"], "loss": [0.5, 1.5]})
    console().print(frame_table(table, name))
    console().print(FoldingTable(name, {name: True, "b": False}, [[name, name]]))
    row = {"objective": "loss", "loss": 0.5, "run": name}
    jobs = [SweepJob(0, [f"name={name}"], DONE, row), SweepJob(1, ["name=b"], FAILED, {}, f"no {name}", 1)]
    console().print(sweep_table(jobs))
    with Reporter(name, 3) as reporter:
        reporter.say(f"{name}: best")
        reporter.advance(name, 1)


def test_reports_and_tables(tmp_path, capsys, tally):
    faults = Faults()

    def case(name: str) -> None:
        capsys.readouterr()
        ended = outcome(lambda: (written(name, tmp_path), shown(name)), tmp_path)
        said = capsys.readouterr()
        page, text = ((tmp_path / f"report.{kind}") for kind in ("html", "md"))
        found = [ended.fault, controls(said.out + said.err, "what is printed")]
        if page.exists() and text.exists():
            found += [controls(page.read_text(), "report.html"), controls(text.read_text(), "report.md")]
            found += [wrong_page(page.read_text()), markup(text.read_text())]
        faults.judge(repr(name), ended._replace(fault="; ".join(filter(None, found))))

    each(names(), 0.04, case)
    tally(faults)


def markup(text: str) -> str:
    """Say which HTML a report in Markdown would pass on to a browser; in code it is text."""
    found = re.search(r"<(script|img)\b", re.sub(r"`[^`\n]*`", "", text))
    return f"{found.group(0)} in report.md" if found else ""


def test_messages_of_jobs(tally):
    faults = Faults()

    def told(name: str) -> Any:
        jobs = [SweepJob(0, [f"name={name}"], FAILED, {}, f"no {name}", 1), SweepJob(1, ["name=b"], DONE, {})]
        raise L2LError(messages(jobs)[0])

    each(names(), 0.01, lambda name: faults.judge(repr(name), outcome(lambda: told(name))))
    tally(faults)
