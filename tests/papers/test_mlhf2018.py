"""MLHF 2018: what artefacts say of made-up runs, what is measured of real ones, all of it at smoke scale."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from l2l_cli.commands import reproduce
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import papers
from l2l_cli.config.schema import ReproduceRequest
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split
from l2l_cli.evaluation.score import Scores
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.papers import losses
from l2l_cli.papers.mlhf2018 import beyond, figure1, figure2, figure3, looks, parallel
from l2l_cli.papers.mlhf2018.claims import goes_on, per_sample, per_second, stays_finite, within
from l2l_cli.papers.mlhf2018.looks import DOWNHILL, EFFICIENCY, RELATIVE, RESIDUAL, SOLVER, look, solver_loss
from l2l_cli.papers.mlhf2018.measures import contenders_of, entries, losses_of, measure_rows
from l2l_cli.papers.mlhf2018.names import DEFAULT, FIRST_ORDER, FULL_STEPS, HF, JACOBI, PLAIN, SHORT
from l2l_cli.papers.mlhf2018.recipe import ARTEFACTS, Mlhf2018
from l2l_cli.papers.mlhf2018.track import ends, follow, track_rows
from l2l_cli.papers.shared import problems_of
from l2l_cli.results.frame import Metric
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.runs.loading import Trained, untrained
from tests.image_tasks import image_node, image_task
from tests.test_cli import run

PRESET = "mlhf2018"
MARKS = range(10, 101, 10)
KINDS = ("conv_weight", "dense_bias")


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    monkeypatch.setattr(losses, "paired_bootstrap", partial(losses.paired_bootstrap, draws=200))


def made_up(names, problem, factor, pace=0.01, seeds=1, mlhf=False):
    """A row whose contenders' loss falls as ``factor`` / √updates, a step of which takes ``pace`` seconds."""
    rows = []
    for seed in range(seeds):
        for name in names:
            for step in MARKS:
                loss = factor * (1 + 0.02 * seed) / step**0.5
                rows += [Metric(name, seed, str(e), step, problem, "loss", loss * (0.9 + 0.2 * e)) for e in range(2)]
                numbers = {"loss": loss, "seconds": pace * step, "longest": 0.1}
                numbers |= {"held_out_loss": loss + 0.1, "held_out_accuracy": 0.4}
                if mlhf:
                    numbers |= {DOWNHILL: 1.0, RELATIVE: 0.1}
                    numbers |= {f"damping {q:g} {kind}": 0.1 + q for q in looks.SHARES for kind in KINDS}
                rows += [Metric(name, seed, "mean", step, problem, key, value) for key, value in numbers.items()]
            rows.append(Metric(name, seed, "all", 100, problem, "not finite", 0.0))
            for key, value in (("trials", 6.0), ("learner.rule.lr", 0.1), ("edge learner.rule.lr", 0.0)):
                rows.append(Metric(name, seed, "tuning", 0, problem, key, value))
        for key, value in (("updates", 8), ("seconds", 1), ("skipped", 0), ("meta_parameters", 2216 * mlhf)):
            rows.append(Metric("run", seed, "all", 0, "meta_train", key, value))
    return pd.DataFrame(rows)


def rows_of(problem, mlhf=8.0):
    rates = [f"MLHF, {rate}" for rate in ("lr 1", "batch ratio", "lr tuned")]
    rivals = {"Hessian-free": 8.2, "SGD": 12.0, "SGD(m)": 10.0, "RMSprop": 11.0, "Adam": 9.5}
    rows = {"MLHF": made_up(rates, problem, mlhf, pace=0.05, seeds=2, mlhf=True)}
    rows |= {name: made_up([name], problem, factor) for name, factor in rivals.items()}
    return rows | {"K-FAC": pd.DataFrame()}


