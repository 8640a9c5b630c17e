"""The README's two recipes: a task and a learner of one's own, outside the package, by --config-dir."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_cli import run
from tests.test_commands import only

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks() -> dict[str, str]:
    """The README's code blocks, whole, by the file that their first line names."""
    found = re.findall(r"```\w+\n(# (\S+\.(?:py|yaml))\n.*?)```", README.read_text(), re.DOTALL)
    return {name: text for text, name in found}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder that holds exactly what README says to write."""
    for name, text in blocks().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_has_both_recipes():
    assert {Path(name).suffix for name in blocks()} == {".py", ".yaml"}
    assert len(blocks()) == 4


def test_a_task_of_ones_own(own, monkeypatch, capsys):
    small = "meta.updates=6 meta.validate_every=3 meta.validation_episodes=4 learner.rule.hidden=3"
    code, _, err = run(f"meta-train --config-dir my task=rosenbrock {small}", monkeypatch, capsys)
    assert code == 0, err
    folder = only("outputs/meta-train/rosenbrock-*")
    code, _, err = run(f"evaluate --run {folder}", monkeypatch, capsys)
    assert code == 2
    assert "pass --trust rosenbrock" in err
    trusted = f"evaluate --config-dir my --trust rosenbrock --run {folder} evaluation.episodes=4"
    assert run(trusted, monkeypatch, capsys)[0] == 0


def test_a_learner_of_ones_own(own, monkeypatch, capsys):
    arguments = "compare --config-dir my task=quadratic sign_descent sgd evaluation.episodes=4 tune.episodes=4"
    code, out, err = run(arguments, monkeypatch, capsys)
    assert code == 0, err
    assert "best of 6: rule.lr=" in only("outputs/compare/*/report.md").read_text()
    assert "sign_descent" in out


def test_a_learner_file_may_be_its_node_alone(own, monkeypatch, capsys):
    node = "_target_: l2l_cli.learners.descent.Descent\nrule: {_target_: sign_descent.SignDescent}\n"
    Path("my/learner/plain.yaml").write_text(f"# my/learner/plain.yaml\n{node}")
    code, _, err = run("compare --config-dir my task=quadratic plain evaluation.episodes=4", monkeypatch, capsys)
    assert code == 0, err
    assert "nothing to tune" in only("outputs/compare/*/report.md").read_text()
