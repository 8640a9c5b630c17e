"""The generalisation grid: its rows, its cells, and what is made of numbers that are not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from l2l_cli.commands.figures import grid_figure
from l2l_cli.config.build import changed
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.grid import PLAIN, Cell, Contest, cell_of, cut, variations
from l2l_cli.evaluation.score import Scores, score
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.adam import Adam
from tests.cases import TASKS
from tests.results.test_plot import is_blank


def test_problems_are_crossed_with_the_grid():
    grid = {"hidden": [[20], [20, 20]], "base": {"length": [3]}}
    assert variations(grid, {}) == {
        "hidden=20, base.length=3": {"hidden": [20], "base.length": 3},
        "hidden=20–20, base.length=3": {"hidden": [20, 20], "base.length": 3},
    }
    both = variations({"start": [0.1, 0.2]}, {"as trained": {}, "ReLU": {"activation": "relu"}})
    assert list(both) == ["as trained, start=0.1", "as trained, start=0.2", "ReLU, start=0.1", "ReLU, start=0.2"]
    assert both["ReLU, start=0.2"] == {"activation": "relu", "start": 0.2}
    assert variations({}, {}) == {PLAIN: {}}


@pytest.mark.parametrize(
    ("grid", "problems", "message"),
    [
        ({"hidden": 20}, {}, "evaluation.grid.hidden must be a list of values, as in [20,40], not 20"),
        ({"base": {"length": []}}, {}, "evaluation.grid.base.length must be a list"),
        ({}, {"wide": [40]}, "evaluation.problems.wide must say what changes"),
    ],
)
def test_what_is_no_grid_is_explained(grid, problems, message):
    with pytest.raises(UsageError) as told:
        variations(grid, problems)
    assert message in str(told.value)


def test_a_node_is_changed_in_a_copy():
    node = {"_target_": "a.B", "rule": {"_target_": "a.C", "lr": 1.0, "decay": 0.5}, "sizes": [1]}
    found = changed(node, {"rule.lr": 2.0, "sizes": [3], "new": 4}, "learner")
    assert found == {"_target_": "a.B", "rule": {"_target_": "a.C", "lr": 2.0, "decay": 0.5}, "sizes": [3], "new": 4}
    assert changed(node, {"rule": {"lr": 3.0}}, "learner")["rule"] == {"_target_": "a.C", "lr": 3.0, "decay": 0.5}
    assert changed(node, {"rule": {"_target_": "a.D"}}, "learner")["rule"] == {"_target_": "a.D"}
    assert node["rule"] == {"_target_": "a.C", "lr": 1.0, "decay": 0.5}
    with pytest.raises(UsageError, match=r"nothing at learner\.rul to set .* did you mean 'rule'"):
        changed(node, {"rul.lr": 2.0}, "learner")


def test_a_short_horizon_is_the_beginning_of_a_long_one():
    learner = Descent(TASKS["digits"](), Adam(0.1))
    long, short = (score(learner, 3, steps, 0, Phase.TEST, 2) for steps in (9, 4))
    beginning = cut(long, 4)
    torch.testing.assert_close(beginning.losses, short.losses, rtol=0, atol=0)
    torch.testing.assert_close(beginning.metrics["accuracy"], short.metrics["accuracy"], rtol=0, atol=0)


def test_a_cell_counts_what_diverged():
    losses = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.5, 1.9, 2.1, math.nan]])
    cell = cell_of("a", 1.0, "adam", "", [Scores(losses, {"accuracy": losses / 4})])
    assert (cell.steps, cell.diverged) == (2, 0.5)
    assert cell.mean.value == math.inf
    assert math.isnan(cell.mean.low)
    assert cell.median.value == pytest.approx(2.0)
    fine = cell_of("a", 1.0, "adam", "", [Scores(losses[:, :2], {"accuracy": losses[:, :2]})] * 2)
    assert fine.mean.value == pytest.approx(1.2)
    assert fine.mean.low < fine.mean.value < fine.mean.high
    assert fine.row()["accuracy"] == pytest.approx(1.2)
    assert fine.row()["episodes"] == 4


def cell(*finals: float, who: str = "run", problem: str = "a", stretch: float = 1.0) -> Cell:
    return Cell(problem, stretch, 10, who, "", np.array(finals), 0.0, {})


def test_the_loss_is_a_multiple_of_the_best_reference():
    contest = Contest(cell(1.0, 2.0, 3.0), [cell(4.0, 4.0, 4.0), cell(1.0, 1.0, 7.0)])
    assert contest.shown() == pytest.approx(2 / 3)
    assert contest.shown("median") == pytest.approx(2.0)
    assert contest.difference().value == pytest.approx(-1.0)
    assert Contest(cell(1.0, 2.0, 3.0), []).shown() == 2.0
    assert Contest(cell(math.inf), [cell(1.0)]).shown() == math.inf
    assert math.isnan(Contest(cell(math.inf), [cell(1.0)]).difference().value)
    assert Contest(cell(1.0), [cell(0.0)]).shown() == math.inf
    assert Contest(cell(1.0), [cell(math.inf)]).shown() == 0.0
    assert math.isnan(Contest(cell(0.0), [cell(0.0)]).shown())


@pytest.mark.parametrize("references", [True, False])
def test_the_heat_map_takes_any_number(references, tmp_path):
    values = [[1.0, 0.0, math.inf], [0.01, 1e-9, 1e6]]
    contests = [
        Contest(cell(value, problem=f"p{row}", stretch=column), [cell(1.0, who="adam")] if references else [])
        for row, numbers in enumerate(values)
        for column, value in enumerate(numbers, 1)
    ]
    figure = grid_figure(contests, tmp_path)
    assert not is_blank(figure.path)
    assert ("reference" in figure.caption) == references
    nothing = [Contest(cell(math.nan), [])]
    assert grid_figure(nothing, tmp_path / "nothing").path.exists()