def test_claims_hold_or_do_not():
    contenders = contenders_of(rows_of("p"))
    assert list(contenders)[:3] == ["MLHF, lr 1", "MLHF, batch ratio", "MLHF, lr tuned"]
    found = losses_of(contenders)
    assert found.learned == list(contenders)[:3]
    name = "MLHF, lr tuned"
    assert per_sample("x", found, name, FIRST_ORDER, "p").holds
    assert per_sample("x", losses_of(contenders_of(rows_of("p", 9.45))), name, FIRST_ORDER, "p").holds is False
    slow = per_second("x", contenders, name, FIRST_ORDER, "p")
    assert not slow.holds
    assert "one of its steps takes 5.0 times as long" in slow.evidence
    assert within("x", found, name, FIRST_ORDER, "p", 0.9).holds
    assert "ratio 0.851" in within("x", found, name, FIRST_ORDER, "p", 0.85).evidence  # 8 · 1.01 / 9.5
    assert not within("x", found, name, FIRST_ORDER, "p", 0.85).holds
    assert within("x", found, name, ["K-FAC"], "p", 0.85).holds is None
    assert goes_on("x", found, name, "p").holds
    assert stays_finite("x", contenders, [name]).holds
    assert per_second("x", contenders, "L2L", FIRST_ORDER, "p").holds is None


