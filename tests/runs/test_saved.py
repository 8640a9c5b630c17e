"""Runs that older versions made are read as they were, and measure the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from l2l_cli.config import saved
from l2l_cli.config.saved import CHANGES, Change, upgraded
from tests.test_cli import run
from tests.test_commands import only

OLD = Path(__file__).parent / "made_by_0_1_0"


@pytest.mark.parametrize("name", sorted(path.name for path in OLD.iterdir()))
def test_a_run_of_version_0_1_0_measures_what_it_did_there(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = "evaluation.episodes=4 evaluation.steps=20 evaluation.stretch=[1] hardware.kernels=reference"
    code, _, err = run(f"evaluate --run {OLD / name} {wanted}", monkeypatch, capsys)
    assert code == 0, err
    frame = pd.read_csv(only("outputs/evaluate/*/metrics.csv"))
    found = frame[(frame.statistic == "mean") & (frame.metric == "loss")].value
    assert found.tolist() == pytest.approx(pd.read_csv(OLD / name / "evaluated.csv").loss.tolist(), rel=1e-6)


def test_keys_move_into_inner_nodes_and_vary_follows(monkeypatch):
    change = Change("new.Task", moved={"hidden": "network.hidden", "gone": None}, added={"network._target_": "new.MLP"})
    monkeypatch.setitem(saved.CHANGES, "old.Task", change)
    monkeypatch.setitem(saved.CHANGES, "old.Rule", Change("new.Rule"))
    config = {
        "task": {"_target_": "old.Task", "hidden": [20], "gone": 1, "horizon": 5, "start": {"_target_": "old.Rule"}},
        "vary": {"hidden": [[4], [8]], "horizon": [1, 2]},
        "seed": 3,
    }
    assert upgraded(config) == {
        "task": {
            "_target_": "new.Task",
            "horizon": 5,
            "start": {"_target_": "new.Rule"},
            "network": {"hidden": [20], "_target_": "new.MLP"},
        },
        "vary": {"network.hidden": [[4], [8]], "horizon": [1, 2]},
        "seed": 3,
    }


def test_what_this_version_writes_stays_as_it_is(monkeypatch):
    change = Change("same.Rule", moved={"kinds": "types"}, added={"pace": 1.0})
    monkeypatch.setitem(saved.CHANGES, "same.Rule", change)
    once = upgraded({"learner": {"_target_": "same.Rule", "kinds": ["a"]}})
    assert once == {"learner": {"_target_": "same.Rule", "types": ["a"], "pace": 1.0}}
    assert upgraded(once) == once


@pytest.mark.parametrize("change", CHANGES.values(), ids=lambda change: change.target)
def test_every_class_that_a_table_leads_to_exists(change):
    module, _, name = change.target.rpartition(".")
    assert hasattr(__import__(module, fromlist=[name]), name)
