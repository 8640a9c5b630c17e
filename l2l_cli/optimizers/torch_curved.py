"""Rules that need curvature, hand-made or learned, as torch optimizers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Batch
from l2l_cli.models.closure import Closure, ClosureNetwork
from l2l_cli.models.fittable import check
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.schedule import rate_of
from l2l_cli.optimizers.torch_form import HALF, Part, TorchForm, moved, shown


class CurvatureOptimizer(TorchForm):
    """A rule that needs curvature, as a torch optimizer.

    A step takes a closure of no arguments that computes outputs and loss of the current batch, and returns both:

        def closure():
            outputs = net(x)
            return outputs, loss_fn(outputs, y)

        optimizer.step(closure)

    The closure does not call ``backward()``: the optimizer differentiates by itself, and leaves every ``grad`` as it
    was.  The closure may be called more than once a step, and must compute the same each time; dropout draws the same
    numbers, and only the first call updates running statistics.  The loss must depend on parameters only through the
    outputs, so a penalty on weights is refused.

    All parameters that are not frozen when the optimizer is made form one group; any that are frozen later stay where
    they are.  K-FAC, which works by layers, refuses types of layers that it does not know, and layers that are called
    twice in a pass, share parameters with another one, or do not map a tensor to a tensor, such as recurrent layers.
    MLHF refuses types of parameters for which it has no networks.  All rules refuse layers without second derivatives.

    Args:
        network: Network that the closure calls.
        rule: The rule.
        lr: Learning rate; None is the rule's own.
        horizon: Number of steps of the training, for rules that plan for the end.

    Raises:
        UsageError: The network cannot be fitted (see ``models.fittable``), has half-precision parameters or none to
            fit, or is a ``DistributedDataParallel``.
    """

    def __init__(
        self, network: nn.Module, rule: Optimizer[Any], lr: float | None = None, horizon: int | None = None
    ) -> None:
        name = type(rule).__name__
        if isinstance(network, nn.parallel.DistributedDataParallel):
            raise UsageError(
                f"{name} differentiates by itself, and DistributedDataParallel cannot sum that; train in one "
                "process, or by `l2l meta-train hardware.replicas`"
            )
        fitted = {key: value for key, value in network.named_parameters() if value.requires_grad}
        half = [key for key, value in fitted.items() if value.dtype in HALF]
        if half:
            raise UsageError(
                f"{name} solves for curvature in float32 or float64, and {half[0]} is neither: use .float()"
            )
        check(network, fitted)
        if not fitted:
            raise UsageError(
                f"{name}: {type(network).__name__} has no parameters to fit; all are frozen, or there are none"
            )
        self._network = network
        super().__init__([*fitted.items()], rule, lr, horizon)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add the only group of parameters.

        Raises:
            UsageError: There is a group already.
        """
        if self.param_groups:
            raise UsageError(
                f"{type(self.rule).__name__} has one group of parameters, whose curvature it takes together; freeze "
                "with requires_grad_(False) what is not to be moved"
            )
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Make a step, and return the loss before it, ().

        Raises:
            UsageError: There is no closure, it returns something other than outputs and loss, or the network has a
                layer that the rule cannot take.
        """
        if closure is None:
            raise UsageError(
                f"{type(self.rule).__name__} needs curvature: give step a closure that returns outputs and loss, as "
                "in `def closure(): outputs = net(x); return outputs, loss_fn(outputs, y)`"
            )
        (group,) = self.param_groups
        own = dict(zip(group["param_names"], group["params"], strict=True))
        part = self._part(own)
        network, nothing = ClosureNetwork(self._network, own.keys(), closure), torch.zeros(1, 1)
        point = Point(network, network.loss, shown(own), Batch(nothing, nothing), curvature=network.curvature)
        memory, rate = self._memory(part), float(group["lr"])
        rule = self._rule(part.device, rate)
        after, memory = rule.step(point, memory)
        self._remember(part, memory)
        still = {name for name in own if name in point.unreached or not own[name].requires_grad}
        moving = {name: value for name, value in own.items() if name not in still}
        moved(moving, after, 1.0 if rate_of(rule) is not None else rate)
        return point.loss.detach()[0]

    def _part(self, params: dict[str, Tensor]) -> Part:
        if not self._kept(0):
            self._keep(0, [{"places": [*range(len(params))], "memory": {}}])
        return Part((0, 0), self.param_groups[0], params)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled, which includes the network."""
        return {**super().__getstate__(), "_network": self._network}
