"""Which runs are of one recipe, what they cost, and what a step costs."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch

from l2l_cli.commands.certifying import certified
from l2l_cli.config.compose import compose
from l2l_cli.evaluation.contest import Entry, Plan, Problem, Standing
from l2l_cli.evaluation.law import Trial
from l2l_cli.evaluation.score import Scores
from l2l_cli.evaluation.tune import Tuning
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.torch_optim import TorchOptim
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.hessian_free import HessianFree
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.runs import step_seconds as timing
from l2l_cli.tasks.quadratic import Quadratic

STEPS, EPISODES = 20, 12


class Run:
    """A finished run of a seed, that took some CPU-seconds."""

    def __init__(self, seed, facts, tmp_path):
        self.path, self._facts = tmp_path / f"quadratic-lstm-{seed:08x}", facts

    def facts(self, needed=()):
        return self._facts


def standing(name, curves):
    """The standing of Adam under a name, with losses (T, E)."""
    task = Quadratic(dimension=2)
    problem = Problem("", task, STEPS, Plan(EPISODES, [0], 64), {})
    entry = Entry(name, problem, Descent(task, Adam(0.1)), None, {"learner": {}})
    return Standing(entry, [Scores(torch.as_tensor(curves), {})])


@pytest.fixture
def compared(tmp_path):
    """Three seeds of one recipe at 3, 2 and 1 times a falling loss, and a rival at 4 times."""
    falling = np.linspace(1.0, 0.1, STEPS)[:, None] * np.random.default_rng(0).uniform(0.9, 1.1, EPISODES)
    finished = [
        (
            Run(seed, {"cpu_seconds": {"training": 10.0 * seed}, "device": "cpu"}, tmp_path),
            compose("meta-train", [f"seed={seed}"]),
        )
        for seed in (1, 2, 3)
    ]
    names = {
        f"lstm {seed}": standing(f"lstm {seed}", falling * factor) for seed, factor in ((1, 3.0), (2, 2.0), (3, 1.0))
    }
    return finished, names | {"adam": standing("adam", falling * 4.0)}


def test_runs_that_differ_by_their_seed_are_one_recipe(compared):
    found = certified(*compared)
    (one,) = found.all
    assert one.rule == "coordinatewise_lstm, 3 runs"
    assert one.about == "this recipe"
    assert [mark.gain.value for mark in one.marks] == pytest.approx([0.5] * 3)
    assert one.price.training == pytest.approx(20.0)  # of one of them, on average
    assert one.price.rival_reached is None
    assert one.price.reached == STEPS


def test_runs_of_two_recipes_have_a_certificate_each(compared, tmp_path):
    finished, standings = compared
    finished[2] = finished[2][0], compose("meta-train", ["seed=3", "learner.rule.hidden=4"])
    found = certified(finished, standings)
    assert [one.about for one in found.all] == ["", "this rule"]  # no interval of two seeds
    assert found.main == found.all[1]  # the lowest


def test_a_copy_of_a_run_is_no_further_seed(compared):
    finished, standings = compared
    finished[1:] = [(finished[0][0], finished[0][1])] * 2
    (one,) = certified(finished, standings).all
    assert one.rule == "coordinatewise_lstm"
    assert one.about == "this rule"
    assert one.marks[-1].gain.value == pytest.approx(0.25)


def test_a_rule_that_diverges_saves_nothing(compared):
    finished, standings = compared
    curves = np.ones((STEPS, EPISODES))
    curves[-1, 0] = np.nan
    found = certified(finished[:1], {"lstm": standing("lstm", curves), "adam": standings["adam"]}).main
    assert [mark.stands for mark in found.marks] == ["ahead", "ahead", "behind"]
    assert found.price.reached is None
    assert found.price.uses(tuned=True) is None


def test_each_setting_counts_once_and_a_rival_without_any_was_not_tuned(compared):
    finished, standings = compared
    assert certified(finished, standings).main.price.trials == 0
    trials = [Trial({"learner.rule.lr": lr}, 1.0) for lr in (0.1, 0.2, 0.3, 0.1)]  # the last on more episodes
    adam = standings["adam"]
    tuned = adam._replace(entry=adam.entry._replace(tuning=Tuning(trials, trials[-1], [], 0, [1])))
    assert certified(finished, standings | {"adam": tuned}).main.price.trials == 3


def test_seconds_of_another_clock_pay_nothing(compared):
    finished, standings = compared
    for run, _ in finished:
        run.facts().update(device="NVIDIA H100", seconds=50.0)
    found = certified(finished, standings).main
    assert found.price.training is None
    assert "what meta-training took is not known in CPU-seconds" in found.sentence


def test_rivals_of_one_name_have_a_certificate_each(compared):
    finished, standings = compared
    own = standings["adam"]
    entry = own.entry._replace(identity={"learner": {"optimizer": "elsewhere.adam"}})
    found = certified(finished, standings | {"torch_optim": own._replace(entry=entry)})
    assert [one.rival for one in found.all] == ["adam", "torch_optim"]


def test_without_a_rival_or_a_run_there_is_none(compared):
    finished, standings = compared
    assert certified([], standings) is None
    assert certified(finished, {name: one for name, one in standings.items() if name != "adam"}) is None


def test_what_was_reused_counts_and_what_is_unknown_is_said(compared):
    finished, standings = compared
    for run, _ in finished:
        run.facts()["reused_cpu_seconds"] = {"tuning": 5.0}
    assert certified(finished, standings).main.price.training == pytest.approx(25.0)
    del finished[0][0].facts()["cpu_seconds"], finished[0][0].facts()["reused_cpu_seconds"]
    assert certified(finished, standings).main.price.training is None


def test_programs_are_told_and_the_page_shows_it(compared, capsys):
    found = certified(*compared)
    found.say()
    assert capsys.readouterr().out == f"certificate: {found.main.sentence}\n"
    assert found.main.sentence in found.section.text
    assert [len(table) for table in found.section.tables] == [3, 1]
    json.dumps(found.main.entries())


def test_a_step_of_each_kind_of_learner_is_measured(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.001)
    task = Quadratic(dimension=2)
    learners = {
        "rule": Descent(task, Sgd(0.1)),
        "torch": TorchOptim(task, torch.optim.AdamW, {"lr": 0.1}),
        "curvature": Descent(task, HessianFree()),
    }
    found = timing.step_seconds(learners, STEPS)
    assert found.is_cpu
    assert found.loop == timing.PLAIN
    assert all(0.0 < value < 1.0 for value in found.seconds.values())
    assert all(value.grad is None for one in learners.values() for value in one.parameters())


def test_a_step_that_takes_longer_is_said_to_take_longer(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.02)

    class Slow(torch.optim.SGD):
        def step(self, closure=None):
            until = time.process_time() + 0.01
            while time.process_time() < until:
                pass
            return super().step(closure)

    task = Quadratic(dimension=2)
    found = timing.step_seconds({"quick": TorchOptim(task, torch.optim.SGD), "slow": TorchOptim(task, Slow)}, STEPS)
    assert 0.01 < found.seconds["slow"] - found.seconds["quick"] < 0.02
