"""What every file of conf/optimizer owes: it is a rule that meta-training can move φ by."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.config.build import build
from l2l_cli.config.groups import options
from l2l_cli.core.tree import flatten, unflatten
from l2l_cli.optimizers.base import FirstOrder
from tests.configured import node_of


@pytest.fixture(params=options("optimizer"))
def rule(request, double):
    return build(node_of("optimizer", request.param), "optimizer")


def moves(rule, steps, memory=None):
    """φ of a bowl after each of some steps from (3, −2), and the last memory."""
    phi, found = torch.tensor([[3.0, -2.0]]), []
    memory = rule.init({"phi": phi}) if memory is None else memory
    for _ in range(steps):
        move, memory = rule.update({"phi": phi}, memory)  # ∇ of ½‖φ‖²
        phi = phi + move["phi"]
        found.append(phi)
    return found, memory


def test_it_is_a_hand_made_first_order_rule_with_a_learning_rate(rule):
    assert isinstance(rule, FirstOrder)
    assert not list(rule.parameters())
    assert rule.lr > 0


def test_it_descends(rule):
    sizes = [float(phi.square().sum()) for phi in moves(rule, 100)[0]]
    assert sizes[-1] < sizes[0] < 13.0


def test_its_memory_survives_a_checkpoint(rule):
    _, memory = moves(rule, 3)
    saved = {name: value.clone() for name, value in flatten(memory).items()}
    plain, revived = moves(rule, 2, memory)[0], moves(rule, 2, unflatten(memory, saved))[0]
    assert torch.equal(plain[-1], revived[-1])
