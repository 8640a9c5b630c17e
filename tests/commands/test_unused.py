"""What a command does not use is refused in one line that says what would be used, before anything is written."""

from __future__ import annotations

from dataclasses import fields

import pytest

from l2l_cli.commands.unused import READ, WHY, parts_of
from l2l_cli.config.schema import Settings
from tests.test_cli import loaded, run

Q = "task=quadratic meta.updates=2 gradient.episodes=2 task.horizon=5 gradient.window=5 meta.validation_episodes=4"
REFUSED = {
    "meta-train tune.budget=4": "only hand-made learners are tuned, by `l2l compare`",
    "meta-train tune=all": "only hand-made learners are tuned",
    "meta-train evaluation.episodes=4": "give the option to `l2l evaluate RUN`",
    "meta-train evaluation={steps:4}": "give the option to `l2l evaluate RUN`",
    'meta-train contenders={A:["learner=sgd"]}': "contenders are for `l2l compare`",
    "meta-train search.updates=5": "search.trials=0 does not search",
    "meta-train search.ranges={}": "search.trials=0 does not search",
    "meta-train meta.schedule=constant meta.floor=0.5": "only meta.schedule=cosine lowers the rate to it",
    "meta-train meta.clip=null meta.clip_relative=true": "meta.clip=null clips nothing",
    "meta-train learner=recurrent task=b14 gradient=rtrl optimizer=sgd meta.clip=1.0": "reads only optimizer.lr",
    "meta-train hardware.processes=2": "it is for `l2l reproduce`",
    "meta-train ++hardware.minutes=2": "it is for jobs of hardware=slurm",
    "meta-train +rows={A:{role:rival}}": "the option belongs in an experiment's file",
    "meta-train -m tune.budget=4,5": "only hand-made learners are tuned",
    "evaluate --run RUN seed=3": "evaluation.seeds=[3] draws other test episodes",
    "evaluate --run RUN task.horizon=4 seed=3": "evaluation.seeds=[3] draws other test episodes",
    "evaluate --run RUN task=quadratic seed=3": "evaluation.seeds=[3] draws other test episodes",
    "evaluate --run RUN learner=adam": "evaluation.against=[adam] adds tuned rivals",
    "evaluate --run RUN learner.rule.hidden=4": "evaluation.learner changes it",
    "evaluate --run RUN ~learner.rule.hidden": "evaluation.learner changes it",
    "evaluate --run RUN optimizer=sgd": "it does no meta-training",
    "evaluate --run RUN meta.updates=4": "it does no meta-training",
    "evaluate --run RUN gradient=es": "it does no meta-training",
    "evaluate --run RUN search.trials=4": "search.trials=0 does not search",
    "evaluate --run RUN +vary.horizon=[4]": "evaluation.grid scores each of them",
    "evaluate --run RUN tune.budget=4": "it tunes nothing; evaluation.against=[adam] adds",
    "evaluate --run RUN hardware.world=2": "only meta-training is divided over processes",
    "evaluate --run RUN recipe=bosc2016/cell": "also choose a task",
    "evaluate -m --run RUN meta.updates=4,5": "it does no meta-training",
    "compare RUN seed=3": "evaluation.seeds=[3] draws other test episodes",
    "compare RUN tune.budget=3": "also name a hand-made learner",
    "compare RUN learner.rule.hidden=3": "evaluation.learner changes their learners",
    "compare adam learner=sgd": "each contender has its own learner",
    "compare adam optimizer=sgd": "it does no meta-training",
    "compare adam evaluation.stretch=[1]": "evaluation.steps sets the horizon",
    "compare adam evaluation.learner.rule.lr=1.0": "it changes finished runs, and none is compared",
    "compare adam hardware.world=2": "only meta-training is divided",
    "compare -m adam gradient.window=3,4": "it does no meta-training",
    "reproduce hochreiter2001 drift --scale smoke seed=4": "--seeds N sets their number",
    "reproduce hochreiter2001 drift --scale smoke output=here": "--output sets the folder of the results",
    "reproduce hochreiter2001 drift --scale smoke evaluation.stretch=[1]": "the experiment's rows set the horizons",
    "reproduce hochreiter2001 drift --scale smoke search.updates=4": "search.trials=0 does not search",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that was trained once."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["l2l", "meta-train", *Q.split()])
        from l2l_cli.cli import main

        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    return next(folder.glob("outputs/meta-train/*"))


QUICK = 4
"""One in so many is tried each time, and the others by the slow tests."""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(arguments, marks=[] if number % QUICK == 0 else [pytest.mark.slow])
        for number, arguments in enumerate(REFUSED)
    ],
)
def test_what_is_not_used_is_refused(arguments, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(arguments.replace("RUN", str(trained)), monkeypatch, capsys)
    assert code == 2, err
    assert REFUSED[arguments] in err
    assert err.startswith(f"error: {arguments.split()[0]} does not use ")
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_it_is_refused_before_torch_is_loaded():
    assert loaded("compare adam seed=1 meta.updates=4", "torch", "pandas") == []


@pytest.mark.parametrize(
    "arguments",
    [
        "meta-train -m search.trials=0,1 search.updates=5 meta.schedule=linear",
        "meta-train hydra.verbose=true +hydra.job.env_set.A=1 output=o store.limit=1 data.dir=d meta.schedule=linear",
        "meta-train experiment=bosc2016/table meta.schedule=linear",
        "compare experiment=bosc2016/table",
        "evaluate --run nowhere evaluation.against=[sgd] learner=sgd learner.rule.lr=0.1 tune.budget=3 seed=3",
        "evaluate --run nowhere task=b14 seed=3 recipe=bosc2016/cell evaluation={stretch:[1],against:[]}",
        "compare nowhere=1 sgd learner=sgd learner.rule.lr=0.1 seed=2 tune=all evaluation.learner.rule.lr=1.0",
        "compare contenders={A:[]} learner=sgd hardware.cluster=local hardware.minutes=no",
    ],
)
def test_what_is_used_is_not_refused(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, _, err = run(arguments, monkeypatch, capsys)
    assert "error: " in err
    assert "does not use" not in err


def test_every_part_of_the_settings_is_in_the_table():
    """A new part would otherwise be accepted by all commands, whether they read it or not."""
    filled_in = {"choices", "overrides", "config_dir", "replaces"}
    assert {one.name for one in fields(Settings)} - filled_in <= set(READ)
    assert set(WHY) <= set(READ)
    assert parts_of("+evaluation={steps: 3, grid: {a: [1]}, learner: {}}") == [
        "evaluation",
        "evaluation.grid",
        "evaluation.learner",
    ]
    assert parts_of("hydra/launcher=joblib") == parts_of("~hydra.sweep") == []
    assert parts_of("tune/standard=adam") == ["tune"]
