"""MLHF 2018: what artefacts say of made-up runs, and what is measured of real ones."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from l2l_cli.config.compose import compose
from l2l_cli.config.groups import config_root, papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.schema import Row
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.contest import Plan, Problem
from l2l_cli.evaluation.score import Scores
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.papers.base import Subject
from l2l_cli.papers.claims import at_most, below
from l2l_cli.papers.experiments import experiment, experiments
from l2l_cli.papers.measured import CHOSEN, EDGE, TRIALS, TUNE
from l2l_cli.papers.mlhf2018 import sections, track
from l2l_cli.papers.mlhf2018.comparison import per_second, progresses, stays_finite
from l2l_cli.papers.mlhf2018.recipe import AT_ONE, AT_RATIO, TUNED, Mlhf2018, variants_of
from l2l_cli.papers.mlhf2018.spent import held_from_now, peak
from l2l_cli.papers.mlhf2018.track import (
    DAMPING,
    DOWNHILL,
    EFFICIENCY,
    LOSS,
    QUANTILES,
    RELATIVE,
    RESIDUAL,
    SOLVER,
    diagnose,
    ends,
    follow,
    solver_loss,
)
from l2l_cli.papers.sections import what_tuning_chose
from l2l_cli.results.metrics import Metric
from l2l_cli.runs.building import build_learner, build_task
from tests.image_tasks import image_node, image_task
from tests.papers.made_up import composed, costs, frame_of, measured_of

PRESET = "mlhf2018"
MARKS = range(10, 101, 10)
EPISODES, SEEDS = 16, 8
MEAN = 1.0035
"""Mean over the seeds of made-up losses, in units of the first one's."""
TYPES = ("conv_weight", "dense_bias")
FIRST_ORDER = ("SGD", "SGD(m)", "RMSprop", "Adam")
RIVALS = {"Hessian-free": 8.2, "SGD": 12.0, "SGD(m)": 10.0, "RMSprop": 11.0, "Adam": 9.5}


def made_up(row, problem, factor, pace=0.01, seeds=1, variants=(), lost=0.0):
    """Measurements of a row whose loss falls as ``factor`` / √updates, a step of which takes ``pace`` seconds."""
    rows = []
    for seed, variant in ((seed, variant) for seed in range(seeds) for variant in variants or [""]):
        one = partial(Metric, row, seed, problem=problem, variant=variant)
        for step in MARKS:
            loss = factor * (1 + 0.001 * seed) / step**0.5
            hard = np.linspace(0.9, 1.1, EPISODES)
            rows += [one("loss", loss * float(hard[episode]), step, episode) for episode in range(EPISODES)]
            numbers = {"loss": loss, "seconds": pace * step, "longest_step": 0.1}
            numbers |= {"held_out_loss": loss + 0.1, "held_out_accuracy": 0.4}
            numbers |= {DOWNHILL: 1.0, RELATIVE: 0.1} if variants else {}
            rows += [one(metric, value, step, statistic="mean") for metric, value in numbers.items()]
            if variants:
                quantiles = [(name, share, part) for name, share in QUANTILES.items() for part in TYPES]
                rows += [one(DAMPING, 0.1 + share, step, statistic=name, part=part) for name, share, part in quantiles]
        rows.append(one("not_finite", lost, 100, statistic="sum"))
        tuned = [one(TRIALS, 6.0), one("learner.rule.lr", 0.1, part=CHOSEN), one("learner.rule.lr", 0.0, part=EDGE)]
        rows += [item._replace(split=TUNE) for item in tuned]
    return [*rows, *costs(row, seeds)]


def frames_of(problems, mlhf=8.0, lost=0.0):
    """MLHF, several seeds at three learning rates, and its rivals, on some problems."""
    rows = {"MLHF": []} | {name: [] for name in RIVALS}
    for problem in problems:
        rows["MLHF"] += made_up("MLHF", problem, mlhf, 0.05, SEEDS, (AT_ONE, AT_RATIO, TUNED), lost)
        for name, factor in RIVALS.items():
            rows[name] += made_up(name, problem, factor)
    return {name: frame_of(parts) for name, parts in rows.items()}


