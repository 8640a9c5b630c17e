"""How a meta-training ends: what is said of its validation, and how it stands beside a learner that nobody tuned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from l2l_cli.core.types import Phase
from l2l_cli.meta.training import Training
from l2l_cli.runs import untuned
from l2l_cli.tasks.functions import FunctionTask
from l2l_cli.tasks.quadratic import Quadratic
from tests.test_cli import run

SMALL = (
    "meta.updates=12 meta.validate_every=2 meta.validation_episodes=4 meta.patience=null gradient.episodes=2 "
    "hardware.kernels=reference output=here"
)
RULE = f"meta-train task=quadratic task.horizon=10 gradient.window=5 learner.rule.hidden=4 {SMALL}"
LSTM = f"meta-train task=b14 learner=lstm task.length=8 learner.hidden=4 {SMALL}"


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def in_time(monkeypatch):
    """There is time for every comparison."""
    monkeypatch.setattr(untuned, "SHORTEST", 0.0)
    monkeypatch.setattr(untuned, "SHARE", 1e6)


def facts_of(pattern="here/meta-train/*/run.json"):
    return [json.loads(path.read_text()) for path in sorted(Path().glob(pattern))]


@pytest.mark.parametrize(
    ("command", "other"),
    [(RULE, "adam at lr=0.1, untuned"), pytest.param(LSTM, "bayes, the limit", marks=pytest.mark.slow)],
)
def test_a_training_ends_with_two_sentences_that_a_reused_one_repeats(command, other, in_time, monkeypatch, capsys):
    code, out, _ = run(command, monkeypatch, capsys)
    assert code == 0
    (facts,) = facts_of()
    *_, first, second, following = out.splitlines()
    last = [first, second]
    assert last == facts["closing"]
    assert following.startswith("next: l2l evaluate here/meta-train/")
    assert facts["course"]["verdict"] in ("falling", "flat", "rose", "noisy")
    assert f"times that of {other}" in last[1]
    beside = facts["beside"]
    assert 1 <= beside["episodes"] <= 4
    assert 0 <= beside["lower"] <= beside["episodes"]
    assert beside["theirs"] > 0
    assert facts["selected"] in range(2, 13, 2)
    again = run(command, monkeypatch, capsys)[1]
    assert "already done, reused" in again
    assert again.splitlines()[-3:] == [*last, following]


def test_no_episode_of_the_test_phase_is_drawn(in_time, monkeypatch, capsys):
    drawn = []
    for task in (Quadratic, FunctionTask):
        real = task.sample

        def sample(self, episodes, seed, phase, real=real):
            drawn.append((phase, seed))
            return real(self, episodes, seed, phase)

        monkeypatch.setattr(task, "sample", sample)
    for command in (RULE, LSTM):
        assert run(command, monkeypatch, capsys)[0] == 0
    assert {phase for phase, _ in drawn} == {Phase.META_TRAIN, Phase.META_VALID}
    # The comparison's episodes are not those by which weights were selected.
    assert len({seed for phase, seed in drawn if phase is Phase.META_VALID}) == 2


@pytest.mark.slow
def test_where_a_training_was_short_nothing_is_compared(monkeypatch, capsys):
    out = run(RULE, monkeypatch, capsys)[1]
    assert "leaves no time for it" in out
    assert facts_of()[0]["beside"]["episodes"] == 0
    monkeypatch.setattr(untuned, "SHORTEST", 0.0)
    monkeypatch.setattr(untuned, "SHARE", 1e-9)
    out = run(f"{RULE} seed=1", monkeypatch, capsys)[1]
    assert "4 fresh validation episodes may take more than a tenth of the training's" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "gradient=es",
        "gradient=pes",
        "gradient=replay",
        "learner=mlhf gradient=mlhf",
        "hardware.world=2",
        "learner=coordinatewise_lstm_momenta",
        "task=halfplanes learner=weights_in_cell gradient.window=null gradient.loss._target_=l2l_cli.meta.loss.HeldOut",
        "task=b14 learner=recurrent gradient=rtrl optimizer=sgd task.functions=8",
    ],
)
def test_every_way_to_train_ends_so(words, in_time, monkeypatch, capsys):
    command = "meta-train task=quadratic meta.updates=12 meta.validate_every=2 meta.validation_episodes=4 output=here"
    code, out, err = run(f"{command} {words}", monkeypatch, capsys)
    assert code == 0, err
    (facts,) = facts_of()
    assert out.splitlines()[-3:-1] == facts["closing"]
    assert facts["beside"]["episodes"] == 4, facts["beside"]["skipped"]


def test_what_is_stopped_at_its_end_goes_on_there(in_time, monkeypatch, capsys):
    updates, real = [], Training._updated
    monkeypatch.setattr(Training, "_updated", lambda self: updates.append(self.number) or real(self))
    with monkeypatch.context() as stopped:
        stopped.setattr(untuned, "score_together", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(RULE, monkeypatch, capsys)[0] == 130
    assert facts_of()[0]["status"] == "interrupted"
    assert run(RULE, monkeypatch, capsys)[0] == 0
    assert updates == [*range(12)]
    assert facts_of()[0]["status"] == "done"


@pytest.mark.slow
def test_a_sweep_says_it_of_every_job(monkeypatch, capsys):
    out = run(f"{RULE} -m seed=0,1", monkeypatch, capsys)[1]
    for facts in facts_of():
        assert all(line in out for line in facts["closing"])
