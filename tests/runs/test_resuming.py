"""A run goes on as what it was begun with, and says where its digits may differ from an uninterrupted one's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from l2l_cli.core.stop import Stopped
from l2l_cli.meta.gradient_training import MetaTraining
from tests.test_cli import run

CODE = "from l2l_cli.tasks.quadratic import Quadratic\n\n\nclass Mine(Quadratic):\n    pass\n"
TRAIN = (
    "meta-train --config-dir my task=mine task.horizon=4 learner.rule.hidden=2 gradient.episodes=2 gradient.window=2 "
    "meta.updates=4 meta.validate_every=2 meta.validation_episodes=2"
)


@pytest.fixture
def interrupted(tmp_path, monkeypatch, capsys):
    """The folder of a run that was interrupted after two updates."""
    monkeypatch.chdir(tmp_path)
    Path("my/task").mkdir(parents=True)
    Path("my/task/mine.yaml").write_text("_target_: mine_of_resuming.Mine\ndimension: 2\nhorizon: 4\n")
    Path("my/mine_of_resuming.py").write_text(CODE)
    update, calls = MetaTraining.update, []

    def stops(self):
        calls.append(self)
        if len(calls) == 3:
            raise Stopped
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(MetaTraining, "update", stops)
        assert run(TRAIN, monkeypatch, capsys)[0] == 130
    (folder,) = Path("outputs/meta-train").iterdir()
    return folder


@pytest.fixture
def says(interrupted, monkeypatch, capsys):
    def done(arguments, wanted=0):
        code, _, err = run(arguments.replace("FOLDER", str(interrupted)), monkeypatch, capsys)
        assert code == wanted, err
        return [line for line in err.splitlines() if line.startswith(("warning: ", "error: "))]

    return done


RESUME = "meta-train --resume FOLDER --trust mine_of_resuming --config-dir my"


def test_what_goes_on_as_it_began_says_nothing(says):
    assert says(TRAIN) == []


def test_other_hardware_and_versions_are_said(says, interrupted):
    path = interrupted / "run.json"
    facts = json.loads(path.read_text())
    facts["versions"]["torch"], facts["precision"] = "1.0", "bfloat16"
    path.write_text(json.dumps(facts))
    (line,) = says(f"{RESUME} hardware.threads=2")
    assert line.startswith(
        "warning: hardware.threads was 1 and is 2, hardware.precision was bfloat16 and is float32, torch"
    )
    assert line.endswith("the last digits may differ from those of an uninterrupted run")


def test_the_same_command_on_other_hardware_says_so(says):
    (line,) = says(f"{TRAIN} hardware.kernels=fast")
    assert line.startswith("warning: the path of the kernels was reference and is numba: the last digits may differ")


def test_changed_code_is_said(says, interrupted):
    Path("my/mine_of_resuming.py").write_text(CODE + "# changed\n")
    (line,) = says(RESUME)
    assert line.startswith(
        f"warning: mine_of_resuming has changed since {interrupted} was made: the last digits may differ"
    )


def test_a_changed_configuration_is_refused(says, interrupted):
    path = interrupted / "config.yaml"
    config = yaml.safe_load(path.read_text())
    before = path.read_text()
    path.write_text(yaml.safe_dump(config | {"seed": 3}))
    (line,) = says(RESUME, 2)
    assert f"{path} is not what this run was begun with" in line
    assert interrupted.name[-8:] in line
    path.write_text(before)
    assert says(RESUME) == []


def test_other_settings_are_refused(says):
    (line,) = says(f"{RESUME} seed=3 meta.floor=0.1", 2)
    assert "--resume keeps the run's own settings; drop seed=3 meta.floor=0.1" in line
