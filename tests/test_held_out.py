"""Where a task hides targets: the meta-loss, scores, tuning and the commands look at the steps that are hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from l2l_cli.commands.cells import Cell
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.contest import Entry, Plan, Problem, Standing
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.evaluation.law import Law
from l2l_cli.evaluation.score import Scores, criterion_for, score
from l2l_cli.evaluation.tune import Judge, tune
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.evolution import EvolutionStrategies
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.loss import HeldOut
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.training import Validation
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.sgd import Sgd
from tests.cases import LEARNERS, TASKS
from tests.test_cli import run

LOSSES = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
SHOWN = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
SCORES = Scores(LOSSES, {"accuracy": LOSSES / 10}, None, SHOWN)


def test_the_meta_loss_averages_each_episode_first():
    assert HeldOut()(LOSSES, 1.0, SHOWN).item() == (4.0 + 6.0) / 2
    assert HeldOut()(LOSSES[:2], 1.0, SHOWN[:2]).item() == 3.0  # the second episode has hidden nothing yet
    assert HeldOut()(LOSSES[:1], 1.0, SHOWN[:1]).item() == 0.0
    with pytest.raises(UsageError, match="hides nothing"):
        HeldOut()(LOSSES, 1.0, None)


def test_scores_by_criterion():
    assert SCORES.held_out.tolist() == [4.0, 6.0]
    assert [SCORES.by(name) for name in ("mean", "end", "final", "held_out")] == [3.5, 5.5, 5.5, 5.0]
    early = SCORES.cut(2)
    assert not early.hides
    for scores in (early, Scores(LOSSES, {})):
        with pytest.raises(UsageError, match="held_out"):
            scores.by("held_out")


def test_rows_and_cells_hold_the_hidden_part():
    rows = {(row.metric, row.episode): row.value for row in rows_of(SCORES, "a", 0)}
    assert rows["held_out", 1] == 6.0
    assert rows["held_out_accuracy", 0] == pytest.approx(0.4)
    assert not any(row.metric == "held_out" for row in rows_of(SCORES.cut(2), "a", 0))
    task = TASKS["halfplanes"]()
    entry = Entry("a", Problem("p", task, 3, Plan(2, (0,), 2), {}), Descent(task, Sgd(0.1)), None, {})
    cell = Cell(Standing(entry, [SCORES]), 1.0)
    assert (cell.mean.value, cell.where, cell.standing.metrics["accuracy"]) == (
        5.0,
        "over hidden steps",
        pytest.approx(0.5),
    )


def test_scores_keep_the_flag_over_chunks():
    learner = Descent(TASKS["halfplanes"](), Sgd(0.1))
    scores = score(learner, 5, 12, 0, Phase.TEST, chunk=2)
    assert scores.visible.shape == scores.losses.shape == (12, 5)
    assert scores.held_out.shape == (5,)


def test_tasks_that_hide_are_judged_by_what_they_hide():
    hides, plain = TASKS["halfplanes"](), TASKS["b14"]()
    assert [criterion_for(task, None) for task in (hides, plain)] == ["held_out", "mean"]
    assert criterion_for(hides, "final") == "final"
    found = tune(lambda point: Descent(hides, Sgd(point["lr"])), Law([{"lr": 0.1}], 6), Judge(6, 12, 0, "held_out"))
    assert found.best.loss == pytest.approx(score(Descent(hides, Sgd(0.1)), 6, 12, 0, Phase.TUNE).held_out.mean())


@pytest.mark.parametrize("estimator", [Backprop(2, loss=HeldOut()), EvolutionStrategies(2, pairs=1, loss=HeldOut())])
def test_meta_training_by_the_hidden_part(estimator):
    learner = LEARNERS["coordinatewise_lstm"](TASKS["halfplanes"]())
    plan = MetaPlan(updates=2, validate_every=2, validation_episodes=4)
    records = list(MetaTraining(learner, estimator, Adam(0.01), plan, 0).records())
    last = records[-1]
    assert isinstance(last, Validation)
    assert last.held_out is not None
    learner = LEARNERS["coordinatewise_lstm"](TASKS["b14"]())
    with pytest.raises(UsageError, match="hides nothing"):
        list(MetaTraining(learner, estimator, Adam(0.01), plan, 0).records())


@pytest.mark.slow
def test_the_commands_show_held_out_losses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "task=halfplanes task.samples=20 task.hidden=[3]"
    plan = "meta.updates=2 meta.validate_every=1 meta.validation_episodes=4 gradient.episodes=2 learner.rule.hidden=2"
    code, out, err = run(f"meta-train {small} learner=coordinatewise_lstm {plan}", monkeypatch, capsys)
    assert code == 0, err
    assert "best validation loss (held_out)" in out
    (folder,) = Path().glob("outputs/meta-train/*")
    assert "held_out" in set(pd.read_csv(folder / "metrics.csv").metric)
    code, out, err = run(f"evaluate --run {folder} evaluation.episodes=5", monkeypatch, capsys)
    assert code == 0, err
    assert "held-out loss" in next(Path().glob("outputs/evaluate/*/report.md")).read_text()
    budget = "evaluation.episodes=5 tune.episodes=3 tune.budget=2"
    code, out, err = run(f"compare {folder} sgd adam {budget}", monkeypatch, capsys)
    assert code == 0, err
    text = next(Path().glob("outputs/compare/*/report.md")).read_text()
    assert "difference from the lowest, paired" in text
    assert "by their held_out loss" in text
    assert json.loads(next(Path().glob("outputs/compare/*/run.json")).read_text())["status"] == "done"
    grid = "evaluation.problems={wide:{dimension:5}} evaluation.stretch=[1] evaluation.against=[sgd]"
    code, out, err = run(f"evaluate --run {folder} {budget} {grid}", monkeypatch, capsys)
    assert code == 0, err
    assert any(
        "mean loss over hidden steps" in path.read_text() for path in Path().glob("outputs/evaluate/*/report.md")
    )
