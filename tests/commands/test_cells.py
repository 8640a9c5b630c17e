"""The cells of the generalisation grid, and what is made of numbers that are not finite."""

from __future__ import annotations

import math

import pytest
import torch

from l2l_cli.commands.cells import Cell, Comparison
from l2l_cli.commands.compare import who_leads
from l2l_cli.commands.figures import grid_figure
from l2l_cli.evaluation.contest import Entry, Plan, Problem, Standing
from l2l_cli.evaluation.score import Scores
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.adam import Adam
from tests.cases import TASKS
from tests.results.test_plot import is_blank


def cell(*ends: float, who: str = "run", problem: str = "a", stretch: float = 1.0) -> Cell:
    task = TASKS["quadratic"]()
    entry = Entry(who, Problem(problem, task, 10, Plan(len(ends), (0,), 1), {}), Descent(task, Adam(0.1)), None, {})
    losses = torch.tensor([[1.0] * len(ends), ends], dtype=torch.float64)
    return Cell(Standing(entry, [Scores(losses, {})]), stretch)


def test_intervals_of_a_cell():
    assert math.isnan(cell(1.0, math.nan).mean.low)
    assert cell(1.0, math.nan).mean.value == math.inf
    fine = cell(*[0.5, 1.9] * 4)
    assert fine.mean.value == pytest.approx(1.2)
    assert fine.mean.low < fine.mean.value < fine.mean.high
    assert fine.row()["episodes"] == 8
    assert fine.row()["mean_high"] == fine.mean.high
    few = cell(0.5, 1.9)
    assert few.mean.ends(".3g") == "none of 2 episodes"
    assert few.row()["mean"] == pytest.approx(1.2)


def test_the_loss_is_a_multiple_of_the_best_rival():
    comparison = Comparison(cell(1.0, 2.0, 3.0), [cell(4.0, 4.0, 4.0), cell(1.0, 1.0, 7.0)])
    assert comparison.ratio() == pytest.approx(2 / 3)
    assert comparison.ratio("median") == pytest.approx(2.0)
    assert comparison.difference().value == pytest.approx(-1.0)
    assert Comparison(cell(1.0, 2.0, 3.0), []).ratio() == 2.0
    assert Comparison(cell(math.inf), [cell(1.0)]).ratio() == math.inf
    assert Comparison(cell(math.inf), [cell(1.0)]).difference().value == math.inf
    assert math.isnan(Comparison(cell(math.inf), [cell(math.inf)]).difference().value)
    assert Comparison(cell(1.0), [cell(0.0)]).ratio() == math.inf
    assert Comparison(cell(1.0), [cell(math.inf)]).ratio() == 0.0
    assert math.isnan(Comparison(cell(0.0), [cell(0.0)]).ratio())


@pytest.mark.parametrize("rivals", [True, False])
def test_the_heat_map_takes_any_number(rivals, tmp_path):
    values = [[1.0, 0.0, math.inf], [0.01, 1e-9, 1e6]]
    comparisons = [
        Comparison(cell(value, problem=f"p{row}", stretch=column), [cell(1.0, who="adam")] if rivals else [])
        for row, numbers in enumerate(values)
        for column, value in enumerate(numbers, 1)
    ]
    figure = grid_figure(comparisons, tmp_path)
    assert not is_blank(figure.path)
    assert ("rival" in figure.caption) == rivals
    nothing = [Comparison(cell(math.nan), [])]
    assert grid_figure(nothing, tmp_path / "nothing").path.exists()


def test_who_leads_is_said_by_the_interval_and_solvers_do_not_compete():
    near = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 1.0]
    standings = {
        "a": cell(*near, who="a").standing,
        "b": cell(*(value + 0.5 for value in near), who="b").standing,
        "c": cell(*reversed(near), who="c").standing,
    }
    best, text = who_leads({name: standings[name] for name in "ab"})
    assert (best, "a has the lowest loss, ahead of b: difference -0.5" in text) == ("a", True)
    best, text = who_leads(standings)
    assert best in ("a, level with c", "c, level with a")
    assert "between these two on the same episodes" in text
    assert who_leads({"a": standings["a"]})[0] == "a"
    twice = [one._replace(extra_evaluations=torch.full((8,), 10.0)) for one in standings["a"].scores]
    best, text = who_leads({**standings, "a": standings["a"]._replace(scores=twice)})
    assert (best, "of those that evaluate a batch once per step" in text) == ("c", True)
