"""Andrychowicz 2016: what artefacts say of made-up runs, what is measured of real ones, all of it at smoke scale."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import config_root, papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.schema import Row, Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.evaluation.contest import Entry, Plan, Problem
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.papers import jobs, measuring, sections
from l2l_cli.papers.andrychowicz2016 import proposals
from l2l_cli.papers.andrychowicz2016.beyond import ends_below_start, one_for_all, within_reach
from l2l_cli.papers.andrychowicz2016.curves import updates_at
from l2l_cli.papers.andrychowicz2016.move_sizes import move_size_rows, move_size_sections
from l2l_cli.papers.andrychowicz2016.sizes import nearly_everywhere
from l2l_cli.papers.base import Subject
from l2l_cli.papers.claims import alike, below, fails, goes_on
from l2l_cli.papers.experiments import cost_table, experiment
from l2l_cli.papers.measured import Measured
from l2l_cli.results import report, standings
from l2l_cli.results.content import Claim, Report
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.tasks.quadratic import Quadratic
from tests.image_tasks import digits_mlp
from tests.papers.made_up import composed
from tests.test_cli import run

PRESET = "andrychowicz2016"
EPISODES, SEEDS = 12, 8
RIVALS = ["SGD", "NAG", "RMSprop", "Adam"]
ARTEFACTS = papers()[PRESET]
PAPER = build(compose("reproduce", [f"experiment={PRESET}/figure5"]).paper, "paper")


def made_up(row, problems, factor, seeds=1, learned=False, last=99):
    """A contender whose loss is ``factor`` / (updates + 1) times what is particular to an episode."""
    easy = np.linspace(0.5, 1.5, EPISODES)
    rows = []
    for seed in range(seeds):
        for problem in problems:
            for updates in [mark for mark in PAPER.marks if mark <= last]:
                loss, step = factor * (1 + 0.01 * seed) / (updates + 1), updates + 1
                at = partial(Metric, row, seed, "loss", step=step, problem=problem)
                rows += [at(loss * easy[episode], episode=episode) for episode in range(EPISODES)]
                rows += [at(loss, statistic=name) for name in ("mean", "median")]
            if not learned:
                tuned = partial(Metric, row, seed, problem=problem, split="tune")
                rows += [tuned("trials", 8.0), tuned("learner.rule.lr", 0.1, part="chosen")]
                rows.append(tuned("learner.rule.lr", float(seed), part="at the edge"))
        for name, value in (("updates", 8), ("seconds", 1), ("skipped", 0), ("meta_parameters", 5061 * learned)):
            rows.append(Metric(row, seed, name, float(value), split="cost"))
    return pd.DataFrame(rows)


def contenders(*problems, lstm=1.0, last=99):
    rows = {"LSTM": made_up("LSTM", problems, lstm, seeds=SEEDS, learned=True, last=last)}
    factors = dict(zip(RIVALS, (4.0, 3.0, 3.2, 2.9), strict=True))
    return rows | {name: made_up(name, problems, factor, last=last) for name, factor in factors.items()}


def measured_of(frames, folder, name="figure5"):
    """Measurements of an artefact of the preset; rows that have no frame were not run."""
    one = composed(PRESET, name)
    frames = {row: frames.get(row, pd.DataFrame()) for row in one.settings.rows}
    problems = one.jobs["LSTM"][0].settings(folder).evaluation.problems
    return one.artefact, Measured(name, one.settings.rows, frames, folder, one.settings.published, problems)


def standings_of(frames):
    return standings.standings_of(frames, mark=updates_at)


def entry_of(name, learner, steps, problem="base"):
    plan = Plan(4, [1], 4)
    entry = Entry(name, Problem(problem, learner.task, steps, plan, {}), learner, None, {})
    return Subject(name, Row(), learner, learner.task, Settings()), entry


def test_what_was_read_off_the_figures_is_whole_and_falls(tmp_path):
    for name in ("figure4_quadratics", "figure4_mnist", "figure5"):
        measured = measured_of({}, tmp_path, name)[1]
        for problem in measured.published:
            points = measured.points(problem)
            assert set(points) == {"LSTM", *RIVALS}, problem
            for row, curve in points.items():
                values = list(curve.values())
                assert len(curve) == len(measured.published[problem][row])
                assert list(curve) == sorted(curve)
                assert values == sorted(values, reverse=True)
                assert set(curve) <= set(PAPER.marks)
                assert all(0.01 < value < 20 for value in values)


def test_who_wins_is_a_paired_matter():
    table = standings_of(contenders("base")).winners("base", ["LSTM", *RIVALS])
    row = table[table.updates == 99].iloc[0]
    assert row.lowest == "LSTM"
    assert row["runner-up"] == "Adam"
    assert row.loss == pytest.approx(1.035 / 100)  # the mean over seeds
    difference, low, high = row["difference [95 %]"].replace("[", "").replace("]", "").replace(",", "").split()
    assert float(difference) == pytest.approx(0.01035 - 0.029, rel=0.02)
    # Pairs share what is particular to an episode, so the lead is sure though the spread of losses is wide.
    assert float(low) < float(difference) < float(high) < 0
    assert list(table.updates) == [10, 40, 99]  # a tenth, half and the end, as near as there are losses
    assert set(table["the lowest is"]) == {"ahead"}
    assert row["p, corrected"] == pytest.approx(3 * 2 / 2**SEEDS)
    few = contenders("base") | {"LSTM": made_up("LSTM", ["base"], 1.0, seeds=5, learned=True)}
    assert set(standings_of(few).winners("base", ["LSTM", *RIVALS])["the lowest is"]) == {"too few seeds"}  # p ≥ 0.0625


def test_claims_hold_or_do_not():
    ahead, behind = (standings_of(contenders("base", "ReLU", lstm=factor)) for factor in (1.0, 3.0))
    assert below("x", ahead, "LSTM", RIVALS, "base", [5, 99]).holds
    assert "lowest mean loss at 2 of 2" in str(below("x", ahead, "LSTM", RIVALS, "base", [5, 99]))
    lost = below("x", behind, "LSTM", RIVALS, "base", [5, 99])
    assert "**fails**" in str(lost)
    assert "not at 5 (to Adam), 99 (to Adam)" in str(lost)
    three = contenders("base") | {"LSTM": made_up("LSTM", ["base"], 1.0, seeds=3, learned=True)}
    undecided = below("x", standings_of(three), "LSTM", RIVALS, "base", [5, 99])
    assert (undecided.holds, "*open*" in str(undecided)) == (None, True)
    assert "p = 0.5 after 99" in undecided.evidence
    assert undecided.number == "lowest at 2 of 2 numbers of updates; too few seeds for a verdict"
    assert "too few" not in lost.number
    assert below("x", ahead, "LSTM", RIVALS, "CIFAR-2", [99]).holds is None
    assert alike("x", ahead, ("Adam", "RMSprop", "NAG"), "base", 99).holds
    assert alike("x", ahead, ("LSTM", "SGD"), "base", 99).holds is False
    assert not fails("x", ahead, "LSTM", RIVALS, "ReLU", 99, start=2.3).holds
    assert "of the best rival, Adam" in str(fails("x", behind, "LSTM", RIVALS, "ReLU", 99, start=2.3))
    assert fails("x", ahead, "LSTM", RIVALS, "ReLU", 99, start=0.005).holds


def test_one_rule_for_all_is_held_to_each_problems_best():
    rows = contenders("base", "ReLU")
    table = standings_of(rows).against(["LSTM"], RIVALS)
    claim = one_for_all("all", table, "LSTM", ["base", "ReLU", "never run"])
    assert claim.holds
    assert "base 0.36, ReLU 0.36" in claim.evidence  # 1.035, the mean over seeds, to Adam's 2.9
    worse = pd.concat([made_up("LSTM", ["base"], 1.0, learned=True), made_up("LSTM", ["ReLU"], 3.0, learned=True)])
    behind = standings_of(rows | {"LSTM": worse}).against(["LSTM"], RIVALS)
    assert one_for_all("all", behind, "LSTM", ["base", "ReLU"]).holds is False
    assert one_for_all("all", table, "LSTM", ["never run"]).holds is None


def test_a_rule_is_within_reach_if_it_is_so_on_every_problem():
    rows = contenders("base", "ReLU", lstm=3.0)  # 3.105 in the mean over seeds, to Adam's 2.9
    near = within_reach("x", standings_of(rows), "LSTM", RIVALS, ["base", "ReLU", "never run"], 1.1)
    assert (near.holds, near.number) == (True, "base 1.071, ReLU 1.071, mark 1.10")
    assert "ReLU: ratio 1.071 (mark: 1.1); after 99 updates" in near.evidence
    assert within_reach("x", standings_of(rows), "LSTM", RIVALS, ["base"], 1.05).holds is None
    assert within_reach("x", standings_of(rows), "LSTM", RIVALS, ["base"], 1.02).holds is False
    far = made_up("LSTM", ["ReLU"], 9.0, seeds=SEEDS, learned=True)
    mixed = rows | {"LSTM": pd.concat([rows["LSTM"][rows["LSTM"].problem != "ReLU"], far])}
    assert within_reach("x", standings_of(mixed), "LSTM", RIVALS, ["base", "ReLU"], 1.1).holds is False
    assert within_reach("x", standings_of(rows), "LSTM", RIVALS, ["never run"], 1.1) == Claim("x", None)


@pytest.mark.parametrize(
    ("ahead", "behind", "holds"),
    [(20, 0, True), (18, 2, True), (17, 2, None), (4, 2, None), (17, 3, False), (0, 20, False)],
)
def test_a_rule_may_win_nearly_everywhere(ahead, behind, holds):
    claim = nearly_everywhere("x", ahead, behind, 20)
    assert (claim.holds, claim.number) == (holds, f"ahead on {ahead} of 20 networks, behind on {behind}")
    assert nearly_everywhere("x", 0, 0, 0) == Claim("x", None)


def test_no_episode_may_end_above_its_start(tmp_path):
    rows = contenders("base", "ReLU")
    start = [
        Metric("LSTM", seed, "loss", 0.02, 1, None, "mean", problem) for seed in (0, 1) for problem in ("base", "ReLU")
    ]
    rows["LSTM"] = pd.concat([rows["LSTM"], pd.DataFrame(start)])

    def judged(frame):
        measured = measured_of(rows | {"LSTM": frame}, tmp_path, "beyond")[1]
        return ends_below_start(
            "x", measured, measured.standings(mark=updates_at), "LSTM", ["base", "ReLU", "3 layers"]
        )

    assert judged(rows["LSTM"]).holds
    assert judged(rows["LSTM"]).evidence == f"none of {2 * SEEDS * EPISODES} episodes; highest loss at an end 0.0161"
    one = rows["LSTM"].copy()
    there = (one.problem == "ReLU") & (one.step == 100) & (one.episode == 3) & (one.seed == 2)
    one.loc[there, "value"] = np.nan  # a loss that is not finite
    assert (judged(one).holds, judged(one).evidence[:9]) == (False, "1 on ReLU")
    one.loc[there, "value"] = 0.0201
    assert judged(one).holds is False
    assert judged(made_up("LSTM", ["base"], 1.0)).holds is None  # the loss at the start is not known


def test_a_rule_goes_on_if_it_ends_no_higher_than_it_was():
    rows = standings_of(contenders("long", last=999))
    assert goes_on("x", rows, "LSTM", ["long"], 99, 999).holds
    assert goes_on("x", rows, "LSTM", ["long"], 99, 1).holds is False
    assert goes_on("x", rows, "LSTM", ["short"], 99, 999).holds is None


def test_a_loss_that_is_not_finite_loses_and_breaks_nothing(tmp_path):
    rows = contenders("base")
    rows["LSTM"].loc[rows["LSTM"].episode == 3, "value"] = np.nan
    table = standings_of(rows).winners("base", ["LSTM", *RIVALS])
    assert table[table.updates == 99].lowest.item() == "Adam"
    artefact, measured = measured_of(rows, tmp_path, "figure4_quadratics")
    findings = artefact.judge(measured)
    (spread,) = [
        section.tables[0] for section in findings.sections if section.title.endswith("spread over test problems")
    ]
    assert np.isinf(spread["largest"][0])
    lstm = next(item for item in findings.results if (item.row, item.metric) == ("LSTM", "loss@99"))
    assert f"{SEEDS} of {SEEDS} seeds not finite" in lstm.note
    assert lstm.verdict == "worse"


def test_tunings_edges_are_said(tmp_path):
    rows = {"SGD": made_up("SGD", ["base", "ReLU"], 1.0), "Adam": made_up("Adam", ["base"], 1.0)}
    rows["Adam"].loc[rows["Adam"].part == "at the edge", "value"] = 1.0
    (section,) = sections.what_tuning_chose("x", measured_of(rows, tmp_path)[1], "text")
    table = section.tables[0]
    assert list(table.contender) == ["SGD", "SGD", "Adam"]
    assert table.trials.sum() == 24
    assert table.chosen[0] == "lr=0.1"
    assert "1 of 3 chosen settings" in section.text[1]
    assert "Adam on base" in section.text[1]


@pytest.mark.parametrize("name", sorted(set(ARTEFACTS) - {"ablation", "figure10"}))
def test_artefacts_judge_and_draw_made_up_runs(name, tmp_path):
    problems = {
        "figure4_quadratics": ["base"],
        "figure4_mnist": ["base", "200 steps"],
        "figure5": ["40 units", "2 layers", "ReLU", "40 units, θ₀ 0.1", "2 layers, θ₀ 0.1"],
        "figure6": ["5", "20", "5-5", "20-20"],
        "figure7": ["CIFAR-10", "CIFAR-5", "CIFAR-2"],
        "beyond": ["base", "ReLU"],
        "averaging": ["base"],
        "sensitivity": ["base"],
        "transfer": ["elsewhere", "elsewhere, ReLU"],
    }[name]
    rows = contenders(*problems, last=199 if name == "figure4_mnist" else 99)
    if name == "figure4_quadratics":
        rows["CG"] = made_up("CG", problems, 0.02)
    artefact, measured = measured_of(rows, tmp_path, name)
    findings = artefact.judge(measured)
    verdicts = {(item.row, item.metric): item.verdict for item in findings.results}
    assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000
    assert ("CG", "loss@99") not in verdicts
    if name == "figure4_quadratics":
        assert verdicts["L-BFGS", "loss@99"] == "not run"
        assert verdicts["LSTM", "loss@99"] == "better"
        limit = next(item.limit for item in findings.results if item.metric == "loss@99")
        assert limit == pytest.approx(0.0002)
    if name == "figure4_mnist":
        assert verdicts["L-BFGS, 200 steps", "loss@199"] == "not run"
        assert verdicts["LSTM, 200 steps", "loss@199"] == "better"
    if name == "figure5":
        assert verdicts["LSTM, ReLU", "loss@99"] == "better"
        assert verdicts["LSTM, 2 layers, θ₀ 0.1", "loss@99"] == ""  # the published number is judged once
    if name == "figure7":
        assert ("LSTM-sub, CIFAR-5", "loss@99") in verdicts
        assert ("LSTM-sub, CIFAR-10", "loss@99") not in verdicts
    judged = [item for item in findings.results if item.counts]
    assert all(item.paper is not None and item.verdict for item in judged)
    report.write(Report("title", [], findings.sections), tmp_path)
    assert {item.verdict for item in artefact.judge(measured_of({}, tmp_path, name)[1]).results} == {"not run"}


def test_sgd_proposes_what_its_formula_says(tmp_path):
    frame = pd.DataFrame(proposals.proposal_rows(*entry_of("SGD", Descent(Quadratic(dimension=4), Sgd(lr=0.5)), 6)))
    pairs = frame.pivot_table(index=["part", "split", "step"], columns="metric", values="value")
    assert len(pairs) == 2 * (6 + proposals.PROBES)
    np.testing.assert_allclose(pairs[proposals.PROPOSED], -0.5 * pairs[proposals.GIVEN], rtol=1e-5, atol=1e-9)
    artefact, measured = measured_of({"SGD": frame}, tmp_path, "figure10")
    findings = artefact.judge(measured)
    sizes, follows = findings.results
    given = pairs.loc["steepest", proposals.TRAJECTORY][proposals.GIVEN]
    assert sizes.ours == pytest.approx(0.5 * float((given**2).mean()) ** 0.5)
    assert follows.ours == pytest.approx(1.0)
    assert "SGD" in findings.sections[0].text[-1]
    assert (tmp_path / "figures" / "figure10.png").stat().st_size > 5000


def test_a_hand_made_row_is_tuned_on_every_problem():
    overrides = ["+experiment/andrychowicz2016/problems=quadratics", "learner=sgd", "tune.budget=3", "tune.episodes=4"]
    settings = compose("meta-train", [*overrides, "evaluation.episodes=5", "evaluation.seeds=[0,1]"])
    settings.evaluation.problems = {"base": {"horizon": 7}, "small": {"dimension": 3, "horizon": 4}}
    told = []
    task = build_task(settings)
    subject = Subject(
        "SGD", Row(), build_learner(settings, task), task, settings, tell=lambda share, note: told.append(share)
    )
    frame = pd.DataFrame(PAPER.measure(subject))
    assert sum(told) == pytest.approx(6)
    kept = standings_of({"SGD": frame})
    assert kept.problems == ["base", "small"]
    assert kept.marks("base") == [1, 5, 6]
    assert kept.losses["SGD", "small", 3].shape == (1, 10)
    torch.manual_seed(0)
    pd.testing.assert_frame_equal(frame, pd.DataFrame(PAPER.measure(subject)))
    settings.evaluation.problems = {"base": {"dimensions": 3}}
    with pytest.raises(UsageError, match="did you mean 'dimension'"):
        list(PAPER.measure(subject))


def test_the_artefacts_are_those_of_the_paper():
    assert set(ARTEFACTS) == {
        "ablation",
        "averaging",
        "beyond",
        "sensitivity",
        "transfer",
        *(f"figure{name}" for name in ("4_quadratics", "4_mnist", "5", "6", "7", "10")),
    }


@pytest.mark.parametrize("scale", ["study", *(pytest.param(one, marks=pytest.mark.slow) for one in ("short", "paper"))])
def test_every_artefact_composes(scale):
    """``make smoke`` runs them at scale smoke."""
    for name in ARTEFACTS:
        assert composed(PRESET, name, scale).settings.question.endswith("?")


def test_every_problem_that_an_artefact_or_the_paper_names_is_measured(tmp_path):
    for name in ("figure4_quadratics", "figure4_mnist", "figure5", "figure7"):
        artefact, measured = measured_of({}, tmp_path, name)
        named = {item.problem for item in (*artefact.panels, *artefact.claims)} | {*measured.published}
        assert named <= set(measured.problems), name
    sizes, measured = measured_of({}, tmp_path, "figure6")
    assert measured.problems[sizes.trained_on]["hidden"] == [20]
    beyond, measured = measured_of({}, tmp_path, "beyond")
    assert {*beyond.problems, *beyond.longer, *beyond.unlike, *PAPER.followed, PAPER.probed} <= set(measured.problems)


def test_figure6_draws_every_network_beside_the_best_rival(tmp_path):
    factors = {"5": 2.0, "20": 0.5, "20-20": 1.25}
    rows = {"LSTM": factors, "NAG": dict.fromkeys(factors, 1.0), "SGD": dict.fromkeys(factors, 1.5)}
    frames = {
        row: pd.DataFrame(
            Metric(row, 0, "loss", factor * (1 + 0.01 * episode), 100, episode, problem=problem)
            for problem, factor in by_problem.items()
            for episode in range(16)
        )
        for row, by_problem in rows.items()
    }
    artefact, measured = measured_of(frames, tmp_path, "figure6")
    section, *_ = artefact.judge(measured).sections
    assert section.text == ["Of 3 networks the LSTM is ahead on 1 after 99 updates, behind on 2."]
    (table,) = section.tables
    assert dict(zip(table.problem, table.ratio, strict=True)) == pytest.approx(factors)
    assert [figure.path.name for figure in section.figures] == ["figure6_ratios.png", "figure6.png"]
    assert all(figure.path.stat().st_size > 5000 for figure in section.figures)


def test_rows_that_artefacts_share_are_measured_once():
    plans = [composed(PRESET, name, "short") for name in ("figure4_mnist", "figure5", "figure10")]
    for row in ("LSTM", "SGD", "Adam"):
        assert len({tuple(job.key for job in plan.jobs[row]) for plan in plans}) == 1
    assert [len(plans[0].jobs[row]) for row in ("LSTM", "SGD")] == [3, 1]


@pytest.mark.parametrize(
    ("name", "old", "new", "row"),
    [
        ("figure7", "  LSTM, one for all: {", "  one LSTM for all: {", "LSTM, one for all"),
        ("figure7", "  LSTM-sub: {", "  LSTM-part: {", "LSTM-sub"),
        ("figure5", "    NAG: {loss@99: 0.37}", "    Nesterov: {loss@99: 0.37}", "Nesterov"),
        ("figure6", "  learner: LSTM", "  learner: LSMT", "LSMT"),
        ("ablation", "  rivals: [mixture]", "  rivals: [mixtures]", "mixtures"),
    ],
)
def test_a_renamed_row_is_refused_when_the_experiment_is_composed(tmp_path, name, old, new, row):
    source = config_root() / "experiment" / PRESET / f"{name}.yaml"
    copy = tmp_path / "experiment" / PRESET / f"{name}_copy.yaml"
    copy.parent.mkdir(parents=True)
    text = source.read_text()
    assert old in text
    copy.write_text(text.replace(old, new))
    request = ReproduceRequest(PRESET, config_dir=str(tmp_path))
    with pytest.raises(UsageError, match=f"row '{row}'"):
        experiment(request, copy.stem)


def test_a_misspelt_field_of_a_claim_is_refused(tmp_path):
    copy = tmp_path / "experiment" / PRESET / "copy.yaml"
    copy.parent.mkdir(parents=True)
    shutil.copy(config_root() / "experiment" / PRESET / "figure4_mnist.yaml", copy)
    text = copy.read_text()
    for old, new, message in (("who:", "whom:", "whom"), ("judge: alike", "judge: similar", "not 'similar'")):
        copy.write_text(text.replace(old, new))
        with pytest.raises(UsageError, match=message):
            experiment(ReproduceRequest(PRESET, config_dir=str(tmp_path)), "copy")


def test_the_expected_time_of_halving_is_that_of_all_its_rungs():
    asked = ["task=quadratic", "learner=sgd"]
    halved = compose("compare", [*asked, "tune=halving", "tune.grid={learner.rule.lr: null}"])
    whole = sum(count * jobs._seconds(halved, episodes) for count, episodes in ((32, 1), (8, 4), (2, 8)))
    assert jobs._seconds_to_tune(halved) == pytest.approx(whole)
    assert jobs._seconds_to_tune(compose("compare", [*asked, "tune.grid={learner.rule.lr: [1.0]}"])) == 0


def test_a_hand_made_row_needs_no_training_and_says_what_it_cost(tmp_path):
    plan = experiment(ReproduceRequest(PRESET, scale="smoke"), "figure4_quadratics")
    (job,) = plan.jobs["SGD"]
    settings = {job.key: job.settings(tmp_path)}
    (group,) = jobs._groups([job], settings)
    file, told = tmp_path / jobs._file_name(job, settings[job.key]), []

    def tell(seconds, note):
        told.append(seconds)

    measuring._run_group(group, measuring.Bench({job.key: file}), tell)
    assert sum(told) == pytest.approx(group.work + group.scoring)
    frame = MetricsFile(file).read()
    costs = dict(zip(*frame[frame.split == "cost"][["metric", "value"]].to_numpy().T, strict=True))
    assert costs["updates"] == 2
    assert costs["meta_parameters"] == costs["skipped"] == 0
    assert costs["seconds"] > 0
    artefact, measured = measured_of({"SGD": frame}, tmp_path, "figure4_quadratics")
    only = replace(plan, artefact=artefact, jobs={"SGD": [job]})
    assert cost_table([only], [measured])["updates or trials"][0] == 2
    assert not (tmp_path / "meta-train").exists()

    # What is found in the store counts by what it once took, and the table says so.
    measuring._run_group(group, measuring.Bench({job.key: file}), tell)
    again = MetricsFile(file).read()
    pd.testing.assert_frame_equal(again[again.split != "cost"], frame[frame.split != "cost"])
    _, found = measured_of({"SGD": again}, tmp_path, "figure4_quadratics")
    (before,), (after,) = (cost_table([only], [each]).to_dict("records") for each in (measured, found))
    assert "of these reused, CPU-s" not in before
    assert after["tuning, CPU-s"] == pytest.approx(before["tuning, CPU-s"])
    assert after["tuning, CPU-s"] < after["of these reused, CPU-s"]
    assert after["of these reused, CPU-s"] <= after["tuning, CPU-s"] + after["scoring, CPU-s"]


def test_artefacts_that_share_a_training_run_one_after_the_other(tmp_path):
    request = ReproduceRequest(PRESET, scale="smoke")
    rows = [experiment(request, name).jobs for name in ("figure4_mnist", "figure5", "figure6")]
    distinct = {job.key: job for by_row in rows for name in ("LSTM", "SGD") for job in by_row[name]}
    settings = {key: job.settings(tmp_path) for key, job in distinct.items()}
    chains = jobs._chains(jobs._groups(list(distinct.values()), settings), settings)
    assert sorted((chain[0].jobs[0].name, len(chain)) for chain in chains) == [("LSTM", 2), ("SGD", 1), ("SGD", 1)]
    assert [group.work > 0 for chain in chains for group in chain].count(False) == 1


@pytest.mark.slow
def test_smoke_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("L2L_DATA", str(tmp_path / "none"))  # nothing is to be downloaded
    assert run(f"reproduce {PRESET} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    frame = pd.read_csv("here/results.csv")
    assert set(frame.artefact) == set(ARTEFACTS)
    left_out = frame[frame.ours.isna()]
    assert set(left_out.artefact) == {"figure4_mnist", "figure4_quadratics", "figure5", "beyond"}
    assert not left_out.row.str.match("LSTM|SGD|NAG|RMSprop|Adam$").any()
    extra = ("figure4_quadratics_spread", "figure4_mnist_spread", "beyond_ratios", "beyond_move_sizes")
    for name in (*ARTEFACTS, *extra):
        assert Path(f"here/figures/{name}.png").stat().st_size > 5000
    report = Path("here/report.md").read_text()
    assert "This is a smoke run" in report
    assert "what tuning chose" in report
    written = {path: path.stat().st_mtime_ns for path in Path("here/rows").iterdir()}
    assert run(f"reproduce {PRESET} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in Path("here/rows").iterdir()} == written


def test_gradient_descent_moves_along_the_gradient_by_its_rate():
    task = digits_mlp(hidden=[3], examples=5, start=0.3)
    frame = pd.DataFrame(move_size_rows(*entry_of("SGD", Descent(task, Sgd(0.1)), 7)))
    assert set(frame.step) == {1, 4, 7}
    table = frame.pivot_table(index="step", columns="metric", values="value")
    np.testing.assert_allclose(table.along, 1.0, rtol=1e-5)
    np.testing.assert_allclose(table.move, 0.1 * table.gradient, rtol=1e-3)


def test_move_sizes_are_drawn(tmp_path):
    task = digits_mlp(hidden=[3], examples=5, start=0.3)
    rows = {
        name: pd.DataFrame(move_size_rows(*entry_of(name, Descent(task, rule), 7)))
        for name, rule in (("SGD", Sgd(0.1)), ("LSTM", CoordinatewiseLSTM(hidden=3)))
    }
    assert rows["LSTM"][rows["LSTM"].metric == "saturated"].value.between(0, 1).all()
    (section,) = move_size_sections(measured_of(rows, tmp_path, "beyond")[1], ["base"])
    assert sorted(section.tables[0].contender) == ["LSTM", "SGD"]
    assert section.figures[0].path.exists()
