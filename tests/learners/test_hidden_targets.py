"""What networks and optimizers do at steps whose targets are hidden."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.learners.in_weights import LSTM
from tests.cases import LEARNERS, TASKS, is_refused

E = 3


@pytest.mark.parametrize(
    "name", ["sgd", "adam", "lbfgs", "conjugate_gradient", "hessian_free_lm", "kfac", "coordinatewise_lstm"]
)
@pytest.mark.parametrize("task", ["halfplanes", "halfplanes-interleaved"])
def test_parameters_stay_where_targets_are_hidden(task, name, double):
    task = TASKS[task]()
    learner, batches = LEARNERS[name](task), task.sample(E, 0, Phase.TEST).batches(0, 12)
    with torch.no_grad():
        state = learner.init(E, generator(0))
        for t in range(12):
            after, _ = learner.step(state, batches.at(t))
            for key, value in after.params.items():
                moved = (value != state.params[key]).flatten(1).any(1)
                assert not (moved & (batches.shown[t] == 0)).any()
                assert value.isfinite().all()
            state = after


@pytest.mark.parametrize("name", ["momentum", "adam", "smorms3"])
def test_what_is_shown_first_is_learned_as_if_nothing_followed(name, double):
    task = TASKS["halfplanes"]()
    learner, batches = LEARNERS[name](task), task.sample(1, 0, Phase.TEST).batches(0, 12)
    count = int(batches.shown.sum())
    with torch.no_grad():
        whole, _ = learner.unroll(learner.init(1, generator(0)), batches)
        first = Batches(batches.inputs[:count], batches.targets[:count])
        part, _ = learner.unroll(learner.init(1, generator(0)), first)
    for key, value in part.params.items():
        torch.testing.assert_close(whole.params[key], value, rtol=0, atol=0)


def test_the_lstm_reads_whether_a_target_was_shown(double):
    """A hidden target is not a target of 0 that was shown."""
    task = TASKS["halfplanes"]()
    learner, batches = LSTM(task, hidden=4), task.sample(E, 0, Phase.TEST).batches(0, 12)
    assert learner.cell.input_size == 3 + 1 + 1
    zero = batches._replace(targets=torch.zeros_like(batches.targets))
    with torch.no_grad():
        start = learner.init(E, generator(0))
        hidden = learner.unroll(start, zero._replace(shown=torch.zeros(12, E)))[1]
        shown = learner.unroll(start, zero._replace(shown=torch.ones(12, E)))[1]
    torch.testing.assert_close(hidden[0], shown[0])
    assert not torch.isclose(hidden[1:], shown[1:]).any()
    assert LSTM(TASKS["b14"](), hidden=4).cell.input_size == 2 + 1


@pytest.mark.parametrize("name", ["lstm1997", "recurrent"])
def test_the_networks_of_2001_refuse_hidden_targets(name):
    assert "choose learner=lstm" in (is_refused("halfplanes", name) or "")


def test_compiled_optimizers_say_why_they_are_not():
    assert "hides targets" in LEARNERS["coordinatewise_lstm"](TASKS["halfplanes"]()).path.why_not
