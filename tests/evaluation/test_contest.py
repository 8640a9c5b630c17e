"""One contest: everybody meets the same episodes, scores are kept by what decided them."""

from __future__ import annotations

import math

import pytest
import torch

from l2l_cli.core.types import Phase
from l2l_cli.evaluation.contest import Contender, Entry, Plan, Problem, ScoreStore, Standing, play, scored
from l2l_cli.evaluation.score import Scores, score
from l2l_cli.evaluation.tune import Judge, tune
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.sgd import Sgd
from tests.cases import TASKS


def problem(name: str = "p", steps: int = 4, seeds: tuple[int, ...] = (0, 1)) -> Problem:
    return Problem(name, TASKS["quadratic"](), steps, Plan(3, seeds, 2), {"task": name})


def contender(name: str, rate: float) -> Contender:
    return Contender(name, lambda one: (Descent(one.task, Sgd(rate)), None), {"lr": rate})


def test_everybody_meets_the_same_episodes():
    standings = list(play([contender("a", 0.1), contender("b", 0.2)], [problem("p"), problem("q", 2)]))
    assert [(one.entry.contender, one.entry.problem.name) for one in standings] == [
        ("a", "p"),
        ("a", "q"),
        ("b", "p"),
        ("b", "q"),
    ]
    first, other = standings[0].joined.losses, standings[2].joined.losses
    assert first.shape == (4, 6)
    torch.testing.assert_close(first[0], other[0], rtol=0, atol=0)  # before anybody has moved
    assert not torch.equal(first[1], other[1])
    direct = score(Descent(TASKS["quadratic"](), Sgd(0.1)), 3, 4, 1, Phase.TEST, 2)
    torch.testing.assert_close(standings[0].scores[1].losses, direct.losses, rtol=0, atol=0)


def test_scores_are_found_again_by_what_decided_them(tmp_path, monkeypatch):
    store = ScoreStore(tmp_path / "scores")
    (before,) = play([contender("a", 0.1)], [problem()], store)
    files = sorted((tmp_path / "scores").iterdir())
    assert len(files) == 2  # one a seed
    monkeypatch.setattr("l2l_cli.evaluation.contest.score_together", lambda *args: pytest.fail("scored again"))
    (after,) = play([contender("called otherwise", 0.1)], [problem()], store)
    torch.testing.assert_close(before.joined.losses, after.joined.losses, rtol=0, atol=0)
    for other in (contender("a", 0.2), contender("a", 0.1)):
        changed = problem(steps=3) if other.identity["lr"] == 0.1 else problem()
        with pytest.raises(pytest.fail.Exception):
            list(play([other], [changed], store))
    store.clear()
    assert list((tmp_path / "scores").iterdir()) == []


def test_a_setting_and_a_phase_are_part_of_what_decides(tmp_path):
    store, one = ScoreStore(tmp_path), problem(seeds=(0,))
    for rate in (0.1, 0.2):
        tuning = tune(lambda point: Descent(one.task, Sgd(point["lr"])), [{"lr": rate}], Judge(2, 3, 0, "mean"))
        scored(Entry("sgd", one, Descent(one.task, Sgd(rate)), tuning, {}), store)
    scored(Entry("sgd", one, Descent(one.task, Sgd(0.2)), tuning, {}), store, Phase.TUNE)
    assert len(list(tmp_path.iterdir())) == 3


def test_hidden_targets_and_metrics_survive_the_store(tmp_path):
    store = ScoreStore(tmp_path)
    task = TASKS["halfplanes"]()
    entry = Entry("sgd", Problem("", task, 12, Plan(3, (0,), 3), {}), Descent(task, Sgd(0.1)), None, {})
    before, after = scored(entry, store).joined, scored(entry, store).joined
    assert before.tensors().keys() == after.tensors().keys() >= {"losses", "visible", "metrics.accuracy"}
    for name, value in before.tensors().items():
        torch.testing.assert_close(value, after.tensors()[name], rtol=0, atol=0)


def test_a_short_horizon_is_the_beginning_of_a_long_one():
    learner = Descent(TASKS["digits"](), Adam(0.1))
    long, short = (score(learner, 3, steps, 0, Phase.TEST, 2) for steps in (9, 4))
    beginning = long.cut(4)
    torch.testing.assert_close(beginning.losses, short.losses, rtol=0, atol=0)
    torch.testing.assert_close(beginning.metrics["accuracy"], short.metrics["accuracy"], rtol=0, atol=0)


def standing(scores: list[Scores]) -> Standing:
    one = problem("a", len(scores[0].losses))
    return Standing(Entry("adam", one, Descent(one.task, Adam(0.1)), None, {}), scores)


def test_a_standing_counts_what_diverged():
    losses = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.5, 1.9, 2.1, math.nan]])
    one = standing([Scores(losses, {"accuracy": losses / 4})])
    assert one.diverged == 0.5
    assert one.ends.tolist()[-1] == math.inf
    fine = standing([Scores(losses[:, :2], {"accuracy": losses[:, :2]})] * 2)
    assert fine.metrics["accuracy"] == pytest.approx(1.2)
    assert len(fine.ends) == 4
    assert fine.evaluations == 1.0
