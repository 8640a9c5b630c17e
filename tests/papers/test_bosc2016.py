"""Bosc 2016: what is measured and judged, from made-up rows and from a tiny run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from l2l_cli.config.compose import compose
from l2l_cli.config.schema import Row
from l2l_cli.evaluation.score import Scores
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.base import Subject
from l2l_cli.papers.bosc2016 import recipe
from l2l_cli.results.metrics import Metric
from l2l_cli.results.plot import LIMIT_STYLE
from l2l_cli.results.store import Store
from l2l_cli.runs.building import build_learner, build_task
from tests.papers.made_up import costs, frame_of, measured_of

PRESET = "bosc2016"
LEARNED, RBF = "weights in cell", "RBF SVM"


def rows_of(row: str, means: list[float], sets: int = 60, problem: str = "") -> list[Metric]:
    """Rows of a contender whose seeds have these means; data sets share their difficulty."""
    hard = np.random.default_rng(0).normal(0.0, 0.1, sets)
    noise = np.random.default_rng(len(row)).normal(0.0, 0.005, (len(means), sets))
    values = np.array(means)[:, None] + hard - hard.mean() + noise - noise.mean(1, keepdims=True)
    return [
        Metric(row, seed, metric, float(values[seed, episode]), 200, episode, problem=problem)
        for seed in range(len(means))
        for episode in range(sets)
        for metric in ("held_out", "held_out_accuracy")
    ] + costs(row, len(means))


def frames_of(means: dict[str, list[float]]) -> dict[str, pd.DataFrame]:
    return {row: frame_of(rows_of(row, values)) for row, values in means.items()}


MEANS = {LEARNED: [0.49, 0.494, 0.496, 0.50], "logistic regression": [0.60], "linear SVM": [0.61], RBF: [0.507]}


def test_differences_are_paired(tmp_path):
    _, measured = measured_of(PRESET, "table", frames_of(MEANS), tmp_path)
    standings = measured.standings("held_out")
    assert standings.contenders == list(MEANS)
    assert standings.seeds(LEARNED, "", 200) == pytest.approx(MEANS[LEARNED])
    difference = standings.difference(LEARNED, RBF, "", 200)
    assert difference.interval.value == pytest.approx(-0.012)
    assert -0.022 < difference.interval.low < difference.interval.high < 0  # the data sets' difficulty has cancelled
    assert difference.p == pytest.approx(2 / 2**4)
    assert difference.won > 0.9


def test_the_table_judges_claims_and_leaves_out_what_was_not_run(tmp_path):
    artefact, measured = measured_of(PRESET, "table", frames_of(MEANS), tmp_path)
    findings = artefact.judge(measured)
    by_name = {(item.row, item.metric): item for item in findings.results}
    assert by_name[LEARNED, "cross_entropy"].paper == 0.540
    assert by_name["MLP, online Adam", "cross_entropy"].verdict == "not run"
    assert by_name[LEARNED, "less RBF SVM"].ours == pytest.approx(-0.012)
    assert by_name[LEARNED, "less RBF SVM"].paper == pytest.approx(0.033)
    assert by_name[LEARNED, "less RBF SVM"].verdict == ""  # both of its parts are judged
    assert by_name[LEARNED, "sd"].about == "this recipe"
    # Two of the paper's, then ours: the network moved online, the RBF SVM, the strongest, the same trained longer, and
    # how far from the best known.
    assert [claim.holds for claim in findings.sections[0].claims] == [True, False, None, True, None, None, None]
    assert (tmp_path / "figures" / "table.png").stat().st_size > 5000
    assert artefact.judge(measured_of(PRESET, "table", {}, tmp_path)[1]).sections == []


@pytest.mark.parametrize(("best", "near"), [(0.49, True), (0.46, False)])
def test_the_best_known_is_no_limit_and_the_learner_is_near_it_or_not(best, near, tmp_path):
    means = {**MEANS, "prior-fitted network": [best]}
    artefact, measured = measured_of(PRESET, "table", frames_of(means), tmp_path)
    assert measured.names("limit") == []
    assert measured.names("best known") == ["prior-fitted network"]
    assert measured.styles()["prior-fitted network"] != LIMIT_STYLE
    findings = artefact.judge(measured)
    claim = findings.sections[0].claims[-1]
    assert claim.holds == near
    assert "best known, not a limit" in claim.evidence
    by_name = {(item.row, item.metric): item for item in findings.results}
    assert by_name[LEARNED, "less prior-fitted network"].ours == pytest.approx(0.495 - best)
    assert {item.limit for item in findings.results} == {None}


def test_variants_are_judged_against_the_learner(tmp_path):
    frames = frames_of({"J_all": [0.50], "J_test": [0.53], "Hochreiter's order": [0.52]})  # one φ each
    artefact, measured = measured_of(PRESET, "variants", frames, tmp_path)
    claims = artefact.judge(measured).sections[0].claims
    assert [claim.holds for claim in claims] == [True, False]


def test_samples_and_noise_and_dimension_are_fields(tmp_path):
    frames = {
        LEARNED: frame_of(
            [*rows_of(LEARNED, [0.5], problem="noise 0.1"), *rows_of(LEARNED, [0.6], problem="noise 1.2")]
        ),
        "RBF SVM, d = 8": frame_of(rows_of("RBF SVM, d = 8", [0.58])),
    }
    artefact, measured = measured_of(PRESET, "beyond", frames, tmp_path)
    noise, dimension = artefact.judge(measured).sections[0].tables
    assert list(noise.columns) == ["contender", "noise 0.1", "noise 1.2"]
    assert dimension.to_dict("records") == [{"contender": "RBF SVM", "dimension 8": pytest.approx(0.58)}]


def test_the_late_loss_is_of_a_second_half_that_is_hidden(small, monkeypatch):
    losses = torch.tensor([[1.0], [2.0], [3.0], [5.0]])
    early = Scores(losses, {"accuracy": losses}, None, torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
    late = early._replace(visible=torch.tensor([[1.0], [1.0], [1.0], [0.0]]))
    (entry,) = small.entries()
    entry = entry._replace(problem=entry.problem._replace(steps=4))
    measured = []
    for scores in (early, late):
        monkeypatch.setattr("l2l_cli.evaluation.contest.score_together", lambda *args, scores=scores: [scores])
        measured.append({item.metric: item.value for item in recipe.loss_rows(small, entry)})
    assert measured[0]["late"] == 4.0
    assert measured[0]["held_out"] == pytest.approx(10 / 3)
    assert "late" not in measured[1]


@pytest.fixture
def small() -> Subject:
    settings = compose("reproduce", ["recipe=bosc2016/small", "task.samples=20", "learner.hidden=[5]"])
    settings.evaluation.episodes = 3
    task = build_task(settings)
    return Subject("2–4–1", Row(role="learned"), build_learner(settings, task), task, settings)


def test_moves_add_up(small, tmp_path):
    rows = [row._replace(contender=LEARNED) for row in [*recipe.move_rows(small), *_losses(small)]]
    thetas = recipe.trajectory(small.learner, 3, small.settings.evaluation.seeds[0])
    assert thetas.shape == (21, 3, 17)
    assert torch.equal(thetas[0, 1], small.learner.start)
    assert recipe.matrices(small.task) == {"layer 1": slice(0, 8), "layer 2": slice(12, 16)}
    frame = frame_of(rows)
    second = frame[(frame.metric == "update") & (frame.part == "layer 2")]
    wanted = (thetas[7] - thetas[6])[:, 12:16].abs().mean()
    assert second[second.step == 7].value.item() == pytest.approx(wanted.item())
    artefact, measured = measured_of(PRESET, "moves", {LEARNED: frame}, tmp_path)
    findings = artefact.judge(measured)
    assert [claim.text.split(",")[0] for claim in findings.sections[0].claims] == ["Claim 3", "Claim 4", "Claim 5"]
    assert {item.metric for item in findings.results} == {"static_share", "update_ratio", "rms_move"}


def test_the_frozen_rule_of_each_seed_is_scored_by_itself(small, tmp_path):
    """Two trainings of one row differ in φ alone, and what is kept of one is not taken for the other's."""
    found = []
    for factor in (1.0, 0.5):
        with torch.no_grad():
            for value in small.learner.parameters():
                value.mul_(factor)
        rows = recipe.move_rows(replace(small, store=Store(tmp_path)))
        found.append([row.value for row in rows if row.variant == recipe.FROZEN and row.metric == "loss"])
    assert found[0] != found[1]


def _losses(subject: Subject) -> list[Metric]:
    return [row for entry in subject.entries() for row in subject.scores(entry)]


def test_the_figure_scores_each_theta_on_the_whole_test_part(small, tmp_path):
    frame = frame_of(list(recipe.figure_rows(small)))
    assert isinstance(small.learner, WeightsInCell)
    mean = frame[(frame.metric == "test_loss") & (frame.statistic == "mean")]
    assert mean.step.tolist() == list(range(21))
    assert len(frame[frame.metric == "theta"]) == 21 * 12
    artefact, measured = measured_of(PRESET, "figure", {small.name: frame}, tmp_path)
    assert [item.metric for item in artefact.judge(measured).results] == ["loss@0", "loss@10", "loss@20"]
    assert (tmp_path / "figures" / "figure.png").stat().st_size > 5000
