"""Reports: one content in two forms, and tables in the terminal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from l2l_cli.results import report as reports
from l2l_cli.results.content import Claim, Figure, Lead, Report, Section
from l2l_cli.results.drawing import save
from l2l_cli.results.plot import panels
from l2l_cli.results.report import markdown_table
from l2l_cli.results.tables import frame_table, number, results_table, terminal_table, verdict_line
from l2l_cli.results.verdicts import summarise

KEY = ("table", "row", "mse")
RESULTS = [
    summarise(("t1", "B16 [told]", "mse"), [0.1, 0.11, 0.12], 0.2, 0.05, "mean |y − o|"),
    summarise(("t1", "other", "mse"), [], 0.5),
]


@pytest.fixture
def report(tmp_path):
    figure, axes = panels(1, 1)
    axes[0].plot([1, 2])
    save(figure, tmp_path / "figures" / "f")
    table = pd.DataFrame({"na|me": ["a|b", "c\nd"], "value": [0.00012345, 12.0], "share": [0.123, 0.5]})
    text = ["* one\n* two", "with `code * x * y` & <tags>, *em*, **strong**, 2 * 3 * 4, [site](https://example.org/a)"]
    figures = [Figure(tmp_path / "figures/f.png", "Cap")]
    claims = [Claim("It wins", True, "1 < 2"), Claim("It fails", False), Claim("It ends", None)]
    section = Section("Part", text, [table], figures, {"share": ".1%"}, claims, "Who wins?", ["the domain"], "l2l x")
    return Report("Title", ["Opening."], [section, Section("All numbers", tables=[results_table(RESULTS)])])


def test_a_report_is_markdown(report, tmp_path):
    reports.write(report, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| na\\|me |" in text
    assert "| a\\|b   |" in text
    assert "| c d    |" in text
    assert "12.3%" in text
    assert "![Cap](figures/f.svg)" in text
    assert "mean \\|y − o\\|" in text
    assert "* the domain" in text
    assert "*Who wins?*" in text
    assert "Command: `l2l x`" in text
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["Part", "All numbers"]


def test_claims_that_fail_are_said_to_fail(report, tmp_path):
    text = reports.markdown(report, tmp_path)
    wanted = "* It wins: holds (1 < 2).\n* It fails: **fails**.\n* It ends: not run at this scale."
    assert wanted in text


def test_what_a_smoke_run_cannot_judge_has_no_verdict(tmp_path):
    claims = [claim.unjudged() for claim in (Claim("It wins", True, "1 < 2"), Claim("It fails", False))]
    text = reports.markdown(Report("Title", [], [Section("Part", claims=claims)]), tmp_path)
    assert "* It wins: not judged at this scale.\n* It fails: not judged at this scale." in text


def test_the_answer_comes_first(tmp_path):
    lead = Lead("Who wins?", ["We do.", "By much."], pd.DataFrame({"row": ["x"], "ours": ["1"]}), about="Of one.")
    text = reports.markdown(Report("Title", ["Opening."], [Section("Part")], lead), tmp_path)
    assert text.startswith("# Title\n\n*Who wins?*\n\nWe do.\n\n* By much.\n\n| row | ours |")
    assert text.index("Of one.") < text.index("Opening.") < text.index("## Part")


def test_an_answer_is_short():
    with pytest.raises(ValueError, match="at most 5 sentences, this one 6"):
        Lead("Who wins?", ["We do."] * 6)


def test_what_is_not_given_has_no_section(tmp_path):
    assert reports.markdown(Report("Title", ["Opening."]), tmp_path) == "# Title\n\nOpening.\n"


def test_numbers_have_three_digits():
    values = (0.0147993, 1.23e-5, 6.0, 257, 1000.0, 999.96, 1234.5, 5061, 2.5e7, 0.0, np.int64(7), True, "x")
    shown = [number(value) for value in values]
    expected = ["0.0148", "1.23e-05", "6", "257", "1000", "1000", "1234", "5061", "2.50e+07", "0", "7", "True", "x"]
    assert shown == expected
    assert [number(value) for value in (None, float("nan"), pd.NA, float("inf"))] == ["–", "–", "–", "inf"]


def test_tables_are_aligned():
    lines = markdown_table(pd.DataFrame({"a": ["x", "long"], "b": [1, 22]})).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ---- | --: |"


def test_verdicts_are_counted():
    results = [summarise(KEY, [0.1, 0.1, 0.1], paper) for paper in (0.1, 0.5, 0.6)]
    results.append(replace(results[0], counts=False))  # judged in another place, too
    assert verdict_line(results) == "3 published numbers: 2 better, 1 reproduced"
    assert verdict_line([summarise(KEY, [0.1], None)]) == "no published number"
    assert verdict_line([results[-1]]) == "no published number is judged here"


def shown(table) -> str:
    console = Console(width=140, color_system="truecolor", force_terminal=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_terminal_shows_names_in_brackets_and_verdicts_in_colour():
    text = shown(terminal_table(RESULTS, "Paper [scale short]"))
    assert "Paper [scale short]" in text
    assert "B16 [told]" in text
    assert "\x1b[32mbetter" in text
    assert "0.110 [0.0852, 0.135]" in text
    assert "2.20" in text
    assert "mean |y − o|" not in text


def test_the_terminal_shows_any_frame():
    frame = pd.DataFrame({"run [1]": ["[a]"], "loss": [0.12345]})
    assert "run [1]" in shown(frame_table(frame, "t"))
    assert "0.123" in shown(frame_table(frame, "t"))
    assert shown(terminal_table([], "nothing yet"))
