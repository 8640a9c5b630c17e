"""Bosc 2016: what is measured and judged, from made-up rows and from a tiny run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from l2l_cli.commands import reproduce
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import papers
from l2l_cli.config.schema import ReproduceRequest
from l2l_cli.evaluation.score import Scores
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.bosc2016 import figure, moves
from l2l_cli.papers.bosc2016.measures import DRAWS, losses_of, p_text, paired_p, score_rows
from l2l_cli.papers.bosc2016.published import LEARNED, LINEAR_SVM, LOGISTIC, RBF_SVM, TABLE
from l2l_cli.papers.bosc2016.recipe import ARTEFACTS, Bosc2016
from l2l_cli.papers.bosc2016.table import claims, table
from l2l_cli.papers.bosc2016.variants import BY_TEST, HOCHREITER, PLAIN, variants
from l2l_cli.results.frame import Metric
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.runs.loading import Trained
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.test_cli import run

PRESET = "bosc2016"


def rows_of(row: str, means: list[float], sets: int = 60, problem: str = "base") -> pd.DataFrame:
    """Rows of a contender whose seeds have these means; data sets share their difficulty."""
    hard = np.random.default_rng(0).normal(0.0, 0.1, sets)
    noise = np.random.default_rng(len(row)).normal(0.0, 0.005, (len(means), sets))
    values = np.array(means)[:, None] + hard - hard.mean() + noise - noise.mean(1, keepdims=True)
    found = [
        Metric(row, seed, str(episode), 200, problem, metric, float(values[seed, episode]))
        for seed in range(len(means))
        for episode in range(sets)
        for metric in ("held_out", "held_out_accuracy")
    ]
    costs = [
        Metric("run", seed, "all", 0, "meta_train", name, 5.0)
        for seed in range(len(means))
        for name in ("updates", "seconds")
    ]
    return pd.DataFrame([*found, *costs])


ROWS = {
    LEARNED: rows_of(LEARNED, [0.49, 0.50]),
    LOGISTIC: rows_of(LOGISTIC, [0.60]),
    LINEAR_SVM: rows_of(LINEAR_SVM, [0.61]),
    RBF_SVM: rows_of(RBF_SVM, [0.507]),
    "MLP, online Adam": pd.DataFrame(),
}


def test_differences_are_paired():
    losses = losses_of(ROWS)
    assert losses.contenders == [LEARNED, LOGISTIC, LINEAR_SVM, RBF_SVM]
    assert losses.seeds(LEARNED) == pytest.approx([0.49, 0.50])
    duel = losses.duel(LEARNED, RBF_SVM)
    assert duel.interval.value == pytest.approx(-0.012)
    assert duel.interval.low > -0.016  # the difficulty of data sets, sd 0.1, has cancelled
    assert duel.p == 1 / (DRAWS + 1)
    assert duel.won > 0.9


def test_p_of_a_paired_bootstrap_is_near_that_of_a_t_test():
    from scipy.stats import ttest_1samp

    for shift in (0.0, 0.1, 0.2):
        values = np.random.default_rng(3).normal(shift, 1.0, 300)
        assert paired_p(values) == pytest.approx(ttest_1samp(values, 0.0).pvalue, abs=0.02)
    assert p_text(1 / (DRAWS + 1)) == "p < 0.0003"
    assert p_text(0.034) == "p = 0.034"


def test_the_table_judges_claims_and_leaves_out_what_was_not_run(tmp_path):
    found = table(ROWS, tmp_path)
    by_name = {(item.row, item.metric): item for item in found.results}
    assert by_name[LEARNED, "cross_entropy"].paper == TABLE[LEARNED].mean
    assert by_name["MLP, online Adam", "cross_entropy"].verdict == "not run"
    assert by_name[LEARNED, "less RBF SVM"].ours == pytest.approx(-0.012)
    assert by_name[LEARNED, "less RBF SVM"].paper == pytest.approx(0.033)
    # Two of the paper's, then ours: the network moved online, the RBF SVM, the strongest, and the same trained longer.
    assert [claim.holds for claim in claims(losses_of(ROWS))] == [True, False, None, True, None, None]
    assert (tmp_path / "figures" / "table.png").stat().st_size > 5000
    assert table({name: pd.DataFrame() for name in ROWS}, tmp_path).sections == []


def test_variants_are_judged_against_the_learner(tmp_path):
    rows = {PLAIN: rows_of(PLAIN, [0.50]), BY_TEST: rows_of(BY_TEST, [0.53]), HOCHREITER: rows_of(HOCHREITER, [0.52])}
    text = "\n".join(variants(rows, tmp_path).sections[0].text)
    assert "Claim 6, J_all works where J_test is much harder to train by: This holds" in text
    assert "Claim 7, predicting before updating makes no difference to paper 1's order: **This does not hold**" in text


def test_the_late_loss_is_of_a_second_half_that_is_hidden():
    losses = torch.tensor([[1.0], [2.0], [3.0], [5.0]])
    early = Scores(losses, {"accuracy": losses}, None, torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
    late = early._replace(shown=torch.tensor([[1.0], [1.0], [1.0], [0.0]]))
    found = [{item.metric: item.value for item in score_rows("a", 0, "p", scores)} for scores in (early, late)]
    assert found[0]["late"] == 4.0
    assert found[0]["held_out"] == pytest.approx(10 / 3)
    assert "late" not in found[1]


@pytest.fixture
def small() -> Trained:
    settings = compose("reproduce", ["recipe=bosc2016/small", "task.samples=20", "learner.hidden=[5]"])
    settings.evaluation.episodes = 3
    task = build_task(settings)
    return Trained(build_learner(settings, task), task, settings)


def test_moves_add_up(small, tmp_path):
    frame = pd.DataFrame(moves.move_rows(LEARNED, small))
    way = moves.trajectory(small.learner, 3, small.settings.evaluation.seeds[0])
    assert way.shape == (21, 3, 17)
    assert torch.equal(way[0, 1], small.learner.start)
    where = moves.matrices(small.task)
    assert where == {"layer 1": slice(0, 8), "layer 2": slice(12, 16)}
    part = frame[(frame.metric == "update") & (frame.split == "layer 2")]
    wanted = (way[7] - way[6])[:, 12:16].abs().mean()
    assert part[part.step == 7].value.item() == pytest.approx(wanted.item())
    base = frame[frame.split == moves.FROZEN].assign(split="base")
    artefact = moves.moves({LEARNED: pd.concat([frame, base])}, tmp_path)
    assert [str(claim).split(",")[0] for claim in artefact.sections[0].text[1].split("\n* ")] == [
        "* Claim 3",
        "Claim 4",
        "Claim 5",
    ]
    assert {item.metric for item in artefact.results} == {"static_share", "update_ratio", "rms_move"}


def test_the_figure_scores_each_theta_on_the_whole_test_part(small, tmp_path):
    frame = pd.DataFrame(figure.figure_rows(figure.SMALL, small))
    assert isinstance(small.learner, WeightsInCell)
    mean = frame[(frame.metric == "loss") & (frame.episode == "mean")]
    assert mean.step.tolist() == list(range(21))
    assert len(frame[frame.metric == "theta"]) == 21 * 12
    artefact = figure.figure({figure.SMALL: frame}, tmp_path)
    assert [item.metric for item in artefact.results] == ["loss@0", "loss@10", "loss@20"]
    assert (tmp_path / "figures" / "figure.png").stat().st_size > 5000


def test_every_artefact_has_its_experiment_and_departures_are_listed():
    assert set(papers(None)[PRESET]) == set(ARTEFACTS)
    assert "Deviation" not in " ".join(Bosc2016().deviations())
    assert len(Bosc2016().deviations()) >= 6


@pytest.mark.slow
def test_every_row_composes():
    jobs = {}
    for name in ARTEFACTS:
        plan = reproduce._plan(ReproduceRequest(PRESET, scale="smoke"), name)
        jobs |= {job.key: job for row in plan.jobs.values() for job in row}
    for job in jobs.values():
        settings = job.settings(Path())
        assert isinstance(build_task(settings), Halfplanes), job.row


@pytest.mark.slow
def test_smoke_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(f"reproduce {PRESET} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    frame = pd.read_csv("here/results.csv")
    assert set(frame.artefact) == set(ARTEFACTS)
    assert not frame.ours.isna().any()
    for name in ("table", "figure", "moves", "curves", "beyond"):
        assert Path(f"here/figures/{name}.png").stat().st_size > 5000
