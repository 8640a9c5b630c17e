"""The hand-made rules move as torch.optim's do."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.adam import Adam, AdamW
from l2l_cli.optimizers.rmsprop import RmsProp
from l2l_cli.optimizers.sgd import Momentum, Nesterov, Sgd
from l2l_cli.optimizers.smorms3 import Smorms3
from l2l_cli.tasks.functions import SemiLinear

RULES = {
    "sgd": (Sgd(0.3), lambda p: torch.optim.SGD(p, 0.3)),
    "momentum": (Momentum(0.1, 0.8), lambda p: torch.optim.SGD(p, 0.1, momentum=0.8)),
    "nesterov": (Nesterov(0.1, 0.8), lambda p: torch.optim.SGD(p, 0.1, momentum=0.8, nesterov=True)),
    "rmsprop": (RmsProp(0.01, 0.95), lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.95)),
    "adamw": (
        AdamW(0.02, 0.8, 0.99, weight_decay=0.3),
        lambda p: torch.optim.AdamW(p, 0.02, betas=(0.8, 0.99), weight_decay=0.3),
    ),
    "adam": (Adam(0.02, 0.8, 0.99), lambda p: torch.optim.Adam(p, 0.02, betas=(0.8, 0.99))),
}


@pytest.mark.parametrize("name", RULES)
def test_equals_torch_optim(name, double):
    rule, make = RULES[name]
    task = SemiLinear()
    episode = task.sample(1, 0, Phase.TUNE)
    learner = Descent(task, rule)
    state = learner.init(1, generator(0))
    params = {key: value.clone().requires_grad_() for key, value in state.params.items()}
    reference = make(params.values())
    with torch.no_grad():
        for step in range(25):
            batch = episode.batch(step)
            state, _ = learner.step(state, batch)
            with torch.enable_grad():
                reference.zero_grad()
                task.loss(task.model(params, batch.inputs), batch.targets).sum().backward()
                reference.step()
    for key, value in params.items():
        torch.testing.assert_close(state.params[key], value.detach(), rtol=1e-10, atol=1e-12)


def test_smorms3_by_hand(double):
    """Two steps with the numbers written out."""
    rule, memory = Smorms3(lr=0.1), None
    params = {"theta": torch.zeros(1)}
    memory = rule.init(params)
    move, memory = rule.update({"theta": torch.tensor([2.0])}, memory)
    # rate ½: m = 1, s = 2, q = 1/2, capped to 0.1.
    torch.testing.assert_close(move["theta"], torch.tensor([-2.0 * 0.1 / 2.0**0.5]))
    torch.testing.assert_close(memory.window["theta"], torch.tensor([1.5]))
    move, memory = rule.update({"theta": torch.tensor([-1.0])}, memory)
    # rate 1/2.5: m = .6·1 − .4 = .2, s = .6·2 + .4 = 1.6, q = .04/1.6 = .025.
    torch.testing.assert_close(move["theta"], torch.tensor([0.025 / 1.6**0.5]))


@pytest.mark.parametrize("make", [lambda: Sgd(0.0), lambda: Momentum(0.1, 1.0), lambda: Adam(beta2=1.5)])
def test_hyper_parameters_are_checked(make):
    with pytest.raises(ValueError, match="must"):
        make()