def test_claims_hold_or_do_not(tmp_path):
    _, measured = measured_of(PRESET, "figure1", frames_of(["p"]), tmp_path)
    _, slower = measured_of(PRESET, "figure1", frames_of(["p"], 9.55), tmp_path)
    scores, name, end = measured.standings(), "MLHF, lr tuned", 100
    assert measured.names("learned") == ["MLHF, lr 1", "MLHF, batch ratio", "MLHF, lr tuned"]
    assert below("x", scores, name, FIRST_ORDER, "p", MARKS).holds
    assert below("x", slower.standings(), name, FIRST_ORDER, "p", MARKS).holds is False
    slow = per_second("x", measured, scores, name, FIRST_ORDER, "p")
    assert not slow.holds
    assert "one of its steps takes 5.0 times as long" in slow.evidence
    assert at_most("x", scores, name, FIRST_ORDER, "p", end, 0.9).holds
    assert "ratio 0.845" in at_most("x", scores, name, FIRST_ORDER, "p", end, 0.83).evidence  # 8 · 1.0035 / 9.5
    assert at_most("x", scores, name, FIRST_ORDER, "p", end, 0.83).holds is False
    assert at_most("x", scores, name, ["K-FAC"], "p", end, 0.85).holds is None
    assert progresses("x", scores, name, "p").holds
    assert per_second("x", measured, scores, "L2L", FIRST_ORDER, "p").holds is None


def test_per_second_each_counts_with_its_own_tenths(tmp_path):
    """With another batch, the tenths of a rival's run end at other numbers of the usual updates."""
    frames = frames_of(["p"], 7.0)
    own = frames["Adam"]
    own.loc[own.step < 100, "step"] -= 3
    own.loc[own.metric == "seconds", "value"] *= 1.5
    _, measured = measured_of(PRESET, "figure1", frames, tmp_path)
    assert 57 in measured.standings().marks("p")
    assert 60 in measured.standings().marks("p")  # it would be through with these, had it been measured there
    claim = per_second("x", measured, measured.standings(), "MLHF, lr tuned", FIRST_ORDER, "p")
    assert claim.holds is False
    assert f"against {10 / 100**0.5:.3g} of SGD(m)" in claim.evidence  # Adam's is 9.5 / √57


def test_a_loss_that_was_not_finite_breaks_a_claim():
    assert stays_finite("x", {"a": [0.0, 0.0]}).holds
    broken = stays_finite("x", {"a": [0.0, 0.0], "b": [1.0, 2.0]})
    assert not broken.holds
    assert "b 3" in broken.evidence
    assert stays_finite("x", {}).holds is None


