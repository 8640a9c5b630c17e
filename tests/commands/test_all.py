"""``compare … all``: every hand-made learner that applies, and why the others do not; and classes by their names."""

from __future__ import annotations

import json

import pytest

from l2l_cli.commands.checks import wanted
from l2l_cli.commands.invited import Invited
from l2l_cli.config import groups
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import contender_words, is_class, options
from l2l_cli.core.errors import UsageError
from l2l_cli.runs.building import build_task
from tests.configured import missing_package
from tests.test_cli import run
from tests.test_commands import only

SMALL = ["tune.episodes=2", "evaluation.episodes=2"]


def invited(learners, *overrides):
    settings = compose("compare", [*SMALL, *overrides])
    return Invited.to(wanted(settings, learners, False), learners, settings, build_task(settings))


SOME = ["adam", "conjugate_gradient", "coordinatewise_lstm", "lstm", "muon", "soap", "torch_optim"]


@pytest.mark.parametrize("known", [SOME, pytest.param(options("learner"), marks=pytest.mark.slow)], ids=["some", "all"])
def test_all_is_every_hand_made_learner_that_applies_and_says_why_the_others_do_not(known, monkeypatch):
    monkeypatch.setattr(groups, "options", lambda group, config_dir=None: known)
    found = invited(["all"], "task=quadratic", "task.horizon=3")
    assert {"adam", "conjugate_gradient (solver)", "torch.optim.Adagrad"} <= set(found.prepared)
    assert set(found.asked) | set(found.left_out) == set(known)
    assert "meta-trained first" in found.left_out["coordinatewise_lstm"]
    assert "the network of Quadratic has none" in found.left_out["muon"]
    assert "reads one example a step" in found.left_out["lstm"]
    for name in {"soap", "lion", "schedule_free"} & set(known):
        assert ("is not installed; get it by pip install" in found.left_out.get(name, "")) == bool(
            missing_package(name)
        )
    assert all("\n" not in why for why in found.left_out.values())


def test_who_is_named_beside_all_must_apply_and_keeps_its_name():
    with pytest.raises(UsageError, match="meta-trained first"):
        invited(["all", "coordinatewise_lstm"], "task=quadratic", "task.horizon=3")


@pytest.mark.slow
def test_a_limit_is_called_one():
    assert "bayes (limit)" in invited(["all"], "task=b14", "task.length=3").prepared


def test_a_class_is_a_contender_by_its_dotted_name():
    assert [is_class(word) for word in ("torch.optim.NAdam", "mine.Rule", "adam", "runs.v2", "a/b.C", "task.x=1")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    assert contender_words("adam") == ["learner=adam"]
    (name,) = (found := invited(["torch.optim.NAdam"], "task=quadratic")).prepared
    assert name == "torch.optim.NAdam"
    assert found.prepared[name].learner["optimizer"] == name
    assert found.prepared[name].tune.grid  # as every other hand-made learner


TINY = "task.dimension=2 task.horizon=5 tune.episodes=2 tune.budget=2 evaluation.episodes=3"
TRAIN = (
    "meta-train task=quadratic task.dimension=2 task.horizon=5 learner.rule.hidden=3 gradient.episodes=2 "
    "gradient.window=3 meta.updates=2 meta.validate_every=1 meta.validation_episodes=2"
)


@pytest.mark.slow
def test_all_beside_a_run_and_a_class_of_ones_own_in_one_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "half.py").write_text("import torch\n\n\nclass Half(torch.optim.SGD):\n    pass\n")
    assert run(TRAIN, monkeypatch, capsys)[0] == 0
    again = f"compare {only('outputs/meta-train/*')} all half.Half {TINY} --config-dir theirs"
    code, out, err = run(again, monkeypatch, capsys)
    assert code == 0, err
    folder = only("outputs/compare/*")
    text, tried = (folder / "report.md").read_text(), json.loads((folder / "run.json").read_text())["tuning"]
    for name in ("coordinatewise_lstm (meta-trained)", "half.Half", "adamw", "torch.optim.Adagrad", "lbfgs (solver)"):
        assert name in text
    assert len(tried["half.Half"]) == 2
    assert "left out: lstm: " in out
    assert "`all` leaves out lstm: " in text
    assert run(again, monkeypatch, capsys)[0] == 0
    assert len(list(tmp_path.glob("outputs/compare/*"))) == 1
    (tmp_path / "theirs" / "half.py").write_text("import torch\n\n\nclass Half(torch.optim.NAdam):\n    pass\n")
    assert run(again, monkeypatch, capsys)[0] == 0
    assert len(list(tmp_path.glob("outputs/compare/*"))) == 2  # another class under the same name
