"""Andrychowicz 2016: what artefacts say of made-up runs, what is measured of real ones, all of it at smoke scale."""

from __future__ import annotations

import queue
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from l2l_cli.commands import reproduce
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import papers
from l2l_cli.config.schema import Evaluation, ReproduceRequest
from l2l_cli.core.errors import UsageError
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.papers import jobs, losses
from l2l_cli.papers.andrychowicz2016 import figure10, tables
from l2l_cli.papers.andrychowicz2016.claims import alike, beats, fails, one_for_all, sane
from l2l_cli.papers.andrychowicz2016.ends import end_rows, end_sections
from l2l_cli.papers.andrychowicz2016.measures import Entry, losses_of
from l2l_cli.papers.andrychowicz2016.published import FIGURE4_MNIST, FIGURE4_QUADRATICS, FIGURE5, MARKS, our_step
from l2l_cli.papers.andrychowicz2016.recipe import ARTEFACTS, Andrychowicz2016
from l2l_cli.papers.andrychowicz2016.tables import spread, winners
from l2l_cli.papers.shared import chosen, edge_warning
from l2l_cli.results.frame import Metric
from l2l_cli.results.report import Report
from l2l_cli.runs.loading import untrained
from l2l_cli.tasks.quadratic import Quadratic
from tests.image_tasks import digits_mlp
from tests.test_cli import run

PRESET = "andrychowicz2016"
EPISODES = 12


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    for module, name in ((losses, "paired_bootstrap"), (tables, "bootstrap_interval")):
        monkeypatch.setattr(module, name, partial(getattr(module, name), draws=200))


def made_up(row, problems, factor, seeds=1, learned=False, last=99):
    """A contender whose loss is ``factor`` / (updates + 1) times what is particular to an episode."""
    easy = np.linspace(0.5, 1.5, EPISODES)
    rows = []
    for seed in range(seeds):
        for problem in problems:
            for updates in [mark for mark in MARKS if mark <= last]:
                loss = factor * (1 + 0.1 * seed) / (updates + 1)
                step = our_step(updates)
                rows += [Metric(row, seed, str(e), step, problem, "loss", loss * easy[e]) for e in range(EPISODES)]
                rows += [Metric(row, seed, name, step, problem, "loss", loss) for name in ("mean", "median")]
            if not learned:
                for name, value in (("trials", 8.0), ("learner.rule.lr", 0.1), ("edge learner.rule.lr", float(seed))):
                    rows.append(Metric(row, seed, "tuning", 0, problem, name, value))
        for name, value in (("updates", 8), ("seconds", 1), ("skipped", 0), ("meta_parameters", 5061 * learned)):
            rows.append(Metric("run", seed, "all", 0, "meta_train", name, value))
    return pd.DataFrame(rows)


def contenders(*problems, lstm=1.0, last=99):
    rivals = {"SGD": 4.0, "NAG": 3.0, "RMSprop": 3.2, "Adam": 2.9}
    rows = {"LSTM": made_up("LSTM", problems, lstm, seeds=2, learned=True, last=last)}
    return rows | {name: made_up(name, problems, factor, last=last) for name, factor in rivals.items()}


def test_what_was_read_off_the_figures_is_whole_and_falls():
    tables = {"quadratics": FIGURE4_QUADRATICS, **FIGURE4_MNIST, **FIGURE5}
    for problem, curves in tables.items():
        assert set(curves) == {"LSTM", "SGD", "NAG", "RMSprop", "Adam"}, problem
        for curve in curves.values():
            values = list(curve.values())
            assert list(curve) == sorted(curve)
            assert values == sorted(values, reverse=True)
            assert set(curve) <= set(MARKS)
            assert all(0.01 < value < 20 for value in values)
    assert our_step(99) == 100  # the loss after 99 updates is the hundredth answer


