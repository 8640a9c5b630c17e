"""Hochreiter 2001: measurements against closed forms, and what the tables say of made-up runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from l2l_cli.config.compose import compose
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.schema import Row
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.learners.logistic_network import Recurrent
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.papers.base import Findings, Subject
from l2l_cli.papers.experiments import experiment
from l2l_cli.papers.hochreiter2001.judges import plateau
from l2l_cli.papers.hochreiter2001.recipe import BAYES, VOLUME_SEQUENCES, Hochreiter2001, log_volume, sequence_rows
from l2l_cli.results.metrics import Metric
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.tasks.functions import Booleans
from tests.papers.made_up import costs, frame_of, measured_of

PRESET = "hochreiter2001"

SEEDS = 8

ARTEFACTS = ("table1", "table2", "figure2", "volume", "drift", "budget")


def test_a_recurrent_layers_volume_is_its_closed_form(double):
    """∂h_{t+1}/∂h_t = diag(h(1 − h)) W, so log|det| = Σ log h(1 − h) + log|det W|."""
    learner = Recurrent(Booleans(), hidden=4, spread=1.5)
    found = log_volume(learner, 0, steps=3)
    assert found is not None
    batches = learner.task.sample(VOLUME_SEQUENCES, 0, Phase.TEST).batches(0, 3)
    state = learner.init(VOLUME_SEQUENCES, generator(0))
    for step in range(3):
        state, _ = learner.step(state, batches.at(step))
        if step > 0:
            local = (state.hidden * (1 - state.hidden)).log().sum(1)
            expected = (local + torch.linalg.slogdet(learner.first[:, -4:]).logabsdet) / 4
            torch.testing.assert_close(found[step - 1], expected.detach())


def test_the_carousel_keeps_volume_and_a_forget_gate_does_not(double):
    old = log_volume(LSTM1997(Booleans(), 2, 3, truncated=False, spread=1.0), 0, cells=True, steps=5)
    new = log_volume(LSTM(Booleans(), hidden=3), 0, cells=True, steps=5)
    assert old is not None
    assert new is not None
    torch.testing.assert_close(old, torch.zeros_like(old))
    assert (new < 0).all()
    assert log_volume(Recurrent(Booleans(), hidden=3), 0, cells=True) is None


def test_a_plateau_is_where_the_error_stays_low():
    curve = np.array([0.5, 0.1, 0.3, 0.05, 0.02])
    assert plateau(curve, 0.2) == (4.0, 0.05)
    assert plateau(curve, 0.01) == (6.0, 0.02)
    assert plateau(np.array([0.1, np.nan]), 0.2)[0] == 3.0


def made_up(row: str, test: float, limit: float = 0.0148, volumes: tuple[float, float] = (-1.0, -0.5)) -> pd.DataFrame:
    """Return a row's measurements, all seeds alike."""
    rows = []
    for seed in range(SEEDS):
        for name, error in ((row, test), (BAYES, limit)):
            rows += [Metric(name, seed, "mse", error, statistic="mean", split=split) for split in ("train", "test")]
            rows += [Metric(name, seed, "error", error, step, statistic="mean") for step in (1, 2, 3)]
            rows.append(Metric(name, seed, "mse", 2 * error, statistic="mean", problem="switching"))
            rows.append(Metric(name, seed, "error", 2 * error, 1, statistic="mean", problem="switching"))
        for variant, value in zip(("before", "after"), volumes, strict=True):
            rows += [Metric(row, seed, "log_volume", value, step, statistic="mean", variant=variant) for step in (2, 3)]
    return frame_of([*rows, *costs(row, SEEDS)])


def judged(name: str, frames: dict[str, pd.DataFrame], folder: Path) -> Findings:
    """Judge an artefact by the rows and options of its file."""
    artefact, measured = measured_of(PRESET, name, frames, folder)
    assert set(frames) <= set(measured.rows)
    return artefact.judge(measured)


