"""Notes of docstrings: each is found, belongs to something, and reaches the papers whose rows build that."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tokenize
from functools import cache
from pathlib import Path

import pytest

from l2l_cli.config.build import Builder
from l2l_cli.config.groups import papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.papers.experiments import experiments
from l2l_cli.results.notes import all_notes, built_by, notes_of, source_page

PACKAGE = Path(__file__).resolve().parents[2] / "l2l_cli"

UNBUILT = {
    "runs/search.py": "rows name the settings that a search found, so that a report does not search again",
}
"""Places of ``Deviation:`` notes that concern no paper's rows, each with the reason."""


@cache
def asked(paper: str):
    return experiments(ReproduceRequest(paper, scale="paper"))


@cache
def notes_of_paper(paper: str):
    return notes_of(set().union(*(one.built() for one in asked(paper))))


@pytest.mark.slow  # `make notes` runs it: it composes every row of every paper
def test_every_deviation_reaches_a_report_and_every_paper_has_a_page_of_sources():
    reached = {note for paper in papers() for note in notes_of_paper(paper)}
    missing = {note.place for note in all_notes() if note.kind == "Deviation" and note not in reached}
    assert missing == set(UNBUILT), "a note concerns no row, or one that UNBUILT names concerns a row now"
    for paper in papers():  # composed here once, so the pages are looked at here too
        settings = asked(paper)[0].settings
        own = source_page(paper, Builder()(settings.paper, "paper").citation, notes_of_paper(paper)).split("## Other")[
            0
        ]
        places = re.findall(r"\| `(\S+\.py)", own)
        assert len(places) >= 5
        assert all((PACKAGE / place).is_file() for place in places)


def test_every_note_is_parsed():
    """Whatever the text looks like around it: each occurrence in a file is a note of that file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "notes.py":
            continue
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        written = len(re.findall(r"\b(?:Deviation|Source): ", path.read_text()))
        assert written == sum(note.module == module for note in all_notes()), path


def test_notes_stand_in_docstrings_not_in_comments():
    for path in sorted(PACKAGE.rglob("*.py")):
        with tokenize.open(path) as file:
            comments = [
                token.string for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT
            ]
        assert not [text for text in comments if "Deviation:" in text or "Source:" in text], path


def test_a_source_names_a_year_unless_it_is_the_papers_own():
    bare = [
        note.place
        for note in all_notes()
        if note.kind == "Source" and ".papers." not in note.module and not re.search(r"\b(18|19|20)\d\d\b", note.text)
    ]
    assert bare == []


EXAMPLE = '''
"""Rules.  Source: Author and Other 2020, §2.1; for the second half Third 1999, eq. 4.

Deviation: the paper has no head.
"""

from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.lbfgs import Lbfgs

RATES = [0.1]
"""Deviation: our rates."""


class Base:
    """What rules share.

    Deviation: its text goes on
    in a second line, about ``x``.

    Not part of it.
    """

    def step(self, rule: Lbfgs) -> float:
        """Step.

        Args:
            rule: Rule.  Deviation: of an argument,
                continued.
            other: Other.
        """
        return helper()


class Rule(Base):
    """One rule, which has no note."""

    def __init__(self, rates=RATES): ...


class Other:
    """Deviation: of a class that nobody builds."""


def helper():
    """Help.  Source: Author et al. 2020, algorithm 3."""
    return Adam
'''


@pytest.fixture
def example(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "noted_example.py").write_text(textwrap.dedent(EXAMPLE))
    return notes_of({"noted_example.Rule"})


def test_a_class_has_the_notes_of_its_bases_constants_functions_and_module(example):
    found = {(note.name, note.text) for note in example if note.module == "noted_example" and note.kind == "Deviation"}
    assert found == {
        ("", "the paper has no head."),
        ("RATES", "our rates."),
        ("Base", "its text goes on in a second line, about `x`."),
        ("Base.step", "of an argument, continued."),
    }


def test_nothing_is_imported():
    code = (
        "import sys\n"
        "from l2l_cli.results.notes import notes_of\n"
        "assert len(notes_of(['l2l_cli.learners.descent.Descent'])) > 3\n"
        "assert 'torch' not in sys.modules and 'l2l_cli.learners' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_references_lead_into_the_package_and_annotations_do_not(example):
    modules = {note.module for note in example}
    assert "l2l_cli.optimizers.adam" in modules
    assert "l2l_cli.optimizers.lbfgs" not in modules


def test_a_configuration_builds_its_targets_and_what_it_switches_on():
    node = {"task": {"_target_": "a.Task", "network": {"_target_": "a.Mlp"}}, "list": [{"_target_": "b.C"}], "n": 1}
    assert built_by(node) == {"a.Task", "a.Mlp", "b.C"}
    assert built_by({"search": {"trials": 0}}) == set()
    (searched,) = built_by({"search": {"trials": 8}})
    assert {note.module for note in notes_of([searched])} >= {"l2l_cli.runs.search"}


def test_a_page_says_where_each_part_of_a_paper_is(example):
    page = source_page("Rules", "First Author and Some Other: Rules of rules.  2020.", example)
    own, others = page.split("## Other sources")
    assert "| §2.1 | `noted_example.py` |" in own
    assert "| algorithm 3 | `noted_example.py: helper` |" in own
    assert "| for the second half Third 1999, eq. 4 | `noted_example.py` |" in others
    assert "Kingma and Ba 2015" in others
