"""What a newcomer reads works as it is printed: every code block of README and of the pages that it leads to."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from l2l_cli.cli import main
from tests.pages import ROOT
from tests.pages.blocks import PAGES, blocks_of, carry_out, commands_of, differing, write_files
from tests.test_cli import run
from tests.test_commands import only

DOCS = ROOT / ".github/docs"

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES if blocks_of(page)]

BY_L2L = [name for name in NAMES if any(not block.mark for block in blocks_of(ROOT / name))]


def test_every_block_is_one_that_is_carried_out():
    for name in NAMES:
        for block in blocks_of(ROOT / name):
            known = block.mark == "output" or block.language in ("sh", "python", "yaml")
            assert known, f"{name}: ```{block.language}"
            assert block.language != "yaml" or block.file, f"{name}: a YAML block begins with the name of its file"


@pytest.mark.parametrize("name", BY_L2L)
def test_blocks_work_as_printed(name, tmp_path, monkeypatch, capsys):
    write_files(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(ROOT / name):
        if block.mark or block.file:
            continue
        if block.language == "python":
            exec(compile(block.text, name, "exec"), {})
        for words in commands_of(block) if block.language == "sh" else ():
            assert words[0] == "l2l"
            monkeypatch.setattr(sys, "argv", words)
            code = 0
            try:
                main()
            except SystemExit as ended:
                code = ended.code or 0
            assert code == 0, (shlex.join(words), capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_blocks_work_as_printed_in_a_shell(name, tmp_path):
    write_files(ROOT / name, tmp_path)
    printed: str | None = None
    for block in blocks_of(ROOT / name):
        if block.mark == "output":
            assert printed is None or not differing(block.text, printed)
        elif not block.file:
            printed = carry_out(block, tmp_path) if block.mark in ("", "run: slow") else None


def test_what_continuous_integration_runs_is_what_readme_says():
    (block,) = (block for block in blocks_of(ROOT / "README.md") if block.mark == "run: ci")
    reproduce, test = commands_of(block)
    assert shlex.join(test) in (ROOT / ".ci/run").read_text()
    assert f"\n{reproduce[1]}:" in (ROOT / "Makefile").read_text()


def test_what_needs_other_machines_is_at_least_a_configuration(monkeypatch, capsys):
    commands = [
        words[words.index("meta-train") :]
        for page in PAGES
        for block in blocks_of(page)
        if block.mark == "run: cluster"
        for words in commands_of(block)
        if "meta-train" in words and "-m" not in words[words.index("meta-train") :]
    ]
    assert commands
    for words in commands:
        code, _, err = run(shlex.join([*words, "--cfg", "job"]), monkeypatch, capsys)
        assert code == 0, err


def test_a_task_of_ones_own(tmp_path, monkeypatch, capsys):
    write_files(DOCS / "own-task.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    small = "meta.updates=6 meta.validate_every=3 meta.validation_episodes=4 learner.rule.hidden=3"
    code, _, err = run(f"meta-train --config-dir my task=rosenbrock {small}", monkeypatch, capsys)
    assert code == 0, err
    folder = only("outputs/meta-train/rosenbrock-*")
    code, _, err = run(f"evaluate --run {folder}", monkeypatch, capsys)
    assert code == 2
    assert "pass --trust rosenbrock" in err
    trusted = f"evaluate --config-dir my --trust rosenbrock --run {folder} evaluation.episodes=4"
    assert run(trusted, monkeypatch, capsys)[0] == 0


@pytest.fixture
def own_rule(tmp_path, monkeypatch):
    """A folder that holds the rule that a page says to write."""
    write_files(DOCS / "own-rule.md", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_a_learner_file_may_be_its_node_alone(own_rule, monkeypatch, capsys):
    node = "_target_: l2l_cli.learners.descent.Descent\nrule: {_target_: sign_descent.SignDescent}\n"
    Path("my/learner/plain.yaml").write_text(node)
    code, _, err = run("compare --config-dir my task=quadratic plain evaluation.episodes=4", monkeypatch, capsys)
    assert code == 0, err
    assert "nothing to tune" in only("outputs/compare/*/report.md").read_text()
