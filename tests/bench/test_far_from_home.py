"""The page on the rules that come with the package says what its numbers and their cards say."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.suffixes import pretrained
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.sgd import Sgd
from tests.bench.far_from_home import COLUMNS, DOCS, RIVALS, page_with, table_of
from tests.bench.far_problems import LARGE, PROBLEMS, SYMBOLS, task_of
from tests.bench.on_arrival import RIVAL, RULE, STEPS, course_of
from tests.bench.on_arrival import page_with as page_of_arrival
from tests.bench.on_arrival import table_of as table_of_arrival
from tests.image_tasks import real


def numbers():
    return pd.read_csv(DOCS / "pretrained.csv", keep_default_na=False)


def test_the_page_shows_the_numbers():
    text = (DOCS / "pretrained.md").read_text()
    assert page_with(text, numbers()) == text


def test_the_numbers_are_of_every_rule_and_rival_where_anybody_was_run():
    frame = numbers()
    assert list(frame.columns) == COLUMNS
    for _, part in frame.groupby(["problem", "steps"]):
        assert sorted(part.contender) == sorted([*RIVALS, *pretrained()])
        losses = dict(zip(part.contender, part.loss.astype(float), strict=True))
        best = min(RIVALS, key=lambda name: losses[name])
        assert set(part.best) == {best}
        for row in part.itertuples():
            assert (row.stands == "") == (row.contender == best)
            assert row.contender == best or float(row.beside_best) == pytest.approx(
                1.0 - losses[row.contender] / losses[best], abs=1e-3 * max(1.0, losses[row.contender] / losses[best])
            )


def test_what_was_not_run_is_said():
    nothing = table_of(pd.DataFrame(columns=COLUMNS))
    assert nothing.count("not run") == 3 * len(PROBLEMS)


def test_a_ratio_on_arrival_is_what_the_gain_leaves():
    assert table_of_arrival(pd.DataFrame(columns=COLUMNS)).count("not run") == len(STEPS) * len(LARGE)
    name = next(iter(LARGE))
    bar = dict.fromkeys(COLUMNS, "") | {"problem": name, "steps": 500, "contender": RIVAL, "loss": "2"}
    own = bar | {
        "contender": RULE,
        "loss": "2.5",
        "beside_best": "-0.25",
        "low": "-0.5",
        "high": "-0.1",
        "stands": "behind",
    }
    table = table_of_arrival(pd.DataFrame([bar, own]))
    assert f"| {name} | 500 | 2 | 2.5 | 1.25 [1.1, 1.5], behind |" in table
    assert page_of_arrival("a <!-- numbers arrival -->\n<!-- end --> b", pd.DataFrame([bar, own])).endswith(
        "<!-- end --> b"
    )


def test_a_course_has_the_sizes_of_the_moves():
    task = task_of("diabetes, MLP")
    slow, fast = (course_of(Descent(task, Sgd(rate)), 11) for rate in (1e-7, 2e-7))
    assert [step for step, _, _ in slow] == [0, 5, 10]
    assert fast[0][1:] == pytest.approx((slow[0][1], 2 * slow[0][2]), rel=1e-4)
    assert fast[-1][1] < slow[-1][1]


AT_HAND = [one for one in [*PROBLEMS, *LARGE] if "CIFAR" not in one]


@pytest.mark.parametrize("name", AT_HAND)
def test_every_problem_can_be_fitted(name):
    task = task_of(name)
    found = score(Descent(task, Sgd(1e-6)), 2, 3, 0, Phase.TEST)
    assert torch.isfinite(found.losses).all()


@pytest.mark.data
@real
@pytest.mark.parametrize("name", sorted({*LARGE} - {*AT_HAND}))
def test_every_problem_on_real_data_can_be_fitted(name):
    test_every_problem_can_be_fitted(name)


def test_the_transformer_does_not_see_what_comes():
    task = task_of("text, transformer")
    params = task.model.init(1, generator(0))
    symbols = torch.randint(SYMBOLS, (1, 2, 16), generator=torch.Generator().manual_seed(0))
    other = symbols.clone()
    other[..., 8:] = 0
    before, after = (task.model(params, each) for each in (symbols, other))
    assert torch.allclose(before[..., :8, :], after[..., :8, :])
    assert not torch.allclose(before[..., 8:, :], after[..., 8:, :])