def test_table1_says_what_holds_and_what_contradicts_the_paper(tmp_path):
    errors = {
        "B14, 64 examples": 0.015,
        "B14, 64 examples, to the letter": 0.037,
        "Elman, batch, rate 0.01": 0.2,
        "BPTT(2), online, rate 0.01": 0.05,
    }
    findings = judged("table1", {row: made_up(row, error) for row, error in errors.items()}, tmp_path)
    elman, bptt2, rtrl, lstm, memory = findings.sections[0].claims
    best = "`B14, 64 examples, to the letter`"
    assert str(lstm) == f"The LSTM 6/6(1) learns: holds (8 of 8 seeds succeed in its best setting, {best})."
    assert (elman.holds, bptt2.holds, rtrl.holds, memory.holds) == (True, False, None, None)
    assert "RTRL does not learn: not run at this scale" in str(rtrl)
    verdicts = {(item.row, item.metric): item.verdict for item in findings.results}
    assert verdicts["B14, 64 examples, to the letter", "test_mse"] == ""  # Table 2 prints it, too
    assert verdicts["B14, 64 examples, to the letter", "success_share"] == "reproduced"
    assert verdicts["BPTT(2), online, rate 0.01", "success_share"] == "differs"
    assert verdicts["RTRL, online, rate 0.1", "test_mse"] == "not run"
    limits = {(item.row, item.metric): item.limit for item in findings.results}
    assert limits["BPTT(2), online, rate 0.01", "test_mse"] == pytest.approx(0.0148)
    assert limits["BPTT(2), online, rate 0.01", "success_share"] is None


def test_more_training_sequences_tell_learning_from_memorising(tmp_path):
    errors = {"BPTT(2), online, rate 0.01": 0.05, "BPTT(2), online, rate 0.01, 1024 sequences": 0.025}
    findings = judged("table1", {row: made_up(row, error) for row, error in errors.items()}, tmp_path)
    assert findings.sections[0].claims[-1].holds


def test_table2_explains_the_misprint_by_the_literal_rows(tmp_path):
    errors = {
        "semi-linear, 64 examples": 0.0024,
        "semi-linear, 64 examples, to the letter": 0.0066,
        "semi-linear, 1000 examples, to the letter": 0.0023,
    }
    findings = judged("table2", {row: made_up(row, error, limit=0.00206) for row, error in errors.items()}, tmp_path)
    letter, modern, reachable, reading, _ = findings.sections[0].claims
    assert (letter.holds, modern.holds, reachable.holds, reading.holds) == (True, None, False, True)
    assert "0.0008 is printed, the limit is 0.00206" in reachable.evidence
    by_name = {(item.row, item.metric): item for item in findings.results}
    assert by_name["semi-linear, 64 examples", "test_mse"].verdict == "differs"
    assert "median" in by_name["semi-linear, 1000 examples, to the letter", "test_mse"].note
    assert "median" not in by_name["semi-linear, 64 examples", "test_mse"].note
    assert by_name["semi-linear, 64 examples", "subordinate_steps"].limit == 1.0
    assert (
        by_name["B14, 64 examples", "test_mse"].paper
        == by_name["B14, 64 examples, to the letter", "test_mse"].paper
        == 0.038
    )
    for name in ("table2", "table2_curves"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000


def test_volume_is_compared_with_success(tmp_path):
    rows = {
        "B14, 64 examples, to the letter": made_up("B14, 64 examples, to the letter", 0.03, volumes=(-6.0, -1.0)),
        "Elman, batch, rate 0.01": made_up("Elman, batch, rate 0.01", 0.2, volumes=(-3.0, -4.0)),
        "RTRL, online, rate 0.1": made_up("RTRL, online, rate 0.1", 0.1, volumes=(-3.0, -2.0)),
    }
    findings = judged("volume", rows, tmp_path)
    (claim,) = findings.sections[0].claims
    assert claim.holds
    assert "with the test error is -1.00" in claim.evidence
    assert {item.row: item.ours for item in findings.results} == {
        "B14, 64 examples, to the letter": -1.0,
        "Elman, batch, rate 0.01": -4.0,
        "RTRL, online, rate 0.1": -2.0,
    }
    assert (tmp_path / "figures" / "volume.png").stat().st_size > 5000


def test_drift_is_held_against_the_limit_of_the_same_sequences(tmp_path):
    errors = {"B14, changing functions": 0.016, "B14, 64 examples": 0.03}
    findings = judged("drift", {row: made_up(row, error) for row, error in errors.items()}, tmp_path)
    assert findings.sections[0].claims[0].holds
    assert [item.ratio_to_limit for item in findings.results] == pytest.approx([0.03 / 0.0148, 0.016 / 0.0148])


@pytest.mark.parametrize(
    ("artefact", "row", "family"),
    [
        ("table2", "quadratic, 1000 examples, least squares", "quadratic, 1000 examples"),
        ("drift", "B14, changing functions, least squares", "B14, changing functions, least squares"),
    ],
)
@pytest.mark.parametrize(("ratio", "holds"), [(1.01, True), (1.2, False)])
def test_least_squares_is_held_against_the_limit(artefact, row, family, ratio, holds, tmp_path):
    frames = {one: made_up(one, ratio * 6e-5, limit=6e-5) for one in {row, family}}
    findings = judged(artefact, frames, tmp_path)
    claim = findings.sections[0].claims[-1]
    assert claim.holds is holds
    assert f"`{row}` {ratio:.3f}" in claim.evidence
    counted = [item for item in findings.results if item.row == row and item.counts and item.paper is not None]
    assert not counted  # the printed number is that of an LSTM


def test_larger_budgets_share_the_limit_of_the_quadratics(tmp_path):
    base, larger = "quadratic, 1000 examples", "quadratic, 64 cells, 20 000 updates"
    rows = {base: made_up(base, 2e-4, limit=6e-5), larger: made_up(larger, 3e-4, limit=1.0)}
    findings = judged("budget", rows, tmp_path)
    assert findings.sections[0].claims[0].holds is False
    assert [item.limit for item in findings.results] == pytest.approx([6e-5] * 4)


def test_figure2_runs_functions_in_a_row_with_resets_and_without(tmp_path):
    row, task = "B16, 256 examples", Booleans(length=8)
    learner = LSTM(task, hidden=3)
    rows = [*sequence_rows(row, learner, task, 0), *sequence_rows(BAYES, Bayes(task), task, 0)]
    frame = frame_of(rows)
    assert set(frame[frame.contender == BAYES].variant) == {"reset"}
    mean = frame[(frame.contender == row) & (frame.statistic == "mean")]
    reset, carried = (mean[mean.variant == variant].value.to_numpy() for variant in ("reset", "no reset"))
    assert len(reset) == len(carried) == 40
    assert (reset[:8] == carried[:8]).all()
    assert (reset[8:] != carried[8:]).any()
    findings = judged("figure2", {row: frame}, tmp_path)
    kept = {item.row: item.ours for item in findings.results}
    assert list(kept) == [f"{name}, {how}" for how in ("reset", "no reset") for name in (row, f"{row}, to the letter")]
    assert kept[f"{row}, reset"] == 9.0  # an untrained network never settles
    assert kept[f"{row}, to the letter, reset"] is None
    for name in ("figure2", "figure2_families"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (Row(role="learned", also=["volume"]), {"mse", "error", "log_volume"}),
        (Row(role="learned", also=["sequences", "drift"], ours=True), {"mse", "error", "absolute_error"}),
    ],
)
def test_a_rows_facts_decide_what_is_measured(row, wanted):
    settings = compose("meta-train", ["recipe=hochreiter2001/B14-64", "task.length=4", "learner.hidden=2"])
    settings.evaluation.episodes = 3
    task = build_task(settings)
    subject = Subject("anything", row, build_learner(settings, task), task, settings)
    frame = pd.DataFrame(Hochreiter2001().measure(subject))
    assert set(frame.metric) == wanted
    assert (BAYES in set(frame.contender)) == row.ours
    assert ("switching" in set(frame.problem)) == ("drift" in row.also)


