"""Global averaging cells: what they average, over what, and what is left as it was."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.kernels.paths import REFERENCE
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.averaging import GlobalAveragingLSTM
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import on_path

E, HIDDEN, AVERAGED = 3, 5, 2


def gradients():
    """Of two parameters with four and six coordinates an episode."""
    rng = torch.Generator().manual_seed(0)
    return {"a": torch.randn(E, 4, generator=rng), "b": torch.randn(E, 2, 3, generator=rng)}


def by_episode(part):
    """(layers, H, C) as (layers, H, E, coordinates of an episode)."""
    a, b = part.split([E * 4, E * 6], -1)
    return torch.cat([a.unflatten(-1, (E, 4)), b.unflatten(-1, (E, 6))], -1)


def test_they_pass_on_the_mean_over_an_episodes_coordinates(double):
    """A single layer's first step: the mean is that of what the plain cell would pass on."""
    rule, plain = GlobalAveragingLSTM(AVERAGED, HIDDEN, layers=1), CoordinatewiseLSTM(HIDDEN, layers=1)
    grad = gradients()
    found = rule.update(grad, rule.init(grad))[1]
    own = plain.update(grad, plain.init(grad))[1]
    hidden, wanted = by_episode(found.hidden), by_episode(own.hidden)
    torch.testing.assert_close(hidden[:, :-AVERAGED], wanted[:, :-AVERAGED])
    mean = wanted[:, -AVERAGED:].mean(-1, keepdim=True)
    torch.testing.assert_close(hidden[:, -AVERAGED:], mean.expand_as(hidden[:, -AVERAGED:]))
    torch.testing.assert_close(found.cell, own.cell)
    assert mean.std(2).min() > 1e-3  # episodes differ


def test_every_layer_has_them(double):
    rule = GlobalAveragingLSTM(AVERAGED, HIDDEN, layers=3)
    grad = gradients()
    _, memory = rule.update(grad, rule.init(grad))
    hidden = by_episode(rule.update(grad, memory)[1].hidden)
    assert hidden[:, -AVERAGED:].std(-1).max() < 1e-12
    assert hidden[:, :-AVERAGED].std(-1).min() > 1e-5


def test_one_coordinate_hears_of_another_in_its_own_episode_alone(double):
    rule = GlobalAveragingLSTM(AVERAGED, HIDDEN)
    grad = gradients()
    altered = {"a": grad["a"].clone(), "b": grad["b"]}
    altered["a"][0, 0] += 1.0
    moves, others = (rule.update(value, rule.init(value))[0] for value in (grad, altered))
    assert (moves["b"][0] - others["b"][0]).abs().min() > 1e-8
    torch.testing.assert_close(moves["b"][1:], others["b"][1:], rtol=0, atol=0)


def test_without_them_it_is_the_plain_rule(double):
    rule, plain = GlobalAveragingLSTM(0, HIDDEN), CoordinatewiseLSTM(HIDDEN)
    grad = gradients()
    memory, other = rule.init(grad), plain.init(grad)
    for _ in range(3):
        moves, memory = rule.update(grad, memory)
        wanted, other = plain.update(grad, other)
        for name, move in moves.items():
            assert torch.equal(move, wanted[name])


def test_phi_has_the_plain_rules_size():
    assert sum(value.numel() for value in GlobalAveragingLSTM().parameters()) == 5061


@pytest.mark.parametrize("averaged", [-1, HIDDEN + 1])
def test_their_number_is_checked(averaged):
    with pytest.raises(ValueError, match="averaged must lie between 0 and the 5 hidden units"):
        GlobalAveragingLSTM(averaged, HIDDEN)


def test_kernels_are_refused_with_the_reason():
    rule = GlobalAveragingLSTM(AVERAGED, HIDDEN)
    for learner in (Descent(Quadratic(), rule), Descent(Quadratic(), PerType(CoordinatewiseLSTM(), rule))):
        assert learner.path.why_not.startswith("global averaging cells")
        assert on_path(learner, False).path == REFERENCE
