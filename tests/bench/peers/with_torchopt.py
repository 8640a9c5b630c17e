"""The meta-step in TorchOpt: the learned rule as a gradient transformation, used functionally."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
import torchopt
from torch import Tensor
from torch.func import functional_call
from torchopt.base import GradientTransformation

from tests.bench.peers.protocol import serve
from tests.bench.peers.torch_rule import MetaStep, Rule, States


def learned(rule: Rule) -> GradientTransformation:
    """Return the rule as a pair of pure functions; updates and parameters are tuples of tensors."""

    def update(updates: Any, state: States, *, params: Any = None, inplace: bool = True) -> tuple[Any, States]:
        del params, inplace
        moves, state = rule(updates, state)
        return tuple(moves), state

    return GradientTransformation(rule.initial, update)


class TorchOpt(MetaStep):
    """The functional interface: unlike ``MetaOptimizer`` it lets the gradients be plain ones."""

    def meta_loss(self) -> Tensor:
        """Return the mean of the losses over steps and episodes."""
        names = [name for name, _ in self.optimizee.named_parameters()]
        params = tuple(value.detach().requires_grad_() for value in self.optimizee.parameters())
        transformation = torchopt.chain(learned(self.rule))
        state, losses = transformation.init(params), []
        for inputs, targets in zip(self.inputs, self.targets, strict=True):
            loss = functional_call(self.optimizee, dict(zip(names, params, strict=True)), (inputs, targets))
            losses.append(loss)
            gradients = torch.autograd.grad(loss.sum(), params, retain_graph=True)
            moves, state = transformation.update(gradients, state, params=params, inplace=False)
            params = torchopt.apply_updates(params, moves, inplace=False)
        return torch.stack(losses).mean()


if __name__ == "__main__":
    serve(partial(TorchOpt, plain="plain" in sys.argv))
