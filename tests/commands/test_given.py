"""What the user gave is scored as given, is not tuned, and every table says so."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from l2l_cli.config.compose import compose
from l2l_cli.config.words import contenders_and_overrides
from l2l_cli.runs.tuning import given, tunable
from tests.test_commands import only

SMALL = "task=quadratic task.dimension=2 task.horizon=5 tune.episodes=2 evaluation.episodes=3"


@pytest.fixture
def compares(tmp_path, monkeypatch, capsys):
    """Compare, and return the report, the trials by contender, and each one's loss at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))
    monkeypatch.setattr(Figure, "get_layout_engine", lambda figure: None)

    def done(*words, output="outputs"):
        monkeypatch.setattr("sys.argv", ["l2l", "compare", *SMALL.split(), f"output={output}", *words])
        from l2l_cli.cli import main

        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, capsys.readouterr().err
        folder = only(f"{output}/compare/*")
        frame = pd.read_csv(folder / "metrics.csv")
        losses = frame[(frame.metric == "loss") & (frame.statistic == "mean") & (frame.step == 5)]
        tried = json.loads((folder / "run.json").read_text())["tuning"]
        return (folder / "report.md").read_text(), tried, dict(zip(losses.contender, losses.value, strict=True))

    return done


def test_a_rate_that_is_given_is_scored(compares):
    text, tried, losses = compares("learner=sgd", "learner.rule.lr=0.001", "sgd", "tune.budget=1")
    assert "| rule.lr=0.001 as given, nothing to tune |" in " ".join(text.split())
    assert tried == {}
    text, tried, alone = compares("sgd", "tune.grid={learner.rule.lr: [0.001]}", output="alone")
    assert "rule.lr=0.001, the one setting tried" in text
    assert alone == losses


def test_a_contender_keeps_what_it_is_given_and_is_tuned_otherwise(compares):
    contenders = '{A: ["learner=adam", "learner.rule.lr=0.5"], B: ["learner=adam"], C: ["learner=sgd"]}'
    text, tried, _ = compares(f"contenders={contenders}", "tune=all", "tune.budget=3")
    assert {key for trial in tried["A"] for key in trial}.isdisjoint({"learner.rule.lr"})
    assert {"learner.rule.lr", "learner.rule.beta1"} < {key for trial in tried["B"] for key in trial}
    assert "rule.lr=0.5 as given, best of 3: rule.beta1=" in text
    assert "C" in tried


def test_options_of_a_learner_are_those_of_the_one_that_is_named():
    words = ["torch_optim", "learner.optimizer=torch.optim.AdamW", "task=quadratic"]
    assert contenders_and_overrides(words, None)[:2] == (["learner=torch_optim", *words[1:]], ["torch_optim"])
    for others in (["adam"], ["learner=adam"], ["all"]):
        assert contenders_and_overrides([*words, *others], None)[0] == [
            word for word in [*words[1:], *others] if "=" in word
        ]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["learner=adam", "learner.rule.lr=0.5"], {"learner.rule.lr": 0.5}),
        (["learner=adam", "++learner.rule.lr=0.5"], {"learner.rule.lr": 0.5}),
        (["learner=adam", "learner.rule={lr: 0.5}"], {"learner.rule.lr": 0.5, "rest": 2}),
        (["learner=adam", "meta.updates=4"], {}),
    ],
)
def test_what_is_given(words, keys):
    settings = compose("compare", words)
    rest = keys.pop("rest", 0)
    found = given(settings)
    assert keys.items() <= found.items()
    assert len(found) == len(keys) + rest
    assert tunable(settings) == [{}] if keys else len(tunable(settings)) == 8
