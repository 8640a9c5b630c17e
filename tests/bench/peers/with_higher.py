"""The meta-step in ``higher``: the learned rule as a differentiable optimizer of a patched model."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import higher
import torch
from torch import Tensor

from tests.bench.peers.protocol import serve
from tests.bench.peers.torch_rule import MetaStep


class Learned(torch.optim.Optimizer):
    """The type by which higher finds ``DifferentiableLearned``; it holds the parameters and moves nothing itself."""

    def __init__(self, params: Iterable[Tensor]) -> None:
        super().__init__(params, {"rule": None})


class DifferentiableLearned(higher.optim.DifferentiableOptimizer):
    """θ ← θ + rule(∇), in a graph that leads to the rule's weights, which come as the setting ``rule``."""

    def _update(self, grouped_grads: list[list[Tensor]], **kwargs: Any) -> None:
        del kwargs
        group, gradients, memory = self.param_groups[0], grouped_grads[0], self.state[0][0]
        states = memory.get("states") or group["rule"].initial(group["params"])
        moves, memory["states"] = group["rule"](gradients, states)
        group["params"] = [value + move for value, move in zip(group["params"], moves, strict=True)]


higher.register_optim(Learned, DifferentiableLearned)


def stopped(gradients: Iterable[Tensor]) -> list[Tensor]:
    """Take gradients as constants: higher always makes them differentiable."""
    return [value.detach() for value in gradients]


class Higher(MetaStep):
    """An inner loop of higher."""

    def meta_loss(self) -> Tensor:
        """Return the mean of the losses over steps and episodes."""
        losses = []
        context = higher.innerloop_ctx(
            self.optimizee, Learned(self.optimizee.parameters()), override={"rule": [self.rule]}
        )
        with context as (model, optimizer):
            for inputs, targets in zip(self.inputs, self.targets, strict=True):
                loss = model(inputs, targets)
                losses.append(loss)
                optimizer.step(loss.sum(), grad_callback=stopped)
        return torch.stack(losses).mean()


if __name__ == "__main__":
    serve(partial(Higher, plain="plain" in sys.argv))
