"""One contest: everybody meets the same episodes, scores are found again by what decided them."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.types import Phase
from l2l_cli.evaluation import contest
from l2l_cli.evaluation.contest import Contender, Entry, Plan, Problem, Standing, scored, units_of
from l2l_cli.evaluation.score import Scores, score
from l2l_cli.evaluation.tune import Tuned
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.lbfgs import Lbfgs
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.results.store import Store
from tests.cases import TASKS


def problem(name: str = "p", steps: int = 4, seeds: tuple[int, ...] = (0, 1)) -> Problem:
    return Problem(name, TASKS["quadratic"](), steps, Plan(3, seeds, 2), {"task": name})


def contender(name: str, rate: float) -> Contender:
    return Contender(name, lambda one: Tuned(Descent(one.task, Sgd(rate))), {"lr": rate})


@pytest.fixture
def calls(monkeypatch):
    """The learners that are scored, in order."""
    found, compute = [], contest.score_together

    def counted(learners, *args):
        found.extend(learners)
        return compute(learners, *args)

    monkeypatch.setattr(contest, "score_together", counted)
    return found


def test_everybody_meets_the_same_episodes():
    units = units_of([contender("a", 0.1), contender("b", 0.2)], [problem("p"), problem("q", 2)])
    assert [unit.name for unit in units] == ["a, p, 4 steps", "a, q, 2 steps", "b, p, 4 steps", "b, q, 2 steps"]
    standings = [unit.play() for unit in units]
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


def test_scores_are_found_again_by_what_decided_them(tmp_path, calls):
    store = Store(tmp_path)
    (unit,) = units_of([contender("a", 0.1)], [problem()])
    assert unit.missing(store) == 2  # one a seed
    before = unit.play(store)
    assert (unit.missing(store), len(calls)) == (0, 2)
    mark = LEDGER.mark()
    (again,) = units_of([contender("called otherwise", 0.1)], [problem()])
    after = again.play(store)
    assert len(calls) == 2
    torch.testing.assert_close(before.joined.losses, after.joined.losses, rtol=0, atol=0)
    spent = LEDGER.since(mark)
    assert spent.reused["scoring"] > 0 == spent.seconds["scoring"]  # counted, but not spent


def test_more_seeds_cost_those_alone(tmp_path, calls):
    store = Store(tmp_path)
    units_of([contender("a", 0.1)], [problem(seeds=(0,))])[0].play(store)
    (more,) = units_of([contender("a", 0.1)], [problem(seeds=(0, 1, 2))])
    assert more.missing(store) == 2
    more.play(store)
    assert len(calls) == 3


ONE = problem(seeds=(0,))


@pytest.mark.parametrize(
    ("identity", "changed", "phase"),
    [
        ({"lr": 0.2}, ONE, Phase.TEST),
        ({"lr": 0.1, "setting": {"lr": 0.2}}, ONE, Phase.TEST),
        ({"lr": 0.1}, ONE._replace(steps=3), Phase.TEST),
        ({"lr": 0.1}, ONE._replace(identity={"task": "another"}), Phase.TEST),
        ({"lr": 0.1}, ONE._replace(identity={"task": "p", "data": "another"}), Phase.TEST),
        ({"lr": 0.1}, ONE._replace(plan=Plan(4, (0,), 2)), Phase.TEST),
        ({"lr": 0.1}, ONE._replace(plan=Plan(3, (0,), 1)), Phase.TEST),
        ({"lr": 0.1}, ONE._replace(plan=Plan(3, (1,), 2)), Phase.TEST),
        ({"lr": 0.1}, ONE, Phase.TUNE),
    ],
    ids=["learner", "setting", "steps", "task", "data", "episodes", "chunk", "seed", "phase"],
)
def test_whatever_decides_a_score_is_part_of_its_key(tmp_path, calls, identity, changed, phase):
    store = Store(tmp_path)
    entry = Entry("sgd", ONE, Descent(ONE.task, Sgd(0.1)), None, {"lr": 0.1})
    scored(entry, store)
    scored(entry, store)
    assert len(calls) == 1
    scored(entry._replace(identity=identity, problem=changed), store, phase)
    assert len(calls) == 2


def test_a_chunk_of_more_than_all_episodes_decides_nothing(tmp_path, calls):
    store = Store(tmp_path)
    for chunk in (3, 1024):
        units_of([contender("a", 0.1)], [ONE._replace(plan=Plan(3, (0,), chunk))])[0].play(store)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["halfplanes", "digits"])
def test_scores_are_found_as_they_were_bit_for_bit(tmp_path, name):
    """With metrics, hidden targets, extra evaluations and losses that are not finite."""
    store, task = Store(tmp_path), TASKS[name]()
    rule = Lbfgs(history=2) if name == "digits" else Sgd(1e20)
    entry = Entry("a", Problem("", task, 12, Plan(3, (0,), 3), {}), Descent(task, rule), None, {})
    before, after = scored(entry, store).joined, scored(entry, store).joined
    assert before.tensors().keys() == after.tensors().keys()
    assert after.tensors().keys() >= {"losses", "metrics.accuracy"}
    assert (after.visible is not None, after.extra_evaluations is not None) == (name == "halfplanes", name == "digits")
    for key, value in before.tensors().items():
        found = after.tensors()[key]
        assert found.dtype == value.dtype
        assert found.numpy().tobytes() == value.numpy().tobytes()


def test_all_scores_are_one_tidy_frame(tmp_path):
    store = Store(tmp_path)
    for name in ("quadratic", "digits"):  # one without further metrics, one with
        task = TASKS[name]()
        one = Problem(name, task, 4, Plan(3, (0, 1), 2), {"task": name})
        standing = units_of([contender("a", 0.1)], [one])[0].play(store)
    frame = pd.read_parquet(tmp_path / "scores")
    assert len(frame) == 4 * 3 * 2 * (1 + 2)
    part = frame[(frame.problem == "digits") & (frame.metric == "accuracy") & (frame.seed == 1) & (frame.step == 4)]
    wanted = standing.scores[1].metrics["accuracy"][-1].tolist()
    assert part.sort_values("episode").value.tolist() == wanted
    assert set(frame.contender) == {"a"}
    assert set(frame.phase) == {"test"}
    assert set(frame.learner) == {'{"lr": 0.1, "setting": {}}'}


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
