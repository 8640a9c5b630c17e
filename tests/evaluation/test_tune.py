"""Grids, budgets and edges."""

from __future__ import annotations

import pytest

from l2l_cli.core.errors import RunFailed
from l2l_cli.evaluation.tune import settings_of, tune
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.tasks.quadratic import Quadratic


def test_a_grid_is_a_product_thinned_to_the_budget():
    grid = {"a": [1, 2, 3], "b": ["x", "y"]}
    assert len(settings_of(grid, None)) == 6
    assert settings_of(grid, 2) == [{"a": 1, "b": "x"}, {"a": 3, "b": "y"}]
    assert settings_of({}, None) == [{}]
    with pytest.raises(ValueError, match=r"tune\.budget"):
        settings_of(grid, 0)


def test_the_best_is_found_and_the_edge_is_told():
    task = Quadratic(dimension=3, horizon=20)

    def make(setting):
        return Descent(task, Sgd(setting["lr"]))

    inner = tune(make, settings_of({"lr": [1e-4, 0.1, 100.0]}, None), 8, 20, 0, "final")
    assert inner.best.setting == {"lr": 0.1}
    assert inner.at_edge == []
    outer = tune(make, settings_of({"lr": [1e-4, 1e-3]}, None), 8, 20, 0, "mean")
    assert outer.at_edge == ["lr"]
    with pytest.raises(RunFailed, match="no setting"):
        tune(make, settings_of({"lr": [1e30]}, None), 2, 20, 0, "final")
