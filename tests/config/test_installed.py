"""Packages that are installed beside this program offer tasks, learners and papers by their entry points."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from l2l_cli.config import installed
from l2l_cli.config.groups import options, papers
from tests.pages import ROOT
from tests.pages.blocks import blocks_of
from tests.test_cli import run

TEMPLATE = ROOT / ".github/plugin-template"

PAGES = ("own-task.md", "own-rule.md", "own-paper.md")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package, given its entry points; the template's code is found beside it."""
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(TEMPLATE)

    def made(name: str, entry_points: str) -> Path:
        facts = site / f"{name}-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(entry_points)
        monkeypatch.syspath_prepend(site)
        installed.offers.cache_clear()
        return site

    yield made
    monkeypatch.undo()
    installed.offers.cache_clear()


def template_points():
    """The entry points of the template's pyproject.toml, as an installer writes them."""
    text = (TEMPLATE / "pyproject.toml").read_text()
    groups = re.findall(r'^\[project\.entry-points\."(.+)"\]\n(\S+) = "(.+)"', text, re.MULTILINE)
    assert {group for group, _, _ in groups} == set(installed.ENTRY_POINTS)
    return "".join(f"[{group}]\n{name} = {module}\n" for group, name, module in groups)


def test_what_a_package_offers_is_in_lists_and_in_help(install, monkeypatch, capsys):
    install("l2l_template", template_points())
    assert "rosenbrock" in options("task")
    assert "sign_descent" in options("learner")
    assert papers()["polyak1964"] == ["speed"]
    assert "rosenbrock" in run_help("meta-train task --help", monkeypatch, capsys)
    assert "task.steepest" in run_help("meta-train task=rosenbrock --help", monkeypatch, capsys)
    _, out, _ = run("reproduce --list", monkeypatch, capsys)
    assert "polyak1964" in out


def run_help(words, monkeypatch, capsys):
    from l2l_cli.cli import main

    monkeypatch.setattr("sys.argv", ["l2l", *words.split()])
    main()
    return str(capsys.readouterr().out)


def test_commands_compose_it(install, monkeypatch, capsys):
    install("l2l_template", template_points())
    code, out, err = run("meta-train task=rosenbrock --cfg job", monkeypatch, capsys)
    assert code == 0, err
    assert "l2l_template.rosenbrock.Rosenbrock" in out


@pytest.mark.parametrize(
    ("entry_points", "why"),
    [
        ("[l2l.tasks]\nbroken = nowhere_at_all.conf\n", "l2l.tasks names the module nowhere_at_all.conf, which is not"),
        ("[l2l.learners]\nbroken = l2l_cli.core\n", "l2l.learners promises files in"),
    ],
)
def test_a_broken_package_is_named_with_what_to_do(install, entry_points, why, monkeypatch, capsys):
    install("l2l_broken", entry_points)
    code, _, err = run("meta-train task=quadratic --dry-run", monkeypatch, capsys)
    assert code == 2
    assert "the installed package l2l_broken 1.0 is broken" in err
    assert why in err
    assert "`pip uninstall l2l_broken`" in err
    assert "quadratic" in options("task")  # help still works


def test_a_package_that_fails_when_it_is_looked_into_is_named_with_its_error(install, tmp_path, monkeypatch, capsys):
    """Where only an import hook finds it, as of an editable install, it is imported to be looked into."""
    site = install("l2l_broken", "[l2l.tasks]\nbroken = l2l_broken_hooked.conf\n")
    (site / "hidden").mkdir()
    (site / "hidden" / "code.py").write_text("this is no Python")

    class Hook:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "l2l_broken_hooked":
                return importlib.util.spec_from_file_location(
                    name, site / "hidden" / "code.py", submodule_search_locations=[str(site / "hidden")]
                )
            return None

    monkeypatch.setattr("sys.meta_path", [*sys.meta_path, Hook])
    code, _, err = run("meta-train task=quadratic --dry-run", monkeypatch, capsys)
    assert code == 2
    assert (
        "l2l_broken 1.0 is broken: its entry point l2l.tasks names the module l2l_broken_hooked.conf, which cannot"
        in err
    )
    assert "SyntaxError" in err


def test_the_template_is_what_the_pages_say():
    for page in PAGES:
        for block in blocks_of(ROOT / ".github/docs" / page):
            if not block.file:
                continue
            inner = block.file.removeprefix("my/")
            text = block.text.partition("\n")[2] + "\n"
            place = TEMPLATE / "l2l_template" / (inner if inner.endswith(".py") else f"conf/{inner}")
            if inner.endswith(".yaml"):
                text = re.sub(r"_target_: (?!l2l_cli)", "_target_: l2l_template.", text)
            assert place.read_text() == text, place