def test_who_wins_is_a_paired_matter():
    losses = losses_of(contenders("base"))
    assert losses.learned == ["LSTM"]
    table = winners(losses, "base", [99])
    assert list(table.winner) == ["LSTM"]
    assert list(table["runner-up"]) == ["Adam"]
    assert table.loss[0] == pytest.approx(1.05 / 100)  # the mean over seeds
    difference, low, high = table.iloc[0, -1].replace("[", "").replace("]", "").replace(",", "").split()
    assert float(difference) == pytest.approx(0.0105 - 0.029, rel=0.02)
    # Pairs share what is particular to an episode, so the lead is sure though the spread of losses is wide.
    assert float(low) < float(difference) < float(high) < 0


def test_claims_hold_or_do_not():
    ahead, behind = (losses_of(contenders("base", "ReLU", lstm=factor)) for factor in (1.0, 3.0))
    assert beats("x", ahead, "base", [5, 99]).holds
    assert "lowest mean loss at 2 of 2" in str(beats("x", ahead, "base", [5, 99]))
    lost = beats("x", behind, "base", [5, 99])
    assert "**This does not hold**" in str(lost)
    assert "behind at 5 (to Adam), 99 (to Adam)" in str(lost)
    assert beats("x", ahead, "CIFAR-2", [99]).holds is None
    assert alike("x", ahead, "base", 99, ("Adam", "RMSprop", "NAG")).holds
    assert not alike("x", ahead, "base", 99, ("LSTM", "SGD")).holds
    assert not fails("x", ahead, "ReLU", 99, start=2.3).holds
    assert "learns, and remains behind" in str(fails("x", behind, "ReLU", 99, start=2.3))
    assert fails("x", ahead, "ReLU", 99, start=0.01).holds


def test_one_rule_for_all_is_held_to_each_problems_best():
    rows = contenders("base", "ReLU")
    found = one_for_all("all", losses_of(rows), "LSTM", ["base", "ReLU", "never run"], 99)
    assert found.holds
    assert "base 0.36, ReLU 0.36" in found.evidence  # 1.05, the mean of two seeds, to Adam's 2.9
    worse = pd.concat([made_up("LSTM", ["base"], 1.0, learned=True), made_up("LSTM", ["ReLU"], 3.0, learned=True)])
    assert one_for_all("all", losses_of(rows | {"LSTM": worse}), "LSTM", ["base", "ReLU"], 99).holds is False
    assert one_for_all("all", losses_of(rows), "LSTM", ["never run"], 99).holds is None


def test_a_rule_is_sane_if_it_ends_no_higher_than_it_was():
    rows = contenders("long", last=999)
    assert sane("sane", losses_of(rows), "LSTM", ["long"], 999, 99).holds
    assert sane("sane", losses_of(rows), "LSTM", ["long"], 1, 99).holds is False
    assert sane("sane", losses_of(rows), "LSTM", ["short"], 999, 99).holds is None


def test_a_loss_that_is_not_finite_loses_and_breaks_nothing(tmp_path):
    rows = contenders("base")
    rows["LSTM"].loc[rows["LSTM"].episode == "3", "value"] = np.nan
    losses = losses_of(rows)
    assert winners(losses, "base", [99]).winner[0] == "Adam"
    assert np.isinf(spread(losses, "base", 99)["largest"][0])
    results = ARTEFACTS["figure4_quadratics"](rows, tmp_path).results
    lstm = next(item for item in results if (item.row, item.metric) == ("LSTM", "loss@99"))
    assert "2 of 2 seeds not finite" in lstm.note
    assert lstm.verdict == "worse"


def test_tunings_edges_are_said():
    rows = {"SGD": made_up("SGD", ["base", "ReLU"], 1.0), "Adam": made_up("Adam", ["base"], 1.0)}
    rows["Adam"].loc[rows["Adam"].metric.str.startswith("edge"), "value"] = 1.0
    table = chosen(rows | {"NAG": pd.DataFrame()})
    assert list(table.contender) == ["SGD", "SGD", "Adam"]
    assert table.trials.sum() == 24
    assert table.chosen[0] == "lr=0.1"
    assert "1 of 3 chosen settings" in edge_warning(table)
    assert "Adam on base" in edge_warning(table)


