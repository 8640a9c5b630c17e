"""Users' classes through the real command line: checked before anything runs, seeded, saved, and measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from l2l_cli.config.build import Builder
from l2l_cli.config.compose import compose
from l2l_cli.core.stop import Stopped
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score, score_together
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.contracts import estimators, rebuilt, rules
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.runs import vetting
from l2l_cli.runs.building import build_task
from l2l_cli.runs.folders import load_run
from l2l_cli.runs.loading import load_learner
from l2l_cli.testing import ContractError
from tests.meta import zoo
from tests.test_cli import assert_refused, run
from tests.test_commands import only

SMALL = (
    "task=quadratic meta.updates=6 meta.validate_every=2 meta.validation_episodes=4 gradient.episodes=2 task.horizon=5 "
    "gradient.window=5"
)


def of_zoo(rule):
    return f"learner=sgd ~learner.rule.lr learner.rule._target_=tests.meta.zoo.{rule}"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vetting, "_CHECKED", set())


def trained(rule, monkeypatch, capsys, more=""):
    code, out, err = run(f"meta-train {of_zoo(rule)} {SMALL} {more}", monkeypatch, capsys)
    assert code == 0, err
    return Path(out.split("run: ")[1].splitlines()[0])


REFUSED = {
    f"meta-train {of_zoo('Detached')} {SMALL}": "zoo.py:",
    f"meta-train {of_zoo('Detached')} {SMALL} --dry-run": "gets no meta-gradient for any φ",
    f"meta-train {of_zoo('LeakingBuffer')} {SMALL}": "LeakingBuffer.update",
    f"meta-train {of_zoo('LeakingBuffer')} {SMALL} gradient=es": "LeakingBuffer.update",
    "compare sgd adam task=quadratic task._target_=tests.meta.zoo.IgnoresPhase ~task.dimension ~task.start": "`phase`",
    f"meta-train {SMALL} optimizer=sgd optimizer._target_=tests.meta.zoo.Forgetful ~optimizer.lr": "Forgetful.update",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_a_wrong_class_is_refused_before_anything_is_written(arguments, monkeypatch, capsys, tmp_path):
    assert_refused(arguments, REFUSED[arguments], monkeypatch, capsys, tmp_path)


def test_what_cannot_be_differentiated_is_trained_by_evolution(monkeypatch, capsys):
    folder = trained("Signs", monkeypatch, capsys, "gradient=es gradient.pairs=2 gradient.sigma=0.1")
    assert json.loads((folder / "run.json").read_text())["phi_distance"] > 0


def test_one_seed_is_one_rule_whoever_drew_before(monkeypatch, capsys):
    """nn.Linear draws its first weights from torch's global generator."""
    first = trained("Dropping", monkeypatch, capsys, "output=first")
    torch.rand(7)
    second = trained("Dropping", monkeypatch, capsys, "output=second")
    other = trained("Dropping", monkeypatch, capsys, "seed=1")
    weights = [load_file(folder / "weights.safetensors") for folder in (first, second, other)]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])
    assert any(not torch.equal(value, weights[2][name]) for name, value in weights[0].items())
    assert (first / "metrics.csv").read_text() == (second / "metrics.csv").read_text()


@pytest.mark.parametrize(
    "old", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["checkpoint", "checkpoint of an earlier version"]
)
def test_dropout_in_a_killed_run_goes_on_bit_for_bit(old, monkeypatch, capsys):
    whole = trained("Dropping", monkeypatch, capsys, "output=whole")
    update = MetaTraining.update

    def interrupted(self):
        if self.number == 3:
            raise Stopped
        return update(self)

    monkeypatch.setattr(MetaTraining, "update", interrupted)
    arguments = f"meta-train {of_zoo('Dropping')} {SMALL} output=part"
    assert run(arguments, monkeypatch, capsys)[0] == 130
    monkeypatch.setattr(MetaTraining, "update", update)
    path = only("part/meta-train/*/checkpoint.safetensors")
    if old:
        saved = load_file(path)
        save_file(saved | {"counters": saved["counters"][:7].clone()}, path)
    torch.rand(7)
    part = trained("Dropping", monkeypatch, capsys, "output=part")
    for name, value in load_file(whole / "weights.safetensors").items():
        assert torch.equal(value, load_file(part / "weights.safetensors")[name])
    if not old:
        assert (whole / "metrics.csv").read_text() == (part / "metrics.csv").read_text()


def loaded(folder):
    """A finished run's learner, as commands load it."""
    found, saved = load_run(str(folder), compose("evaluate", []))
    builder = Builder(["tests"])
    return load_learner(found, saved, build_task(saved, builder), builder)


@pytest.mark.parametrize(
    ("rule", "names"), [("Buffered", ["rule.scale"]), ("Frozen", ["rule.inner.weight", "rule.inner.bias"])]
)
def test_buffers_and_frozen_layers_are_saved_and_loaded(rule, names, monkeypatch, capsys):
    folder = trained(rule, monkeypatch, capsys)
    path = folder / "weights.safetensors"
    weights = load_file(path)
    save_file({name: value + 1 if name in names else value for name, value in weights.items()}, path)
    found = loaded(folder).state_dict()
    assert found.keys() == weights.keys()
    for name in names:
        assert torch.equal(found[name], weights[name] + 1)


