"""Pages, without a browser: what is escaped, what stands where, and that nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from l2l_cli.results import report as reports
from l2l_cli.results.content import ABOUT, BEYOND, PAPER, Claim, Lead, Link, Report, Section
from l2l_cli.results.drawing import saved
from l2l_cli.results.page.frames import page_claims, page_table
from l2l_cli.results.page.prose import block, inline
from l2l_cli.results.page.render import HERE, report_page
from l2l_cli.results.plot import curves, decorate, panels
from l2l_cli.results.tables import results_table
from l2l_cli.results.verdicts import summarise

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
    """A report with all that a page can show."""
    figure, (axes,) = panels(1, 1)
    frame = pd.DataFrame({"contender": "lstm", "seed": 0, "step": range(1, 40), "value": np.geomspace(1, 0.01, 39)})
    curves(axes, frame, ["lstm"])
    decorate(axes, "a", "step", "loss", "y")
    drawn = saved(figure, tmp_path / "figures" / "f", "Loss against step.")
    results = [summarise(("t", name, "mse"), [0.1, 0.11, 0.12], paper) for name, paper in (("a", 0.2), ("b", 0.11))]
    table = pd.DataFrame({"contender": ["a", "b"], "share": [0.123, 0.5]})
    claims = [Claim("It wins", True, "1 < 2", "ratio 0.5"), Claim("It fails", False, "e"), Claim("It ends", None)]
    section = Section(
        "Table 1", ["Text."], [table], [drawn], {"share": ".1%"}, claims, "Who wins?", ["the domain"], "l2l x", PAPER
    )
    return Report(
        "Title",
        ["Opening."],
        [
            section,
            Section("Table 1: detail", ["More."], part=PAPER, links=[Link("results.csv", "results.csv")]),
            Section("Ours", question="And then?", part=BEYOND),
            Section("All numbers", tables=[results_table(results)], part=ABOUT, folded=True),
        ],
        Lead("Who wins?", ["We do."], results_table(results).drop(columns="note"), drawn, "l2l x"),
    )


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
    marks = ["We do.", "Table 1</h2>", "Table 1: detail</summary>", "Ours</h2>", "All numbers</h2>", "Opening."]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_a_section_shows_figure_table_claims_departures_and_command(whole):
    text = report_page(whole).split('id="table-1"')[1]
    marks = ['class="charts"', "12.3%", "fails", "the domain", 'data-text="l2l x"']
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_a_chart_is_data_beside_its_still(whole):
    text = report_page(whole)
    (first, *_) = re.findall(r'<script type="application/json" class="charts">(.*?)</script>', text, re.DOTALL)
    (chart,) = json.loads(first)
    assert chart["curves"][0]["name"] == "lstm"
    assert len(chart["curves"][0]["x"]) == 39
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
    (first, second), (lone, nothing) = (verdicts for _, verdicts in table.rows)
    assert [first.word, first.number, second.word, second.number] == ["holds", "ratio 0.9", "fails", "ratio 1.1"]
    assert (lone.word, nothing) == ("open", None)
    signs = {first.sign, second.sign, lone.sign}
    assert len(signs) == 3  # told apart without colour


def test_a_table_of_results_folds_and_says_its_verdicts():
    results = [summarise(("t", "a", "m"), [0.1, 0.11, 0.12], 0.2), summarise(("t", "b", "m"), [0.1, 0.4, 0.7], 0.3)]
    table = page_table(results_table(results))
    assert table.folds
    assert table.verdicts == ["better", "open"]
    shown = {name for name, style in table.head if "main" in style.split()}
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