def test_figure1_says_who_is_ahead_and_what_is_promised(tmp_path):
    artefact, measured = measured_of(PRESET, "figure1", frames_of(["convnet"]), tmp_path)
    findings = artefact.judge(measured)
    by_key = {(item.row, item.metric): item for item in findings.results}
    assert by_key["MLHF, lr tuned", "÷ first order"].ours == pytest.approx(8 * MEAN / 9.5)
    assert by_key["MLHF, lr tuned", "÷ Hessian-free"].ours == pytest.approx(8 * MEAN / 8.2)
    assert by_key["MLHF, lr 1", "loss"].seeds == SEEDS
    assert by_key["K-FAC", "loss"].verdict == by_key["K-FAC", "MB"].verdict == "not run"
    stated = {metric: by_key["SGD", metric] for metric in ("accuracy", "ms per step")}
    assert {metric: found.ours for metric, found in stated.items()} == {"accuracy": 0.4, "ms per step": 10.0}
    assert all(found.low is None and not found.verdict for found in stated.values())
    assert ("MLHF, batch ratio", "÷ first order") not in by_key
    text = "\n".join(map(str, findings.sections[0].claims))
    assert "Claim 1, MLHF, lr tuned, best per sample on the convnet: holds" in text
    assert "Claim 1, MLHF, lr 1, best per second on the convnet: **fails**" in text
    assert "Claim 5, ⟨g, xₙ⟩ > 0: holds" in text
    titles = [section.title.rpartition(": ")[2] for section in findings.sections[1:]]
    assert titles == ["losses and costs at the end", "who leads when", "inside a step", "what tuning chose"]
    table = findings.sections[1].tables[0]
    assert list(table.contender[:3]) == ["MLHF, lr 1", "MLHF, batch ratio", "MLHF, lr tuned"]
    assert table["÷ the quickest's"].iloc[0] == pytest.approx(5.0)
    for name in ("figure1", "figure1_damping"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000
    assert artefact.judge(measured_of(PRESET, "figure1", {}, tmp_path)[1]).sections == []


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("figure2", ["larger"]),
        pytest.param("mlp", ["mlp"], marks=pytest.mark.slow),
        pytest.param("rnn", ["rnn"], marks=pytest.mark.slow),
        pytest.param("transfer", ["larger"], marks=pytest.mark.slow),
        pytest.param("figure2", ["larger", "ImageNet"], marks=pytest.mark.slow),
        ("long", ["long"]),
    ],
)
def test_the_other_comparisons_are_drawn(name, problems, tmp_path):
    one = composed(PRESET, name)
    frames = {row: frame for row, frame in frames_of(problems).items() if row in one.settings.rows}
    artefact, measured = measured_of(PRESET, name, frames, tmp_path)
    findings = artefact.judge(measured)
    by_key = {(item.row, item.metric): item for item in findings.results}
    assert all(item.ours is None or np.isfinite(item.ours) for item in findings.results)
    assert by_key["MLHF, lr tuned", "loss"].seeds == SEEDS
    assert by_key["MLHF, trajectories", "loss"].verdict == "not run"
    for problem in problems[1:]:
        assert by_key[f"MLHF, lr 1, {problem}", "÷ Adam"].ours == pytest.approx(8 * MEAN / 9.5)
        assert (tmp_path / "figures" / f"{name}_{problem}.png").stat().st_size > 5000
    assert any(claim.holds for claim in findings.sections[0].claims)
    assert artefact.judge(measured_of(PRESET, name, {}, tmp_path)[1]).sections == []


def test_over_a_long_run_losses_that_were_not_finite_are_counted(tmp_path):
    frames = {"MLHF": frames_of(["long"], lost=2.0)["MLHF"]}
    artefact, measured = measured_of(PRESET, "long", frames, tmp_path)
    findings = artefact.judge(measured)
    lost = {item.row: item.ours for item in findings.results if item.metric == "not finite"}
    assert lost == {"MLHF, lr 1": 2.0, "MLHF, batch ratio": 2.0, "MLHF, lr tuned": 2.0}
    assert {claim.text: claim.holds for claim in findings.sections[0].claims}["Ours, every loss is finite"] is False


def configuration(row, efficiency, solver, residual):
    numbers = {EFFICIENCY: efficiency, SOLVER: solver, RELATIVE: residual, RESIDUAL: residual, "loss": 1.0}
    one = partial(Metric, row, 0, problem="ablation", variant=AT_ONE)
    means = [
        one(metric, value, step, statistic="mean")
        for step in (1, 2)
        for metric, value in (numbers | {"seconds": 2.0}).items()
    ]
    spread = np.linspace(0.99, 1.01, EPISODES)
    of_each = [one(metric, value * spread[at], 2, at) for metric, value in numbers.items() for at in range(EPISODES)]
    return frame_of([*means, *of_each])


def test_the_orderings_of_the_ablation_are_judged_one_by_one(tmp_path):
    numbers = {
        "no RNN_p, n = 20": (0.97, -1.0, 0.001),
        "no RNN_p, n = 4": (0.61, -0.7, 0.5),
        "RNN_p, n = 2": (0.80, -0.8, 0.3),
        "RNN_p, n = 4": (0.89, -0.9, 0.1),
        "Jacobi, n = 4": (0.88, -0.9, 0.1),
        "true Jacobi, n = 4": (0.80, -0.8, 0.05),
    }
    frames = {row: configuration(row, *values) for row, values in numbers.items()}
    artefact, measured = measured_of(PRESET, "figure3", frames, tmp_path)
    findings = artefact.judge(measured)
    assert {claim.text: claim.holds for claim in findings.sections[0].claims} == {
        "Claim 4, n = 4 with RNN_p is about as good as n = 20 without": False,
        "Claim 4, n = 4 without RNN_p is bad": True,
        "Claim 4, n = 2 with RNN_p is bad": False,
        "Ours, RNN_p does better than the control P = 1/ŝ": False,
        "Ours, RNN_p does better than the control P = 1/(diag G + ŝ)": True,
        "Ours, its residual is larger than under true Jacobi": True,
        "Claim 4, its residual is far from converged, that of n = 20 is not": True,
    }
    by_key = {(item.row, item.metric): item for item in findings.results}
    assert by_key["RNN_p, n = 4", "efficiency"].ours == pytest.approx(0.89)
    assert by_key["RNN_p, n = 4", "efficiency"].limit == 1.0
    assert (tmp_path / "figures" / "figure3.png").stat().st_size > 5000
    assert artefact.judge(measured_of(PRESET, "figure3", {}, tmp_path)[1]).sections == []


