"""Hochreiter 2001: measurements against closed forms, and what the tables say of made-up runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from l2l_cli.results.frame import Metric

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.learners.logistic_network import Recurrent
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.papers.hochreiter2001.measures import plateau
from l2l_cli.papers.hochreiter2001.table1 import table1
from l2l_cli.papers.hochreiter2001.volume import SEQUENCES, log_volume, volume
from l2l_cli.tasks.functions import Booleans


def test_a_recurrent_layers_volume_is_its_closed_form(double):
    """∂h_{t+1}/∂h_t = diag(h(1 − h)) W, so log|det| = Σ log h(1 − h) + log|det W|."""
    learner = Recurrent(Booleans(), hidden=4, spread=1.5)
    found = log_volume(learner, 0, steps=3)
    assert found is not None
    batches = learner.task.sample(SEQUENCES, 0, Phase.TEST).batches(0, 3)
    state = learner.init(SEQUENCES, generator(0))
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


def made_up(test, seeds=2, volumes=(-1.0, -0.5)):
    """A row's measurements, all seeds alike."""
    rows = []
    for seed in range(seeds):
        for contender in ("learner", "bayes"):
            error = test if contender == "learner" else 0.0148
            rows += [Metric(contender, seed, "mean", 0, split, "mse", error) for split in ("train", "test")]
        for name, value in (("updates", 1000), ("seconds", 60), ("skipped", 0), ("meta_parameters", 697)):
            rows.append(Metric("run", seed, "all", 0, "meta_train", name, value))
        for name, value in zip(("before", "after"), volumes, strict=True):
            rows += [Metric(name, seed, "mean", step, "test", "log_volume", value) for step in (2, 3)]
    return pd.DataFrame(rows)


def test_table1_says_what_holds_and_what_contradicts_the_paper():
    empty = pd.DataFrame()
    rows = {
        "B14-64": made_up(0.015),
        "B14-64-1997": made_up(0.037),
        "elman-batch-0.01": made_up(0.2),
        "bptt2-online-0.01": made_up(0.05),
        "rtrl-online-0.1": empty,
    }
    artefact = table1(rows)
    text = "\n".join(artefact.sections[0].text)
    assert "LSTM 6/6(1): the paper finds that it learns; ours succeeds in 100% of seeds" in text
    assert text.count("This holds.") == 2
    assert text.count("**This contradicts the paper.**") == 1
    assert "RTRL: not run at this scale" in text
    verdicts = {(item.row, item.metric): item.verdict for item in artefact.results}
    assert verdicts["B14-64-1997", "test_mse"] == "reproduced"
    assert verdicts["bptt2-online-0.01", "success_share"] == "differs"
    assert verdicts["rtrl-online-0.1", "test_mse"] == "not run"


def test_volume_is_compared_with_success(tmp_path):
    rows = {
        "B14-64-1997": made_up(0.03, volumes=(-6.0, -1.0)),
        "elman-batch-0.01": made_up(0.2, volumes=(-3.0, -4.0)),
        "rtrl-online-0.1": made_up(0.1, volumes=(-3.0, -2.0)),
        "bptt2-batch-0.001": pd.DataFrame(),
    }
    artefact = volume(rows, tmp_path)
    assert "and -1.00 after (the theory predicts −1)" in artefact.sections[0].text[1]
    assert [item.row for item in artefact.results] == [row for row in rows if row != "bptt2-batch-0.001"]
    assert (tmp_path / "figures" / "volume.png").stat().st_size > 5000


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
