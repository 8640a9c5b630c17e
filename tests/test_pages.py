"""README and the papers' pages print what the committed studies gave, and nothing else."""

from __future__ import annotations

import re

import pytest

from l2l_cli.config.groups import papers
from l2l_cli.papers import origin
from l2l_cli.papers.origin import Origin
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.verdicts import summarise
from tests import pages

FIRST = next(iter(papers()))


def test_readmes_table_is_that_of_the_studies():
    text = pages.README.read_text(encoding="utf-8")
    assert pages.readme_of(text) == text


@pytest.mark.parametrize("paper", papers())
def test_a_papers_page_is_that_of_its_study(paper):
    assert pages.place_of(paper).read_text(encoding="utf-8") == pages.page_of(paper)


def test_a_page_prints_numbers_and_claims_of_a_study(tmp_path, monkeypatch):
    monkeypatch.setattr(origin, "file_of_study", lambda paper: tmp_path / "results.csv")
    run = summarise(("table", "row", "mse"), [0.1, 0.11, 0.12], 0.2, 0.05)
    told = Section("x", claims=[Claim("It wins", True, "1 < 2"), Claim("It lasts", None)])
    lines = [run, *origin.claims_of("table", [told])]
    where = Origin("0a1b2c3d", "2db7d32", "2026-11-27", "Linux", "l2l reproduce p table --scale study", "12.5")
    origin.write_results(tmp_path / "results.csv", lines, {"table": where})
    monkeypatch.setattr(pages, "TEMPLATES", tmp_path)
    (tmp_path / f"{FIRST}.md").write_text("What came out.")
    page = re.sub(" +", " ", pages.page_of(FIRST))
    assert "What came out." in page
    assert "| table | row | mse | 0.2 | 0.110 [0.0852, 0.135] | 3 | 0.05 | better |" in page
    assert "| table | It wins | holds | 1 < 2 |" in page
    assert "| table | It lasts" not in page
    assert "2db7d32" in page
    template = f"| {{{FIRST}/table/row/mse/±}} | {{{FIRST}/table/row/mse/ratio_to_limit:.2f}} |"
    assert pages.filled(template) == "| 0.110 [0.0852, 0.135] | 2.20 |"
    assert pages.filled(f"{{{FIRST}/verdicts}} {{{FIRST}/claims}}") == "1 better 1 · 0 · 0"
    with pytest.raises(ValueError, match="not enough values"):
        pages.filled(f"{{{FIRST}/table/no such row/mse/ours}}")