def test_the_truncated_gradient_does_not_cut_the_map_whose_volume_is_measured():
    settings = compose("meta-train", ["recipe=hochreiter2001/literal/B14-64", "task.length=4"])
    settings.evaluation.episodes = 3
    task = build_task(settings)
    learner = build_learner(settings, task)
    frame = pd.DataFrame(Hochreiter2001().measure(Subject("any", Row(also=["volume"]), learner, task, settings)))
    after = frame[(frame.metric == "log_volume") & (frame.variant == "after") & (frame.part == "")]
    assert isinstance(learner, LSTM1997)
    assert learner.truncated
    whole = LSTM1997(task, learner.hidden, learner.cells, truncated=False)
    whole.load_state_dict(learner.state_dict())
    expected = log_volume(whole, derive(0, "volume"))
    assert expected is not None
    np.testing.assert_allclose(after.value.to_numpy(), expected.mean(1).numpy())


def test_a_row_says_the_same_of_itself_in_every_artefact():
    said: dict[str, Row] = {}
    for name in ARTEFACTS:
        for row, facts in experiment(ReproduceRequest(PRESET, scale="smoke"), name).settings.rows.items():
            assert said.setdefault(row, facts) == facts, f"{row} of {name}"


@pytest.mark.parametrize("task", [Booleans(xor=False), Booleans()])
def test_a_fixed_training_set_is_what_epochs_and_episodes_share(task):
    fixed = Booleans(xor=len(task.tables) == 16, functions=6)
    whole = fixed.training_set()
    assert whole is not None
    assert task.training_set() is None
    picked = fixed.sample(4, 3, Phase.META_TRAIN).batches(0, 5)
    everything = whole.batches(0, 5)
    for e in range(4):
        alike = [(everything.inputs[:, n] == picked.inputs[:, e]).all() for n in range(6)]
        assert any(alike)