def test_windows_are_equal_and_the_last_is_what_tuning_minimises():
    assert ends(300, 10) == list(range(30, 301, 30))
    assert ends(25, 10) == list(range(7, 26, 2))
    assert ends(3, 10) == [1, 2, 3]
    values = torch.rand(25, 2)
    width = ends(25, 10)[-1] - ends(25, 10)[-2]
    torch.testing.assert_close(Scores(values, {}).end, values[-width:].mean(0))


SMALL = ("task.dataset=digits", "task.channels=[2,2]", "task.dense=[5]", "task.examples=8")


def trained(*overrides, row="MLHF"):
    """A row whose φ is as it was initialised."""
    settings = compose(
        "reproduce", ["recipe=mlhf2018/mlhf", "experiment=mlhf2018/problems/convnet", *SMALL, *overrides]
    )
    settings.evaluation.problems = {"convnet": {"examples": 12, "horizon": 12}}
    task = build_task(settings)
    return Subject(row, Row(role="learned"), build_learner(settings, task), task, settings)


def test_one_training_is_measured_at_several_rates():
    subject = trained("tune.grid={learner.rule.lr: [0.1, 0.2, 1.0]}", "tune.budget=2")
    with torch.no_grad():
        for value in subject.learner.parameters():
            value.add_(0.1)
    entries = dict(variants_of(subject))
    assert list(entries) == ["lr 1", "batch ratio", "lr tuned"]
    assert entries["batch ratio"].learner.rule.lr == 1.5
    assert len(entries["lr tuned"].tuning.trials) == 2
    for entry in entries.values():  # all have the weights that were trained, on the problem's task
        assert entry.learner.task.spec.examples == 12
        for own, given in zip(entry.learner.parameters(), subject.learner.parameters(), strict=True):
            assert torch.equal(own, given)
    asked = dict(variants_of(trained("tune.grid={learner.rule.lr: [0.3]}")))
    assert list(asked) == ["lr 1", "lr 0.3"]
    assert asked["lr 0.3"].learner.rule.lr == 0.3
    assert list(dict(variants_of(trained()))) == ["lr 1"]


def test_a_track_is_what_the_learner_does():
    subject = trained()
    (_, entry), *_ = variants_of(subject)
    learner, task = entry.learner, entry.problem.task
    problem = entry.problem._replace(plan=Plan(2, [3], 1024))
    told = list[tuple[float, str]]()
    row = partial(Metric, "a", 0, problem="p")
    frame = frame_of(follow(learner, problem, row, False, lambda share, note: told.append((share, note))))
    assert sum(share for share, _ in told) == pytest.approx(1)
    assert told[-1][1] == f"{problem.name} step 12 of 12"
    episode = task.sample(2, 3, Phase.TEST)
    state = learner.init(2, generator(3, "learner", Phase.TEST))
    losses = []
    with torch.no_grad():
        for step in range(12):
            batch = episode.batch(step)
            losses.append(task.loss(learner.predict(state, batch.inputs), batch.targets))
            state, _ = learner.step(state, batch)
    means = frame[(frame.metric == "loss") & (frame.statistic == "mean")]
    assert means.step.tolist() == list(range(1, 13))
    torch.testing.assert_close(torch.tensor(means.value.tolist()), torch.stack(losses).mean(1))
    last = frame[(frame.metric == "loss") & (frame.step == 12) & (frame.episode == 1)].value.item()
    assert last == pytest.approx(losses[-1][1].item())
    seconds = frame[frame.metric == "seconds"].value.tolist()
    assert seconds == sorted(seconds)
    assert frame[frame.metric == "held_out_loss"].step.tolist() == [4, 6, 8, 10, 12]
    diagnosed = frame[frame.metric == DOWNHILL]
    assert diagnosed[diagnosed.statistic == "mean"].step.tolist() == list(range(12))
    assert diagnosed[diagnosed.episode.notna()].episode.tolist() == [0, 1]  # the means over these steps
    assert set(frame[frame.metric == DAMPING].part) == {"conv_weight", "conv_bias", "dense_weight", "dense_bias"}
    assert set(frame[frame.metric == DAMPING].statistic) == set(QUANTILES)
    assert frame[frame.metric == "not_finite"].value.item() == 0
    assert not (frame.metric == EFFICIENCY).any()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of memory is not counted anew")
