"""Runs that older versions made are read as they were, and measure the same."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from l2l_cli.config.saved import UPGRADES, moved, upgraded
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


def test_nodes_are_upgraded_wherever_they_stand(monkeypatch):
    monkeypatch.setitem(UPGRADES, "old.Rule", moved("new.Rule", kinds="types"))
    monkeypatch.setitem(
        UPGRADES, "old.Task", lambda node: {"_target_": "new.Task", "network": {"hidden": node["hidden"]}}
    )
    config = {
        "task": {"_target_": "old.Task", "hidden": [{"_target_": "old.Rule"}]},
        "learner": {"_target_": "same.Learner", "rule": {"_target_": "old.Rule", "kinds": ["a"], "lr": 0.1}},
        "vary": {"hidden": [[4], [8]]},
        "seed": 3,
    }
    assert upgraded(config) == {
        "task": {"_target_": "new.Task", "network": {"hidden": [{"_target_": "new.Rule"}]}},
        "learner": {"_target_": "same.Learner", "rule": {"_target_": "new.Rule", "types": ["a"], "lr": 0.1}},
        "vary": {"hidden": [[4], [8]]},
        "seed": 3,
    }
    assert upgraded(upgraded(config)) == upgraded(config)


@pytest.mark.parametrize("old", UPGRADES)
def test_every_upgrade_leads_to_a_class_and_leaves_it_alone(old):
    found = UPGRADES[old]({"_target_": old})
    module, _, name = str(found["_target_"]).rpartition(".")
    assert isinstance(getattr(import_module(module), name), type)
    assert upgraded({"learner": found}) == {"learner": found}
