"""The network in another network's memory: sizes, what it may read, and its options."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.kernels.paths import NUMBA, Path
from l2l_cli.learners.gates import FactoredGates
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.halfplanes import Halfplanes
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import TASKS, on_path, weights_in_cell

OPTIONS = [
    {},
    {"order": "hochreiter"},
    {"after_separator": "frozen"},
    {"after_separator": "frozen", "order": "hochreiter"},
    {"rank": 1},
    {"sees": "weights"},
    {"sees": "gradient"},
]


def meta_parameters(learner):
    return sum(value.numel() for value in learner.parameters())


def test_it_has_the_papers_meta_parameters():
    assert meta_parameters(WeightsInCell(Halfplanes(dimension=4))) == 42_500
    d, first, second = 2, 5, 6
    size = 32 * d + 65
    expected = (d + 4) * first + (first + 1) * second + 3 * size * (second + 1) + size
    assert meta_parameters(WeightsInCell(Halfplanes(dimension=d), hidden=[first, second])) == expected


def test_factored_gates_are_sums_of_outer_products(double):
    gates = FactoredGates(4, {"weight": (3, 2), "bias": (3,)}, rank=2)
    gates.reset(torch.arange(27.0), 1.0, generator(0))
    features = torch.randn(5, 4)
    found = gates(features).view(5, 3, 9)
    rows, columns = gates.rows(features).view(5, 3, 2, 6), gates.columns(features).view(5, 3, 2, 3)
    for e in range(5):
        for g in range(3):
            matrix = rows[e, g, :, :3].T @ columns[e, g, :, :2] / 2**0.5
            vector = rows[e, g, :, 3:].T @ columns[e, g, :, 2:] / 2**0.5
            wanted = torch.cat([matrix.flatten(), vector.flatten()]) + torch.arange(9.0 * g, 9.0 * g + 9)
            torch.testing.assert_close(found[e, g], wanted)


def test_factored_gates_grow_with_the_root_of_the_model():
    small, large = (Halfplanes(dimension=4, hidden=[n, n]) for n in (32, 128))
    full = [meta_parameters(WeightsInCell(task)) for task in (small, large)]
    factored = [meta_parameters(WeightsInCell(task, rank=1)) - task.model.size * 4 for task in (small, large)]
    assert full[1] > 8 * full[0]
    assert factored[1] < 4 * factored[0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_hidden_targets_are_never_read(options, double):
    """Not even a NaN in their place shows in an answer or in the weights."""
    task = TASKS["halfplanes"]()
    batches = task.sample(4, 1, Phase.TEST).batches(0, 12)
    hidden = batches.shown[:, :, None, None] == 0
    spoilt = batches._replace(targets=batches.targets.masked_fill(hidden, torch.nan))
    for fast in (False, True):
        learner = on_path(weights_in_cell(**options)(task), fast)
        with torch.no_grad():
            (state, answers), (other, same) = (
                learner.unroll(learner.init(4, generator(0)), data) for data in (batches, spoilt)
            )
        torch.testing.assert_close(same, answers, rtol=0, atol=0)
        torch.testing.assert_close(other.params, state.params, rtol=0, atol=0)


@pytest.mark.parametrize("order", ["predict_then_update", "hochreiter"])
@pytest.mark.parametrize("fast", [False, True], ids=["reference", "fast"])
def test_frozen_weights_stay_after_the_separator(order, fast, double):
    task = TASKS["halfplanes"]()
    learner = on_path(weights_in_cell(after_separator="frozen", order=order)(task), fast)
    batches = task.sample(4, 1, Phase.TEST).batches(0, 12)
    last = int(batches.shown.sum(0).max()) + 1  # in Hochreiter's order an example moves θ a step later
    with torch.no_grad():
        early, _ = learner.unroll(learner.init(4, generator(0)), Batches(*(value[:last] for value in batches)))
        late, _ = learner.unroll(learner.init(4, generator(0)), batches)
    torch.testing.assert_close(late.params, early.params, rtol=0, atol=0)
    assert not torch.equal(late.params, learner.start.expand(4, -1))


def test_in_hochreiters_order_the_input_moves_the_weights_that_answer_it(double):
    task = TASKS["halfplanes"]()
    learner = weights_in_cell(order="hochreiter")(task)
    batches = task.sample(4, 1, Phase.TEST).batches(0, 2)
    first, _ = learner.step(learner.init(4, generator(0)), batches.at(0))
    torch.testing.assert_close(first.params, learner.start.expand(4, -1))  # no example has been seen
    second, answer = learner.step(first, batches.at(1))
    torch.testing.assert_close(task.model(learner.named(second.params), batches.inputs[1]), answer)
    for altered in (
        batches.at(1)._replace(inputs=batches.inputs[1] + 1.0),
        batches.at(1)._replace(targets=1.0 - batches.targets[1]),
    ):
        params = learner.step(first, altered)[0].params
        assert torch.equal(params, second.params) == torch.equal(altered.inputs, batches.inputs[1])


def test_every_answer_of_a_model_of_several_is_read():
    task = TASKS["halfplanes"]()
    task.model = Halfplanes(dimension=3, hidden=[4, 4]).model
    learner = weights_in_cell()(task)
    assert learner.path.why_not.startswith("the kernels know only models")
    assert learner.layers[0].in_features == 6


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"rank": 3}, "rank=3"), ({"rank": 3, "sees": "weights"}, "rank=3, sees=weights")],
)
def test_it_says_why_it_is_not_compiled(options, reason):
    learner = WeightsInCell(Halfplanes(), **options)
    assert learner.path == Path(why_not=f"the kernels have no {reason}")
    assert WeightsInCell(Halfplanes()).path == NUMBA


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": []}, "hidden not empty"),
        ({"rank": 0}, "rank must be at least 1"),
        ({"order": "later"}, "order must be one of predict_then_update, hochreiter, not 'later'"),
        ({"after_separator": "stops"}, "after_separator must be one of moves, frozen"),
        ({"sees": "all"}, "sees must be one of none, weights, gradient"),
    ],
)
def test_wrong_options_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        WeightsInCell(Halfplanes(), **options)


def test_it_needs_one_example_a_step_and_the_model_it_was_made_for():
    with pytest.raises(ValueError, match="reads one example a step; Quadratic gives"):
        WeightsInCell(Quadratic())
    with pytest.raises(UsageError, match="each of the 193 weights of its own model, but the model of Booleans has"):
        WeightsInCell(Halfplanes()).on(Booleans())