@pytest.mark.parametrize("name", sorted(set(ARTEFACTS) - {"figure10"}))
def test_artefacts_judge_and_draw_made_up_runs(name, tmp_path):
    problems = {
        "figure4_quadratics": ["base"],
        "figure4_mnist": ["base", "200 steps"],
        "figure5": ["40 units", "2 layers", "ReLU", "40 units, θ₀ 0.1", "2 layers, θ₀ 0.1"],
        "figure6": ["5", "20", "5-5", "20-20"],
        "figure7": ["CIFAR-10", "CIFAR-5", "CIFAR-2"],
        "beyond": ["base", "ReLU"],
    }[name]
    rows = contenders(*problems, last=199 if name == "figure4_mnist" else 99) | {"L-BFGS": pd.DataFrame()}
    if name == "figure4_quadratics":
        rows["CG"] = made_up("CG", problems, 0.02)
    artefact = ARTEFACTS[name](rows, tmp_path)
    verdicts = {(item.row, item.metric): item.verdict for item in artefact.results}
    assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000
    assert {verdict for (row, _), verdict in verdicts.items() if row.startswith("L-BFGS")} == {"not run"}
    if name == "figure4_quadratics":
        assert verdicts["LSTM", "loss@99"] == "better"
        limit = next(item.limit for item in artefact.results if item.metric == "loss@99")
        assert limit == pytest.approx(0.0002)
    if name == "figure5":
        assert verdicts["LSTM, ReLU", "loss@99"] == "better"
        assert verdicts["LSTM, 2 layers, θ₀ 0.1", "loss@99"] == "better"
    Report("title", [], artefact.sections).write(tmp_path)
    empty = ARTEFACTS[name](dict.fromkeys(rows, pd.DataFrame()), tmp_path)
    assert {item.verdict for item in empty.results} == {"not run"}


def test_sgd_proposes_what_its_formula_says(tmp_path):
    task = Quadratic(dimension=4)
    entry = Entry("base", Descent(task, Sgd(lr=0.5)), 6, None, Evaluation())
    frame = pd.DataFrame(figure10.update_rows("SGD", entry, 0))
    pairs = frame.pivot_table(index=["episode", "split", "step"], columns="metric", values="value")
    assert len(pairs) == 2 * (6 + figure10.PROBES)
    np.testing.assert_allclose(pairs.move, -0.5 * pairs.gradient, rtol=1e-5, atol=1e-9)
    artefact = figure10.figure10({"SGD": frame, "LSTM": pd.DataFrame()}, tmp_path)
    assert "SGD" in artefact.sections[0].text[-1]
    assert (tmp_path / "figures" / "figure10.png").stat().st_size > 5000


def test_a_hand_made_row_is_tuned_on_every_problem():
    overrides = ["+experiment/andrychowicz2016/problems=quadratics", "learner=sgd", "tune.budget=3", "tune.episodes=4"]
    settings = compose("meta-train", [*overrides, "evaluation.episodes=5", "evaluation.seeds=[0,1]"])
    settings.evaluation.problems = {"base": {"horizon": 7}, "small": {"dimension": 3, "horizon": 4}}
    told = []
    frame = pd.DataFrame(Andrychowicz2016().measure("SGD", untrained(settings, told.append)))
    assert len(told) == 6
    losses = losses_of({"SGD": frame})
    assert losses.problems == ["base", "small"]
    assert losses.marks("base") == [1, 5, 6]
    assert losses.at["SGD", "small", 3].shape == (1, 10)
    torch.manual_seed(0)
    again = pd.DataFrame(Andrychowicz2016().measure("SGD", untrained(settings, told.append)))
    pd.testing.assert_frame_equal(frame, again)
    settings.evaluation.problems = {"base": {"dimensions": 3}}
    with pytest.raises(UsageError, match="did you mean 'dimension'"):
        Andrychowicz2016().measure("SGD", untrained(settings, told.append))


def test_every_artefact_has_its_file():
    assert set(papers()[PRESET]) == set(ARTEFACTS)


