"""Pages, without a browser: what is escaped, what stands where, and that nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from l2l_cli.results import report as reports
from l2l_cli.results.content import Claim, Report, Section
from l2l_cli.results.page.frames import page_claims, page_table
from l2l_cli.results.page.prose import block, inline
from l2l_cli.results.page.render import report_page
from l2l_cli.results.page.templates import HERE
from l2l_cli.results.tables import results_table
from l2l_cli.results.verdicts import summarise
from tests.results import pages

VOID = {"meta", "img", "link", "br", "line", "circle"}
NASTY = '<script>alert(1)</script> & "x" <img src=y onerror=z>'


class Balance(HTMLParser):
    """Every element that is opened is closed, in order; nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.alts: list[str | None] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert found.get("src", "data:").startswith("data:")
        assert tag != "link" or found["href"].startswith("data:")
        assert not [name for name in found if name.startswith("on")]
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.alts += [found.get("alt")] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def parsed(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    return parser


@pytest.fixture
def whole(tmp_path: Path) -> Report:
    return pages.whole(tmp_path)


def test_a_page_is_whole_and_loads_nothing(whole, tmp_path):
    reports.write(whole, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = parsed(text)
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert all(page.alts)
    assert "default-src 'none'" in text
    own = text.replace((HERE / "static" / "uPlot.iife.min.js").read_text(), "").replace("http://www.w3.org", "")
    assert "http" not in re.sub(r"http-equiv", "", own)


def test_the_answer_comes_first_and_all_numbers_last(whole):
    text = report_page(whole)
    marks = [
        "We do.",
        "By much.",
        "Table 1</h2>",
        "Table 1: detail</summary>",
        "Ours</h2>",
        "All numbers</h2>",
        "Opening.",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_a_section_shows_figure_table_claims_departures_and_command(whole):
    text = report_page(whole).split('id="table-1"')[1]
    marks = ['class="charts"', "12.3%", "fails", "the domain", 'data-text="l2l reproduce']
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_a_chart_is_data_beside_its_still(whole):
    text = report_page(whole)
    (first, *_) = re.findall(r'<script type="application/json" class="charts">(.*?)</script>', text, re.DOTALL)
    chart, logarithmic = json.loads(first)
    assert logarithmic["log"] == "xy"
    assert [curve.get("kind") for curve in chart["curves"]] == ["line", "line", "line", "ghosts"]
    assert [curve["name"] for curve in chart["curves"]] == ["lstm", "adam", "limit", "paper (digitised)"]
    assert chart["curves"][0]["x"] == 0
    assert len(chart["places"][0]) == 39
    assert 'src="data:image/svg+xml,' in text


@pytest.mark.parametrize("place", ["title", "text", "cell", "claim", "question", "command", "caption", "column"])
def test_what_a_name_holds_is_text(place, whole, tmp_path):
    name = NASTY if place != "caption" else NASTY.replace('"', "")
    frame = pd.DataFrame({NASTY if place == "column" else "x": [NASTY if place == "cell" else "y"]})
    section = Section(
        NASTY if place == "title" else "Part",
        [NASTY if place == "text" else "t"],
        [frame],
        claims=[Claim(NASTY if place == "claim" else "c", True, "e")],
        question=NASTY if place == "question" else "",
        command=NASTY if place == "command" else "",
        figures=[whole.lead.figure.__class__(whole.lead.figure.path, name)] if place == "caption" else [],
    )
    text = report_page(Report("Title", ["o"], [section]))
    parsed(text)
    assert "<script>alert" not in text
    assert "<img src=y" not in text


def test_prose_is_markdown_without_html_and_images():
    text = "with `code * x` & <tags>, *em*, **strong**, 2 * 3 * 4, [site](https://example.org/a)"
    assert block("* one\n* two") == "<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n"
    assert inline(text) == (
        "with <code>code * x</code> &amp; &lt;tags&gt;, <em>em</em>, <strong>strong</strong>, 2 * 3 * 4, "
        '<a href="https://example.org/a">site</a>'
    )
    assert "<img" not in inline("![x](https://example.org/a.png)")
    assert "href" not in inline("[x](javascript:alert(1))")
    assert inline("weights_in_cell_x") == "weights_in_cell_x"


def test_claims_are_one_table_of_statements_and_variants():
    claims = [
        Claim("A, it leads", True, "e", "ratio 0.9", "It leads", "A"),
        Claim("B, it leads", False, "e", "ratio 1.1", "It leads", "B"),
        Claim("It stays finite", None, "e"),
    ]
    table = page_claims(claims)
    assert table.variants == ["A", "B"]
    both, alone = table.rows
    first, second = both.by_variant
    assert [first.word, first.number, second.word, second.number] == ["holds", "ratio 0.9", "fails", "ratio 1.1"]
    assert (both.verdict.word, both.verdict.style) == ("1 holds · 1 fails", "red")
    assert both.evidence == [("A", "e"), ("B", "e")]
    assert (alone.verdict.word, alone.by_variant, alone.evidence) == ("open", [None, None], [("", "e")])
    assert len({first.sign, second.sign, alone.verdict.sign}) == 3  # told apart without colour


def test_a_claim_that_failed_is_never_read_before_its_verdict(whole):
    text = report_page(whole).split('id="table-1"')[1]
    row = re.search(r"<tr><td>(.*?)</td><th scope=\"row\">It wins", text, re.DOTALL)
    assert row is not None
    assert "1 fails" in row[1]


def test_a_table_of_results_folds_and_says_its_verdicts():
    results = [summarise(("t", "a", "m"), [0.1, 0.11, 0.12], 0.2), summarise(("t", "b", "m"), [0.1, 0.4, 0.7], 0.3)]
    table = page_table(results_table(results))
    assert table.folds
    assert table.verdicts == ["better", "open"]
    shown = {name for name, style in table.head if "minor" not in style.split()}
    assert {"ours [95 %]", "verdict"} <= shown
    (_, cells), *_ = table.rows
    assert {(cell.text, cell.small) for cell in cells} >= {("0.110", "[0.0852, 0.135]"), ("better", "")}
    assert not page_table(pd.DataFrame({"a": [1]})).folds


def test_what_is_not_ours_is_unchanged():
    library = (HERE / "static" / "uPlot.iife.min.js").read_text()
    assert library.startswith("/*! https://github.com/leeoniya/uPlot (v1.6.32) */")
    assert "MIT License" in (HERE / "static" / "uPlot.LICENSE.txt").read_text()
    assert "</script" not in library


def test_a_report_without_charts_carries_no_library():
    text = report_page(Report("Title", ["Opening."]))
    assert "uPlot" not in text
    assert len(text) < 40_000