def test_memory_is_what_a_run_holds_beyond_what_is_there_before():
    before = torch.zeros(10_000_000)
    held = held_from_now()
    for _ in range(3):
        (before + 1.0).sum()
    assert 35e6 < peak() - held < 75e6
    held = held_from_now()
    assert peak() - held < 5e6


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of memory is not counted anew")
def test_memory_that_another_run_has_freed_is_counted_as_well():
    last = []  # pieces at the end of what the allocator holds, which keep it from giving anything back by itself
    for _ in range(2):
        held = held_from_now()
        used = [torch.zeros(25_000) for _ in range(500)]  # 50 MB
        last.append(torch.zeros(25_000))
        assert peak() - held > 40e6
        del used


def test_efficiency_is_a_share_of_the_exact_solution(double):
    network = {"channels": [2, 2], "kernel": 3, "dense": [5]}
    task = image_task("convnet.CudaConvNet", **network, examples=16, horizon=1000, standardise="image")
    rule = MLHF(iterations=60, preconditioner="jacobi", base_damping=0.1)
    batch = task.sample(1, 0, Phase.TEST).batch(0)

    def at(rule):
        state = Descent(task, rule).init(1, generator(0, "x"))
        return Point(task.model, task.loss, state.params, batch, curvature=task.curvature), state.memory

    numbers, _ = diagnose(rule, *at(rule), near_exact=True)
    assert numbers[EFFICIENCY].item() == pytest.approx(1.0, abs=1e-5)
    assert numbers[RELATIVE].item() < 1e-3
    quick = MLHF(iterations=1, preconditioner="none")
    few, _ = diagnose(quick, *at(quick), near_exact=True)
    assert 0 < few[EFFICIENCY].item() < 1
    assert few[DOWNHILL].item() == 1.0
    # l_p = −√⟨g, Ĥ⁻¹g⟩ at the exact solution, which no other x is below.
    solved = rule.solve(*at(rule))
    exact = solver_loss(solved.grad, solved.x, solved.residual)
    torch.testing.assert_close(exact, -(solved.grad * solved.x).sum(1).sqrt(), rtol=1e-3, atol=0)


def test_a_hand_made_row_is_tuned_and_measured():
    overrides = [*SMALL, "tune.budget=2", "evaluation.steps=5"]
    settings = compose("reproduce", ["experiment=mlhf2018/problems/ablation", "learner=sgd", *overrides])
    task = build_task(settings)
    subject = Subject("SGD", Row(), build_learner(settings, task), task, settings)
    frame = frame_of(list(Mlhf2018(near_exact=True).measure(subject)))
    assert set(frame.contender) == {"SGD"}
    assert set(frame.variant) == {""}
    assert frame[frame.metric == TRIALS].value.item() == 2
    assert not frame.metric.eq(SOLVER).any()  # there is nothing to diagnose
    # With four times the samples an update, updates are counted in those of the others.
    larger = replace(subject, row=Row(x={"updates": 4.0}))
    larger = frame_of(list(Mlhf2018(near_exact=True).measure(larger)))
    losses, others = (one[(one.metric == LOSS) & (one.statistic == "mean")] for one in (frame, larger))
    assert others.step.tolist() == [4 * step for step in losses.step]
    assert others.value.tolist() == losses.value.tolist()