def test_a_hand_made_row_needs_no_training_and_says_what_it_cost(tmp_path):
    request = ReproduceRequest(PRESET, scale="smoke")
    plan = reproduce._plan(request, "figure4_quadratics")
    (job,) = plan.jobs["SGD"]
    settings = {job.key: job.settings(tmp_path)}
    (group,) = jobs._groups([job], settings)
    files, news = {job.key: tmp_path / jobs._file_name(job, settings[job.key])}, queue.Queue()
    jobs._run_group(group, tmp_path, files, news)
    assert sum(news.get()[0] for _ in range(news.qsize())) == pytest.approx(group.work)
    frame = pd.read_csv(files[job.key], dtype={"episode": str})
    costs = dict(zip(*frame[frame.contender == "run"][["metric", "value"]].to_numpy().T, strict=True))
    assert costs["updates"] == 2
    assert costs["meta_parameters"] == costs["skipped"] == 0
    assert costs["seconds"] > 0
    assert jobs.cost_table({"SGD": frame, "LSTM": pd.DataFrame()})["updates or trials"][0] == 2
    assert not (tmp_path / "meta-train").exists()


def test_artefacts_that_share_a_training_run_one_after_the_other(tmp_path):
    request = ReproduceRequest(PRESET, scale="smoke")
    rows = [reproduce._plan(request, name).jobs for name in ("figure4_mnist", "figure5", "figure6")]
    distinct = {job.key: job for by_row in rows for name in ("LSTM", "SGD") for job in by_row[name]}
    settings = {key: job.settings(tmp_path) for key, job in distinct.items()}
    chains = jobs._chains(jobs._groups(list(distinct.values()), settings), settings)
    assert sorted((chain[0].jobs[0].row, len(chain)) for chain in chains) == [("LSTM", 2), ("SGD", 1), ("SGD", 1)]
    assert [group.work > 0 for chain in chains for group in chain].count(False) == 1


@pytest.mark.slow
def test_smoke_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("L2L_DATA", str(tmp_path / "none"))  # nothing is to be downloaded
    assert run(f"reproduce {PRESET} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    frame = pd.read_csv("here/results.csv")
    assert set(frame.artefact) == set(ARTEFACTS) - {"figure10"}
    left_out = frame[frame.ours.isna()]
    assert set(left_out.artefact) == {"figure4_mnist"}
    assert not left_out.row.str.match("LSTM|SGD|NAG|RMSprop|Adam$").any()
    for name in (*ARTEFACTS, "figure4_quadratics_spread", "figure4_mnist_spread", "beyond_ratios"):
        assert Path(f"here/figures/{name}.png").stat().st_size > 5000
    report = Path("here/report.md").read_text()
    assert "This is a smoke run" in report
    assert "what tuning chose" in report
    written = {path: path.stat().st_mtime_ns for path in Path("here/rows").iterdir()}
    assert run(f"reproduce {PRESET} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in Path("here/rows").iterdir()} == written


def test_gradient_descent_moves_along_the_gradient_by_its_rate():
    task = digits_mlp(hidden=[3], examples=5, start=0.3)
    entry = Entry("base", Descent(task, Sgd(0.1)), 7, None, Evaluation(seeds=[1]))
    found = pd.DataFrame(list(end_rows("SGD", entry, 0)))
    assert set(found.step) == {1, 4, 7}
    table = found.pivot_table(index="step", columns="metric", values="value")
    np.testing.assert_allclose(table.along, 1.0, rtol=1e-5)
    np.testing.assert_allclose(table.move, 0.1 * table.gradient, rtol=1e-3)


def test_where_a_rule_ends_is_drawn(tmp_path):
    task = digits_mlp(hidden=[3], examples=5, start=0.3)
    rows = {}
    for name, rule in (("SGD", Sgd(0.1)), ("LSTM", CoordinatewiseLSTM(hidden=3))):
        entry = Entry("base", Descent(task, rule), 7, None, Evaluation(seeds=[1]))
        rows[name] = pd.DataFrame(list(end_rows(name, entry, 0)))
    assert rows["LSTM"][rows["LSTM"].metric == "saturated"].value.between(0, 1).all()
    (section,) = end_sections(rows, ["base"], tmp_path)
    assert list(section.tables[0].contender) == ["SGD", "LSTM"]
    assert section.figures[0].path.exists()
