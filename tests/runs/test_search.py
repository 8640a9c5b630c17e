"""Random search before a run: what is drawn, what is kept, and what an interruption leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from safetensors.torch import load_file

from l2l_cli.config.compose import compose, identity_of, identity_of_training
from l2l_cli.config.schema import Search
from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.stop import Stopped
from l2l_cli.meta.evolution import PersistentES
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.results.run import identity
from l2l_cli.runs import search as searching
from l2l_cli.runs.search import draws, with_values
from l2l_cli.runs.training import expected_seconds, expected_updates, train, train_together
from tests.test_cli import run

TINY = "task=quadratic task.dimension=2 task.horizon=6 learner.rule.hidden=3 gradient.episodes=2 gradient.window=3"
PLAN = "meta.updates=10 meta.validate_every=2 meta.validation_episodes=4 meta.warmup=2"
SEARCH = "search.trials=3 search.updates=4"


def settings(root, *more):
    return compose("meta-train", [*f"{TINY} {PLAN} {SEARCH}".split(), f"output={root}", *more])


def quiet(*_):
    pass


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_draws_are_log_uniform_and_the_seeds_own():
    search = Search(trials=400, ranges={"optimizer.lr": [1e-3, 1e-1], "meta.clip": [0.1, 1.0], "meta.floor": None})
    found = draws(search, 0)
    assert found == draws(search, 0)
    assert found[:3] == draws(Search(trials=3, ranges=search.ranges), 0)
    assert found[0] != draws(search, 1)[0]
    assert all(list(values) == ["optimizer.lr", "meta.clip"] for values in found)
    logs = [math.log10(values["optimizer.lr"]) for values in found]
    assert -3 <= min(logs) < -2.95
    assert -1.05 < max(logs) <= -1
    assert sum(logs) / len(logs) == pytest.approx(-2, abs=0.1)


def test_values_are_set_in_a_copy():
    before = compose("meta-train", [])
    after = with_values(before, {"optimizer.lr": 0.5, "gradient.loss.epsilon": 0.1, "meta.clip": 3.0})
    assert (after.optimizer["lr"], after.gradient["loss"]["epsilon"], after.meta.clip) == (0.5, 0.1, 3.0)
    assert before == compose("meta-train", [])


def test_the_draws_of_the_default_range_are_frozen_and_a_renamed_key_keeps_its_own():
    assert draws(Search(trials=2), 0) == [
        {"optimizer.lr": 0.0022803595797503723},
        {"optimizer.lr": 0.014979235538841347},
    ]
    ends = [1e-3, 3e-2, "optimizer.lr"]
    one, other = (draws(Search(trials=3, ranges={key: ends}), 0) for key in ("optimizer.lr", "optimizer.rate"))
    assert [[*values.values()] for values in one] == [[*values.values()] for values in other]


def test_identity_knows_a_search_only_where_there_is_one():
    plain, budget = compose("meta-train", []), compose("meta-train", ["search.updates=7"])
    keys = ("learner", "optimizer", "gradient", "meta")
    names = {"choices": {"task": "quadratic", "learner": "coordinatewise_lstm"}}
    assert identity_of_training(plain) == identity_of(plain, *keys) | names == identity_of_training(budget)
    one, other = (compose("meta-train", ["search.trials=2", f"search.updates={updates}"]) for updates in (7, 8))
    assert len({identity(identity_of_training(each)) for each in (plain, one, other)}) == 3


def test_the_cost_of_a_search_is_expected():
    plain, searched = compose("meta-train", []), compose("meta-train", ["search.trials=5", "search.updates=900"])
    assert (expected_updates(plain, 1), expected_updates(searched, 2)) == (4500, 13500)
    assert expected_seconds(searched) == 2 * expected_seconds(plain)


def test_a_run_goes_on_with_the_best_trial_and_is_reused(monkeypatch, capsys):
    arguments = f"meta-train {TINY} {PLAN} {SEARCH}"
    code, out, err = run(arguments, monkeypatch, capsys)
    assert code == 0
    assert "trial 3 of 3, optimizer.lr=" in err
    (folder,) = Path("outputs/meta-train").iterdir()
    facts = json.loads((folder / "run.json").read_text())
    assert [trial["updates"] for trial in facts["search"]] == [4, 4, 4]
    best = min(facts["search"], key=lambda trial: trial["validation"])
    assert facts["chosen"] == {"optimizer.lr": best["optimizer.lr"]}
    assert (facts["updates"], facts["search_updates"]) == (10, 12)
    assert f"search: optimizer.lr={best['optimizer.lr']:.4g}, best of 3 trials" in out
    code, out, err = run(arguments, monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "already done, reused" in out

    # The run is the one that the chosen value makes by itself, and a trial is that run, shorter.
    alone = f"output=alone optimizer.lr={best['optimizer.lr']!r} search.trials=0"
    direct = train(settings(".", *alone.split()), relay=quiet)
    assert (direct.path / "metrics.csv").read_bytes() == (folder / "metrics.csv").read_bytes()
    short = train(settings(".", *alone.split(), "meta.updates=4"), relay=quiet)
    assert short.facts()["best_validation"] == best["validation"]


@pytest.mark.parametrize("at", [2, 9, 15], ids=["first trial", "last trial", "the run itself"])
def test_an_interrupted_search_goes_on_as_if_never_stopped(at, monkeypatch):
    whole = train(settings("whole"), relay=quiet)
    update, calls = MetaTraining.update, []

    def interrupted(self):
        calls.append(self)
        if len(calls) == at + 1:
            raise Stopped
        return update(self)

    monkeypatch.setattr(MetaTraining, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings("parts"), relay=quiet)
    (found,) = Path("parts/meta-train").iterdir()
    facts = json.loads((found / "run.json").read_text())
    assert facts["status"] == "interrupted"
    assert len(facts.get("search", [])) == min(3, at // 4)
    parts = train(settings("parts"), relay=quiet)
    assert len(calls) == 22 + 1 + (at % 4 if at < 12 else 0)  # an unfinished trial is run again, nothing else
    assert parts.facts()["search"] == whole.facts()["search"]
    assert (parts.path / "metrics.csv").read_bytes() == (whole.path / "metrics.csv").read_bytes()
    one, other = (load_file(run.path / "weights.safetensors") for run in (whole, parts))
    assert all((one[name] == other[name]).all() for name in one)


def test_every_seed_searches_for_itself_and_tells_of_its_updates():
    told = []
    seeds = [settings("here", f"seed={seed}") for seed in range(2)]
    runs = train_together(seeds, relay=lambda updates, note: told.append(updates))
    first, second = (run.facts() for run in runs)
    assert first["chosen"] != second["chosen"]
    assert first["updates"] == 10
    assert sum(told) == expected_updates(seeds[0], 2) == 34


def test_a_trial_that_diverges_is_no_choice(monkeypatch):
    monkeypatch.setattr(searching, "draws", lambda search, seed: [{"optimizer.lr": lr} for lr in (1e30, 0.01, 1e30)])
    facts = train(settings("."), relay=quiet).facts()
    assert [trial["validation"] is None for trial in facts["search"]] == [True, False, True]
    assert facts["chosen"] == {"optimizer.lr": 0.01}
    monkeypatch.setattr(searching, "draws", lambda search, seed: [{"optimizer.lr": 1e30}] * 3)
    with pytest.raises(RunFailed, match="the whole search of 3 trials diverged"):
        train(settings("worse"), relay=quiet)
    (found,) = Path("worse/meta-train").iterdir()
    assert json.loads((found / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.trials=-1", "search.trials must be at least 0, not -1"),
        ("search.updates=0", "search.updates must be at least 1, not 0"),
        ("search.ranges={optimizer.lr:[0.1,0.01]}", "must give optimizer.lr as [low, high] with 0 < low < high"),
        ("search.ranges={optimizer.lr:[0,0.01]}", "must give optimizer.lr as [low, high] with 0 < low < high"),
        ("search.ranges={optimizer.lr:[0.01]}", "must give optimizer.lr as [low, high] with 0 < low < high"),
        ("search.ranges={optimizer.lr:null}", "search.trials needs search.ranges"),
        ("+search.ranges={learner.rule.hidden:[1,2]}", "is for numbers under optimizer, gradient, meta"),
        (
            "+search.ranges={optimizer.lrr:[1,2]}",
            "there is no numeric option 'optimizer.lrr'; did you mean 'optimizer.lr'?",
        ),
        ("+search.ranges={meta.warmup:[1,2]}", "there is no numeric option 'meta.warmup'"),
        ("+search.ranges={gradient.window:[1,2]}", "gradient.window must be of type int | None, not 1.0"),
        ("+search.ranges={meta.floor:[0.5,2]}", "search.ranges: meta.floor must be in [0, 1], not 2.0"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_is_written(override, message, tmp_path):
    with pytest.raises(UsageError) as told:
        train(settings(".", override), relay=quiet)
    assert message in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["es", pytest.param("pes", marks=pytest.mark.slow)])
def test_perturbed_runs_from_the_command_line(kind, monkeypatch, capsys):
    """Also when one is interrupted before its first update, when all particles hold the same zeros."""
    arguments = f"meta-train {TINY} {PLAN} gradient={kind} gradient.pairs=2"
    if kind == "pes":
        estimate = PersistentES.estimate
        monkeypatch.setattr(PersistentES, "estimate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(arguments, monkeypatch, capsys)[0] == 130
        monkeypatch.setattr(PersistentES, "estimate", estimate)
    assert run(arguments, monkeypatch, capsys)[0] == 0
    (folder,) = Path("outputs/meta-train").iterdir()
    assert json.loads((folder / "run.json").read_text())["updates"] == 10
