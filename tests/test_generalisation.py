"""l2l evaluate over a grid of problems, and compare with the strong baselines, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from l2l_cli.cli import main
from tests.test_cli import run
from tests.test_commands import only

TRAIN = (
    "meta-train task=digits task.hidden=[3] task.examples=4 task.horizon=6 learner.rule.hidden=3 gradient.episodes=2 "
    "gradient.window=6 meta.updates=2 meta.validate_every=1 meta.validation_episodes=2"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a run that is done."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["l2l", *TRAIN.split(), f"output={root}"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    (folder,) = root.glob("meta-train/*")
    return folder


@pytest.fixture
def trained(made, tmp_path, monkeypatch):
    """The same, seen from another folder."""
    monkeypatch.chdir(tmp_path)
    return made


def test_a_grid_against_tuned_rivals(trained, monkeypatch, capsys):
    wanted = (
        f"evaluate --run {trained} evaluation.grid.hidden=[[3],[2,2]] "
        "evaluation.problems.ReLU.activation=relu evaluation.stretch=[1,3] evaluation.against=[sgd,lbfgs] "
        "evaluation.episodes=4 tune.episodes=2 tune.budget=3"
    )
    code, out, err = run(wanted, monkeypatch, capsys)
    assert code == 0, err
    assert "ReLU, hidden=2–2" in out
    folder = only("outputs/evaluate/*")
    frame = pd.read_csv(folder / "grid.csv")
    assert list(frame.problem.unique()) == ["ReLU, hidden=3", "ReLU, hidden=2–2"]
    assert len(frame) == 2 * 2 * 3
    assert set(frame.steps) == {6, 18}
    assert frame[frame.contender == "sgd"].chosen.str.startswith("best of 3: rule.lr=").all()
    assert frame[frame.contender == "lbfgs"].chosen.str.endswith("evaluations per step").all()
    metrics = pd.read_csv(folder / "metrics.csv")
    assert set(metrics.problem) == {f"{problem} ×{stretch}" for problem in frame.problem for stretch in (1, 3)}
    assert set(metrics.contender) == {"coordinatewise_lstm", "sgd", "lbfgs"}
    report = (folder / "report.md").read_text()
    for said in ("mean loss at the last step", "accuracy at the last step", "ratio of means", "×3 (18 steps)"):
        assert said in report
    assert (folder / "figures" / "grid.png").stat().st_size > 5000
    assert json.loads((folder / "run.json").read_text())["status"] == "done"


def test_a_grid_alone_shows_the_loss(trained, monkeypatch, capsys):
    wanted = f"evaluate --run {trained} evaluation.problems.twice.horizon=12 evaluation.episodes=3"
    code, _, err = run(wanted, monkeypatch, capsys)
    assert code == 0, err
    frame = pd.read_csv(only("outputs/evaluate/*/grid.csv"))
    assert frame[["problem", "steps", "contender"]].to_numpy().tolist() == [
        ["twice", 12, "coordinatewise_lstm"],
        ["twice", 24, "coordinatewise_lstm"],
    ]
    assert "rival" not in only("outputs/evaluate/*/report.md").read_text()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("evaluation.grid.hiden=[[3]]", "task.hiden: ImageTask has no such argument; did you mean 'hidden'?"),
        ("evaluation.grid.hidden=[many]", "task.network.hidden must be of type"),
        ("evaluation.grid.hidden=3", "evaluation.grid.hidden must be a list of values"),
        ("evaluation.grid.rule.depth=[3]", "there is nothing at task.rule to set 'rule.depth' in"),
        ("evaluation.problems.wide=40", "evaluation.problems.wide must say what changes"),
        ("evaluation.against=[adma]", "there is no learner 'adma'; did you mean 'adam'?"),
        ("evaluation.against=[coordinatewise_lstm]", "has weights to be meta-trained first"),
    ],
)
def test_a_wrong_grid_is_one_line_and_writes_nothing(wanted, message, trained, monkeypatch, capsys):
    code, _, err = run(f"evaluate --run {trained} {wanted}", monkeypatch, capsys)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("outputs/evaluate").exists()


@pytest.mark.slow
def test_compare_says_budgets_and_evaluations_that_differ(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "task.dimension=3 task.horizon=8 evaluation.episodes=4 tune.episodes=2 tune.extensions=0"
    contenders = "{sgd:['learner=sgd'],momentum:['learner=momentum','tune=all']}"
    names = f"lbfgs conjugate_gradient contenders={contenders}"
    code, _, err = run(f"compare task=quadratic {names} {small}", monkeypatch, capsys)
    assert code == 0, err
    report = only("outputs/compare/*/report.md").read_text()
    assert "sgd 8 settings, momentum 48 settings, lbfgs 8 settings" in report
    assert "best of 48: rule.lr=" in report
    assert "evaluations per step" in report
    facts = json.loads(only("outputs/compare/*/run.json").read_text())
    assert {name: len(trials) for name, trials in facts["tuning"].items()} == {
        "sgd": 8,
        "lbfgs": 8,
        "momentum": 48,
    }


def test_an_edge_of_the_grid_is_in_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "task.dimension=3 task.horizon=8 evaluation.episodes=4 tune.episodes=2 tune.extensions=1"
    code, out, err = run(
        f"compare task=quadratic sgd {small} tune.grid={{learner.rule.lr:[1e-5,1e-4]}}", monkeypatch, capsys
    )
    assert code == 0, err
    told = "sgd: the best learner.rule.lr lies at the edge of the values tried, also after 1 setting beyond the grid"
    assert f"warning: {told}" in out
    assert told in only("outputs/compare/*/report.md").read_text()