def test_a_schedule_that_was_chosen_is_said(tmp_path):
    overrides = [*SMALL, "evaluation.steps=4", "tune.grid={learner.rule.lr: [1e-6, 1e-5], learner.schedule: [cosine]}"]
    settings = compose("reproduce", ["experiment=mlhf2018/problems/convnet", "learner=sgd", *overrides])
    task = build_task(settings)
    subject = Subject("SGD", Row(), build_learner(settings, task), task, settings)
    frames = {"SGD": frame_of(list(Mlhf2018().measure(subject)))}
    _, measured = measured_of(PRESET, "figure1", frames, tmp_path)
    (section,) = what_tuning_chose("Figure 1", measured, "")
    (line,) = section.tables[0].to_dict("records")
    assert (line["trials"], line["beyond its grid"], line["at the edge of its grid"]) == (6, 4, "lr")
    assert line["chosen"].endswith("schedule=cosine")
    assert "**1 of 1 chosen settings lie at the edge of the values tried**" in section.text[1]
    assert "1 of 1 searches continued beyond the edge of their grid" in section.text[1]


def test_a_problem_may_be_a_task_of_its_own():
    subject = trained()
    subject.settings.evaluation.problems = {"other": image_node("mlp.MLP", hidden=[3])}
    (problem,) = subject.problems()
    assert isinstance(problem, Problem)
    assert problem.task.model.size == 64 * 3 + 3 + 3 * 10 + 10


@pytest.mark.parametrize(("factor", "holds"), [(1.0 + 1e-6, True), (1.1, False)])
def test_two_processes_are_held_to_one(factor, holds, tmp_path):
    rows = {"MLHF, one process": 8.0, "MLHF, two processes": 8.0 * factor}
    frames = {row: frame_of(made_up(row, "parallel", value, variants=(AT_ONE,))) for row, value in rows.items()}
    artefact, measured = measured_of(PRESET, "parallel", frames, tmp_path)
    findings = artefact.judge(measured)
    by_name = {(result.row, result.metric): result.ours for result in findings.results}
    assert by_name["MLHF, two processes, lr 1", "difference"] == pytest.approx(factor - 1, rel=1e-3)
    assert [claim.holds for claim in findings.sections[0].claims] == [holds]
    assert (tmp_path / "figures" / "parallel.png").stat().st_size > 5000
    alone = measured_of(PRESET, "parallel", dict(list(frames.items())[:1]), tmp_path)[1]
    assert {item.verdict for item in artefact.judge(alone).results} == {"not run"}


def test_curves_far_above_the_first_loss_are_cut_off():
    table = pd.DataFrame({"contender": "a", "seed": 0, "updates": [1, 2, 3], "value": [2.0, 50.0, 1.0]})
    figure, (axes,) = sections.panels(1, 1)
    sections.draw(axes, table, {"a": {"color": "red"}})
    assert axes.get_ylim() == pytest.approx((0.95, sections.ABOVE * 2.0))
    del figure


def test_at_most_so_many_steps_are_diagnosed_and_evenly():
    assert track.diagnosed_steps(10) == set(range(10))
    assert track.diagnosed_steps(300) == set(range(0, 300, 10))


def test_an_experiment_cannot_refer_to_a_group_of_rivals_that_it_does_not_have(tmp_path):
    text = (config_root() / "experiment" / PRESET / "figure2.yaml").read_text()
    folder = tmp_path / "experiment" / PRESET
    folder.mkdir(parents=True)
    (folder / "copy.yaml").write_text(text.replace("ratios: [Adam,", "ratios: [Adan,"))
    with pytest.raises(UsageError, match="no group Adan"):
        experiment(ReproduceRequest(PRESET, config_dir=str(tmp_path)), "copy")


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["smoke", "short", "paper"])
def test_every_row_composes_and_promises_are_about_rows(scale):
    for one in experiments(ReproduceRequest(PRESET, scale=scale)):
        for jobs in one.jobs.values():
            settings = jobs[0].settings(config_root())
            assert build_task(settings).model.size > 0, jobs[0].name
        promised = set(one.scale.get("promises", {}))
        assert promised <= {f"{row}, {variant}" for row in one.jobs for variant in (AT_ONE, TUNED)}
    assert len(papers(None)[PRESET]) == 8
