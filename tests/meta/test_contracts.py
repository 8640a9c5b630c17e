"""A user's class is refused by one line that names its file, its line and the cure, or it is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from l2l_cli.config.groups import options
from l2l_cli.core.errors import UsageError
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.contracts.hidden import check_nothing_hidden
from l2l_cli.testing import ContractError, check_learner, check_task
from tests.cases import PAIRS, TASKS, is_refused, pair_of
from tests.configured import missing_package
from tests.meta import zoo
from tests.meta.zoo import BAD_LEARNERS, BAD_RULES, BAD_TASKS, GOOD_RULES, GOOD_TASKS, Averages, Fit

ZOO = Path(zoo.__file__)


def of(kind):
    return kind.__name__


def assert_refuses(check, message):
    with pytest.raises(ContractError) as refused:
        check()
    text = str(refused.value)
    assert message in text
    assert "\n" not in text
    assert refused.value.exit_code == 2
    assert re.search(rf"{re.escape(ZOO.name)}:\d+", text), text


@pytest.mark.parametrize("name", GOOD_TASKS)
def test_a_right_task_passes(name):
    check_task(GOOD_TASKS[name]())


@pytest.mark.parametrize("kind", BAD_TASKS, ids=of)
def test_a_wrong_task_is_refused_by_name(kind):
    assert_refuses(lambda: check_task(kind()), BAD_TASKS[kind])


@pytest.mark.parametrize(("net", "path"), [(zoo.ListNet, "self.more[0]"), (zoo.DictNet, "self.more['scale']")])
def test_what_torch_does_not_find_in_a_network_is_refused_by_name(net, path):
    assert_refuses(lambda: check_nothing_hidden(net()), f"in {path}, where it is neither trained nor saved")


@pytest.mark.parametrize("kind", GOOD_RULES, ids=of)
def test_a_right_rule_passes(kind):
    check_learner(Descent(Fit(), kind()))


@pytest.mark.parametrize("kind", BAD_RULES, ids=of)
def test_a_wrong_rule_is_refused_by_name(kind):
    assert_refuses(lambda: check_learner(Descent(Fit(), kind())), BAD_RULES[kind])


def test_a_right_learner_passes():
    check_learner(Averages(Fit()))


@pytest.mark.parametrize("kind", BAD_LEARNERS, ids=of)
def test_a_wrong_learner_is_refused_by_name(kind):
    assert_refuses(lambda: check_learner(kind(Fit())), BAD_LEARNERS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_task_of_ours_passes(name):
    check_task(TASKS[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", options("learner"))
def test_every_learner_of_ours_passes(name):
    """On the first task whose data it takes."""
    if missing := missing_package(name):
        pytest.skip(f"{missing} is not installed")
    for task, _ in (one for one in PAIRS if one[1] == name and not is_refused(*one)):
        try:
            check_learner(pair_of(task, name)[1])
        except UsageError as error:
            if "tells two classes apart" not in str(error):
                raise
        else:
            return
    pytest.fail("it fits no task")


def first_gradient(rule, window):
    learner, estimator = Descent(Fit(), rule), Backprop(episodes=2, window=window)
    return estimator.estimate(learner, estimator.init(learner, 0), 0.0)[1].grad


def test_a_window_that_nothing_of_phi_reaches_is_refused_and_a_part_of_it_has_no_gradient():
    with pytest.raises(UsageError, match=r"no meta-gradient reaches φ of Descent \(rule\.inner\.weight, "):
        first_gradient(zoo.Detached(), 3)
    grad = first_gradient(zoo.Forgotten(), 3)
    assert not grad["rule.rate"].any()
    assert grad["rule.outer.weight"].any()
    assert not any(value.any() for value in first_gradient(zoo.Gated(), 1).values())  # it answers before it moves