def test_figure1_says_who_is_ahead_and_what_is_promised(tmp_path):
    found = figure1.figure1(rows_of("convnet"), tmp_path)
    by_key = {(item.row, item.metric): item for item in found.results}
    assert by_key["MLHF, lr tuned", "÷ first order"].ours == pytest.approx(8.08 / 9.5)
    assert by_key["MLHF, lr tuned", "÷ Hessian-free"].ours == pytest.approx(8.08 / 8.2)
    assert by_key["MLHF, lr 1", "loss"].seeds == 2
    assert by_key["K-FAC", "loss"].verdict == "not run"
    text = "\n".join(found.sections[0].text)
    assert "**Against seconds the first-order methods are ahead.**" in text
    assert "Claim 1, MLHF, lr tuned, best per sample on the convnet: This holds" in text
    assert "Claim 5, ⟨g, xₙ⟩ > 0: This holds" in text
    titles = [section.title.rpartition(": ")[2] for section in found.sections[1:]]
    assert titles == ["where everybody ends", "who leads when", "inside a step", "what tuning chose"]
    table = found.sections[1].tables[0]
    assert list(table.contender[:3]) == ["MLHF, lr 1", "MLHF, batch ratio", "MLHF, lr tuned"]
    assert table["÷ SGD's"].iloc[0] == pytest.approx(5.0)
    for name in ("figure1", "figure1_damping"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000
    assert figure1.figure1({"MLHF": pd.DataFrame()}, tmp_path).sections == []


@pytest.mark.parametrize(
    ("judge", "problems"),
    [
        (figure2.figure2, ["larger"]),
        pytest.param(beyond.mlp, ["mlp"], marks=pytest.mark.slow),
        pytest.param(beyond.rnn, ["rnn"], marks=pytest.mark.slow),
        pytest.param(figure2.transfer, ["larger"], marks=pytest.mark.slow),
        pytest.param(figure2.figure2, ["larger", "ImageNet"], marks=pytest.mark.slow),
        (beyond.long, ["long"]),
    ],
)
def test_the_other_comparisons_are_drawn(judge, problems, tmp_path):
    rows = {name: pd.concat([rows_of(problem)[name] for problem in problems]) for name in rows_of("p")}
    found = judge(rows, tmp_path)
    assert found.sections
    assert {item.row for item in found.results} >= {"MLHF, lr tuned", "Adam", "K-FAC"}
    assert all(item.ours is None or np.isfinite(item.ours) for item in found.results)
    text = "\n".join(line for section in found.sections for line in section.text)
    assert "holds" in text
    assert judge({name: pd.DataFrame() for name in rows}, tmp_path).sections == []


def configuration(row, efficiency, solver, residual):
    numbers = {EFFICIENCY: efficiency, SOLVER: solver, RELATIVE: residual, RESIDUAL: residual, "loss": 1.0}
    numbers |= {"seconds": 2.0}
    name = f"{row}, lr 1"
    return pd.DataFrame(
        [Metric(name, 0, "mean", step, "ablation", key, value) for step in (1, 2) for key, value in numbers.items()]
    )


def test_the_orderings_of_the_ablation_are_judged_one_by_one(tmp_path):
    rows = {
        FULL_STEPS: configuration(FULL_STEPS, 0.97, -1.0, 0.001),
        PLAIN: configuration(PLAIN, 0.61, -0.7, 0.5),
        SHORT: configuration(SHORT, 0.80, -0.8, 0.3),
        DEFAULT: configuration(DEFAULT, 0.89, -0.9, 0.1),
        JACOBI: configuration(JACOBI, 0.88, -0.9, 0.1),
    }
    found = figure3.figure3(rows, tmp_path)
    renamed = {row: figure3._as_row(row, frame) for row, frame in rows.items()}
    assert [claim.holds for claim in figure3.claims(renamed)] == [False, True, True, False, False]
    by_key = {(item.row, item.metric): item for item in found.results}
    assert by_key[DEFAULT, "efficiency"].ours == pytest.approx(0.89)
    assert by_key[DEFAULT, "efficiency"].limit == 1.0
    assert (tmp_path / "figures" / "figure3.png").stat().st_size > 5000
    assert figure3.figure3({row: pd.DataFrame() for row in rows}, tmp_path).sections == []


def test_windows_are_equal_and_the_last_is_what_tuning_minimises():
    assert ends(300, 10) == list(range(30, 301, 30))
    assert ends(25, 10) == list(range(7, 26, 2))
    assert ends(3, 10) == [1, 2, 3]
    values = torch.rand(25, 2)
    width = ends(25, 10)[-1] - ends(25, 10)[-2]
    torch.testing.assert_close(Scores(values, {}).end, values[-width:].mean(0))


def trained(*overrides):
    settings = compose(
        "reproduce",
        [
            "recipe=mlhf2018/mlhf",
            "experiment=mlhf2018/problems/convnet",
            "task.dataset=digits",
            "task.channels=[2,2]",
            "task.dense=[5]",
            "task.examples=8",
            *overrides,
        ],
    )
    settings.evaluation.problems = {"convnet": {"examples": 12, "horizon": 12}}
    task = build_task(settings)
    return Trained(build_learner(settings, task), task, settings)


def test_one_training_is_measured_at_several_rates():
    ready = trained("tune.grid={learner.rule.lr: [0.1, 0.2, 1.0]}", "tune.budget=2")
    with torch.no_grad():
        for value in ready.learner.parameters():
            value.add_(0.1)
    found = {entry.contender: entry for entry in entries("MLHF", ready)}
    assert list(found) == ["MLHF, lr 1", "MLHF, batch ratio", "MLHF, lr tuned"]
    assert found["MLHF, batch ratio"].learner.rule.lr == 1.5
    assert len(found["MLHF, lr tuned"].tuning.trials) == 2
    for entry in found.values():  # all have the weights that were trained, on the problem's task
        assert entry.learner.task.spec.examples == 12
        for own, given in zip(entry.learner.parameters(), ready.learner.parameters(), strict=True):
            assert torch.equal(own, given)
    asked = trained("tune.grid={learner.rule.lr: [0.3]}")
    assert [entry.contender for entry in entries("MLHF", asked)] == ["MLHF, lr 1", "MLHF, lr 0.3"]
    assert [entry.contender for entry in entries("x", trained())] == ["x, lr 1"]


def test_a_track_is_what_the_learner_does():
    ready = trained()
    learner = next(entries("MLHF", ready)).learner
    track = follow(learner, 2, 12, 3)
    episode = learner.task.sample(2, 3, Phase.TEST)
    state = learner.init(2, generator(3, "learner", Phase.TEST))
    with torch.no_grad():
        for step in range(12):
            batch = episode.batch(step)
            loss = learner.task.loss(learner.predict(state, batch.inputs), batch.targets)
            torch.testing.assert_close(track.losses[step], loss)
            state, _ = learner.step(state, batch)
        batch = episode.batch(0, Split.TEST)
        assert learner.task.loss(learner.predict(state, batch.inputs), batch.targets).shape == (2,)
    assert len(track.looks) == 12
    assert track.seconds == sorted(track.seconds)
    assert list(track.held) == [4, 6, 8, 10, 12]
    frame = pd.DataFrame(track_rows("a", 0, "p", track))
    last = frame[(frame.metric == "loss") & (frame.step == 12) & (frame.episode == "1")].value.item()
    assert last == pytest.approx(track.losses[-1, 1].item())
    assert frame[frame.metric == "not finite"].value.item() == 0


def test_efficiency_is_a_share_of_the_exact_solution(double):
    network = {"channels": [2, 2], "kernel": 3, "dense": [5]}
    task = image_task("convnet.CudaConvNet", **network, examples=16, horizon=1000, standardise="image")
    rule = MLHF(iterations=60, preconditioner="jacobi", base_damping=0.1)
    learner = Descent(task, rule)
    episode = task.sample(1, 0, Phase.TEST)
    state = learner.init(1, generator(0, "x"))
    numbers = look(learner, rule, state, episode.batch(0), converge=True)
    assert numbers[EFFICIENCY] == pytest.approx(1.0, abs=1e-5)
    assert numbers[RELATIVE] < 1e-3
    quick = MLHF(iterations=1, preconditioner="none")
    other = Descent(task, quick)
    few = look(other, quick, other.init(1, generator(0, "x")), episode.batch(0), converge=True)
    assert 0 < few[EFFICIENCY] < 1
    assert few[DOWNHILL] == 1.0
    # l_p = −√⟨g, Ĥ⁻¹g⟩ at the exact solution, which no other x is below.
    point = Point(task.model, task.loss, state.params, episode.batch(0), curvature=task.curvature)
    found = rule.solve(point, state.memory)
    exact = solver_loss(found.grad, found.x, found.residual)
    torch.testing.assert_close(exact, -(found.grad * found.x).sum(1).sqrt(), rtol=1e-3, atol=0)


def test_a_hand_made_row_is_tuned_and_measured():
    reduced = "task.dataset=digits task.channels=[2,2] task.dense=[5] task.examples=8 tune.budget=2 evaluation.steps=5"
    settings = compose("reproduce", ["experiment=mlhf2018/problems/ablation", "learner=sgd", *reduced.split()])
    frame = pd.DataFrame(measure_rows("SGD", untrained(settings, lambda trial: None)))
    assert set(frame.contender) == {"SGD"}
    assert frame[frame.metric == "trials"].value.item() == 2
    assert not frame.metric.eq(SOLVER).any()  # there is nothing to look into


def test_a_problem_may_be_a_task_of_its_own():
    ready = trained()
    ready.settings.evaluation.problems = {"other": image_node("mlp.MLP", hidden=[3])}
    assert problems_of(ready.settings)["other"].model.size == 64 * 3 + 3 + 3 * 10 + 10


@pytest.mark.parametrize(("factor", "holds"), [(1.0 + 1e-6, True), (1.1, False)])
def test_two_processes_are_held_to_one(factor, holds, tmp_path):
    rows = {
        "MLHF, one process": made_up(["MLHF, one process, lr 1"], "parallel", 8.0),
        "MLHF, two processes": made_up(["MLHF, two processes, lr 1"], "parallel", 8.0 * factor),
    }
    artefact = parallel.parallel(rows, tmp_path)
    by_name = {(result.row, result.metric): result.ours for result in artefact.results}
    assert by_name["MLHF, two processes, lr 1", "difference"] == pytest.approx(factor - 1, rel=1e-3)
    assert ("**This does not hold**" not in artefact.sections[0].text[1]) == holds
    assert (tmp_path / "figures" / "parallel.png").stat().st_size > 5000


def test_every_artefact_has_its_experiment_and_departures_are_listed():
    assert set(papers(None)[PRESET]) == set(ARTEFACTS)
    assert "Deviation" not in " ".join(Mlhf2018().deviations())
    assert len(Mlhf2018().deviations()) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["smoke", "short", "paper"])
def test_every_row_composes_and_tries_as_many_settings(scale):
    for name in ARTEFACTS:
        plan = reproduce._plan(ReproduceRequest(PRESET, scale=scale), name)
        for row in plan.jobs.values():
            settings = row[0].settings(Path())
            assert build_task(settings).model.size > 0, row[0].row
            promised = set(plan.scale.get("promises", {}))
            assert promised <= {f"{job}, {rate}" for job in plan.jobs for rate in ("lr 1", "lr tuned")}


@pytest.mark.slow
def test_smoke_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("L2L_DATA", str(tmp_path / "none"))  # nothing is to be downloaded
    assert run(f"reproduce {PRESET} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    frame = pd.read_csv("here/results.csv")
    assert set(frame.artefact) == set(ARTEFACTS)
    assert not frame.ours.isna().any()
    for name in ARTEFACTS:
        assert Path(f"here/figures/{name}.png").stat().st_size > 5000
    assert HF in set(frame.row)