def test_a_problem_of_ones_own_is_checked_too(monkeypatch, capsys):
    folder = trained("Gated", monkeypatch, capsys)
    problems = "evaluation.problems={mine:{_target_:tests.meta.zoo.ScalarLoss}}"
    code, _, err = run(f"evaluate --run {folder} --trust tests {problems}", monkeypatch, capsys)
    assert code == 2
    assert "ScalarLoss.loss" in err


def test_a_score_does_not_depend_on_who_was_scored_before_or_beside():
    learner, other = (Descent(zoo.Fit(), kind()) for kind in (zoo.Dropping, zoo.Dropping))
    alone = score(learner, 3, 6, 0, Phase.TEST).losses
    torch.rand(7)
    beside = score_together([other, learner], 3, 6, 0, Phase.TEST)[1].losses
    assert torch.equal(alone, beside)
    assert not torch.equal(alone, score(learner, 3, 6, 1, Phase.TEST).losses)


def test_validations_note_the_meta_gradient_and_how_far_phi_has_moved(monkeypatch, capsys):
    frame = pd.read_csv(trained("Gated", monkeypatch, capsys) / "metrics.csv")
    train = frame[frame.split == "meta_train"]
    norms, distances = (train[train.metric == name].value for name in ("meta_gradient_norm", "phi_distance"))
    assert len(norms) == len(distances) == 3
    assert (norms > 0).all()
    assert distances.is_monotonic_increasing


def test_a_training_in_which_phi_never_moves_fails_and_says_why(monkeypatch, capsys):
    flat = "gradient.window=1 meta.updates=4"  # a rule's answer comes before its move
    code, _, err = run(f"meta-train {of_zoo('Gated')} {SMALL} {flat}", monkeypatch, capsys)
    assert code == 1
    assert "φ never moved in 4 updates: the meta-gradient is exactly zero" in err
    facts = json.loads(only("outputs/meta-train/*/run.json").read_text())
    assert facts["status"] == "failed"
    assert "never moved" in facts["message"]
    assert "update 2" in facts["warning"]
    assert not list(Path().glob("outputs/meta-train/*/weights.safetensors"))


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(monkeypatch, capsys, tmp_path):
    code, out, err = run(f"meta-train {of_zoo('Frozen')} {SMALL} --dry-run", monkeypatch, capsys)
    assert code == 0, err
    assert "φ of 5, 8 frozen" in out
    assert "6, 3 validations on 4 episodes" in out
    # A process that has run other tests has held more than a gigabyte.
    assert re.search(r"peak [\d.]+ [kMG]B", out)
    assert "(new)" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["-m", "--resume x", "--cfg job"])
def test_a_dry_run_is_of_one_new_training(flag, monkeypatch, capsys, tmp_path):
    assert_refused(
        f"meta-train --dry-run {flag}", "--dry-run plans a single new training run", monkeypatch, capsys, tmp_path
    )


def test_a_configuration_is_checked_once_whatever_its_rates(monkeypatch):
    checked = []
    monkeypatch.setattr(vetting, "check_task", checked.append)
    monkeypatch.setattr(vetting, "check_task_again", lambda *tasks: None)
    for rate in (0.1, 0.2):
        vetting.vet_task({"_target_": "mine.Fit", "noise": rate}, zoo.Fit(), zoo.Fit)
    vetting.vet_task({"_target_": "mine.Fit", "horizon": 3}, zoo.Fit(), zoo.Fit)
    vetting.vet_task({"_target_": "l2l_cli.tasks.Quadratic"}, zoo.Fit(), zoo.Fit)
    with vetting.checked_by_another():
        vetting.vet_task({"_target_": "mine.Fit", "horizon": 4}, zoo.Fit(), zoo.Fit)
    assert len(checked) == 2
    assert vetting.is_foreign({"_target_": "l2l_cli.A", "parts": [{"_target_": "mine.B"}]})


def test_what_is_built_again_is_the_same():
    rebuilt.check_task_again(zoo.Fit(), zoo.Fit())
    torch.manual_seed(0)
    one, other = (Descent(zoo.Fit(), zoo.Gated()) for _ in range(2))
    with pytest.raises(ContractError, match=r"has another rule\.inner\.weight.* each time that it is built"):
        rebuilt.check_learner_again(one, other)
    unseeded = []
    for _ in range(2):
        torch.manual_seed(0)
        unseeded.append(Descent(zoo.Fit(), zoo.Unseeded()))
    with pytest.raises(ContractError, match="gives other answers once it is rebuilt"):
        rebuilt.check_learner_again(*unseeded)


def test_estimators_and_optimizers_from_elsewhere_are_checked():
    torch.manual_seed(0)
    learner = Descent(zoo.Fit(), zoo.Gated())
    estimators.check_estimator(Backprop(), learner)
    with pytest.raises(ContractError, match="draws from torch's global generator"):
        estimators.check_estimator(zoo.NoisyEstimator(), learner)
    rules.check_optimizer(zoo.WithMemory())
    for wrong in (zoo.OnSelf, zoo.GlobalNoise, zoo.Forgetful, zoo.NanMove, zoo.InPlace):
        with pytest.raises(ContractError, match=rf"{wrong.__name__}\.update \(.*zoo\.py:\d+\)"):
            rules.check_optimizer(wrong())
