"""``evaluate`` and ``compare`` change the task of the run itself, unless another one is chosen."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from l2l_cli.config.compose import compose
from l2l_cli.config.own_task import OWN_TASK, offer
from tests.test_cli import run
from tests.test_commands import only

RULE = "learner.rule.hidden=3 gradient.episodes=2 gradient.window=3 meta.updates=2 meta.validation_episodes=2"
TRAIN = f"meta-train task=digits task.hidden=[3] task.examples=4 task.horizon=6 {RULE}"
FEW = "evaluation.episodes=2"


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))
    monkeypatch.setattr(Figure, "get_layout_engine", lambda figure: None)


@pytest.fixture(scope="module")
def _trained(tmp_path_factory):
    """Runs on digits and on quadratics, trained once."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for what in (TRAIN, f"meta-train task=quadratic task.dimension=2 task.horizon=6 {RULE}"):
            patch.setattr("sys.argv", ["l2l", *what.split()])
            from l2l_cli.cli import main

            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    return folder


@pytest.fixture
def digits(_trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = _trained.glob("outputs/meta-train/digits-*")
    return found


def node(pattern="outputs/evaluate/*/config.yaml"):
    return yaml.safe_load(only(pattern).read_text())["task"]


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("task.horizon=4", "horizon", 4),
        ("++task.horizon=4", "horizon", 4),
        ("+task.network.activation=relu ~task.activation", "network", {"activation": "relu"}),
        ("~task.pool", "pool", None),
    ],
)
def test_a_key_changes_the_runs_own_task(change, key, value, digits, monkeypatch, capsys):
    code, out, err = run(f"evaluate --run {digits} {change} {FEW}", monkeypatch, capsys)
    assert code == 0, err
    saved = yaml.safe_load((digits / "config.yaml").read_text())["task"]
    assert "ImageTask" in node()["_target_"]
    found = node().get(key)
    assert (found | value if isinstance(value, dict) else found) == (found if isinstance(value, dict) else value)
    assert node() | {name: saved.get(name) for name in ("horizon", "pool", "network", "activation")} == saved
    label = f"digits-coordinatewise_lstm with {change}"
    assert label.split("lstm")[0] in out
    assert label in only("outputs/evaluate/*/report.md").read_text()


def test_a_folder_of_ones_own_takes_the_place_of_the_runs_data(digits, monkeypatch, capsys):
    from PIL import Image

    for name in "ab":
        Path("own", name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), 60 * number).save(f"own/{name}/{number}.bmp")
    code, _, err = run(f"evaluate --run {digits} task.dataset=own task.examples=2 {FEW}", monkeypatch, capsys)
    assert code == 0, err
    assert (node()["dataset"], node()["hidden"]) == ("own", [3])


def test_a_wrong_key_is_answered_with_those_of_the_runs_task(digits, monkeypatch, capsys):
    code, _, err = run(f"evaluate --run {digits} task.datset=own", monkeypatch, capsys)
    assert code == 2
    assert "there is no option 'task.datset'; did you mean 'task.dataset'?" in err
    code, _, err = run(f"evaluate --run {digits} task.examples=many", monkeypatch, capsys)
    assert code == 2
    assert "task.examples must be of type int" in err
    assert list(Path().iterdir()) == []


def test_a_chosen_task_is_another_one(digits, monkeypatch, capsys):
    code, _, err = run(f"evaluate --run {digits} task.dimension=3 task=quadratic {FEW}", monkeypatch, capsys)
    assert code == 0, err
    assert node()["dimension"] == 3


def test_a_sweep_over_the_runs_task(digits, monkeypatch, capsys):
    code, out, err = run(f"evaluate -m --run {digits} task.horizon=3,4 {FEW}", monkeypatch, capsys)
    assert code == 0, err
    assert "2 jobs: 2 done" in out
    found = {
        yaml.safe_load(path.read_text())["task"]["horizon"] for path in Path().glob("outputs/evaluate/*/config.yaml")
    }
    assert found == {3, 4}


def test_compare_changes_the_task_that_all_runs_share(digits, monkeypatch, capsys):
    small = f"task.horizon=4 {FEW} tune.episodes=2 tune.budget=2"
    code, out, err = run(f"compare {digits} sgd {small}", monkeypatch, capsys)
    assert code == 0, err
    assert "digits with task.horizon=4" in out
    assert node("outputs/compare/*/config.yaml")["hidden"] == [3]
    frame = pd.read_csv(only("outputs/compare/*/metrics.csv"))
    assert frame[frame.metric == "loss"].step.max() == 4
    (other,) = digits.parent.glob("quadratic-*")
    code, _, err = run(f"compare {digits} {other} {small}", monkeypatch, capsys)
    assert code == 2
    assert "have different tasks, so it is unclear which one task.… changes" in err


def test_what_a_run_says_is_not_looked_up(monkeypatch):
    monkeypatch.setenv("L2L_TEST_SECRET", "told")
    text = "a ${oc.env:L2L_TEST_SECRET} b"
    offer([("a run", {"_target_": "some.Task", "name": text, "inner": [{"name": text}]})])
    task = compose("evaluate", [OWN_TASK, "task.inner.0.name=c"]).task
    assert task == {"_target_": "some.Task", "name": text, "inner": [{"name": "c"}]}
