"""Rules that take gradients, hand-made or learned, as torch optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Params
from l2l_cli.models.told import told
from l2l_cli.optimizers.base import FirstOrder, Optimizer
from l2l_cli.optimizers.schedule import rate_of
from l2l_cli.optimizers.torch_form import Given, Part, TorchForm, moved, shown

Closure = Callable[[], Any]
"""Function that sets the gradients, as by ``backward()``, and returns the loss."""


class RuleOptimizer(TorchForm):
    """A rule that takes gradients, as a torch optimizer.

    It is used like any other torch optimizer, with or without a closure.  A rule that sees the loss, as a tensorwise
    mixture does, takes it from what the closure returns, from ``step(loss=loss)``, or from ``show(loss)`` before the
    step; in distributed training, it sees the mean of the processes' losses.

    A parameter whose ``grad`` is None stays where it is; the rule is shown a gradient of 0 for it.  Parameters of
    float16 and bfloat16 are moved in float32 and rounded once.  On a CPU, float32 parameters are moved by compiled
    kernels where the rule has some.

    Args:
        params: Parameters or groups of them.
        rule: The rule.
        lr: Learning rate, or factor on the displacement; None takes the rule's own rate, or 1.
        horizon: Number of steps of the training.
        compiled: Whether kernels may be used.

    Raises:
        UsageError: See ``TorchForm``.
    """

    def __init__(
        self,
        params: Given,
        rule: Optimizer[Any],
        lr: float | None = None,
        horizon: int | None = None,
        compiled: bool = True,
    ) -> None:
        self._noted: list[Tensor] = []
        self._may_compile = compiled
        super().__init__(params, rule, lr, horizon)

    def show(self, loss: Tensor | float) -> None:
        """Show the loss of the next step, for loops that call ``step()`` without it; several losses are averaged."""
        self._noted.append(_scalar(loss))

    @torch.no_grad()
    def step(self, closure: Closure | None = None, *, loss: Tensor | float | None = None) -> object:  # type: ignore[override]
        """Make a step, and return what the closure returns.

        Args:
            closure: Function that sets the gradients and returns the loss; None takes the gradients as they are.
            loss: Loss to which the gradients belong, for rules that see it.

        Raises:
            UsageError: A gradient is sparse, the loss is not a single number, or the rule sees the loss and none was
                shown.
        """
        found = None
        if closure is not None:
            with torch.enable_grad():
                found = closure()
        if loss is not None:
            self._noted = [_scalar(loss)]
        elif found is not None:
            self._noted = [_scalar(found)]
        for index, group in enumerate(self.param_groups):
            for part in self._parts(index, group):
                if any(value.grad is not None for value in part.params.values()):
                    self._move(part)
        self._noted = []
        return found

    def _move(self, part: Part) -> None:
        """Move the parameters of a part that have a gradient."""
        if self._moved_in_place(part):
            return
        params = shown(part.params)
        gradient = {name: _gradient(params[name], value) for name, value in part.params.items()}
        memory, rate = self._memory(part), float(part.group["lr"])
        rule = self._rule(part.device, rate)
        found = self._compiled(rule, gradient, params, memory)
        if found is None:
            point = told(params, gradient, lambda: self._loss(next(iter(params.values()))))
            found = rule.step(point, memory)
        after, memory = found
        self._remember(part, memory)
        moving = {name: value for name, value in part.params.items() if value.grad is not None}
        moved(moving, after, 1.0 if rate_of(rule) is not None else rate)

    def _moved_in_place(self, part: Part) -> bool:
        """Move all parameters of a part without a copy, if the rule can; return whether it could."""
        own = [*part.params.values()]
        if not self._may_compile or any(value.grad is None for value in own):
            return False
        params, gradient = [value.detach() for value in own], [_dense(value) for value in own]
        rate, loss = float(part.group["lr"]), (lambda: self._loss(own[0]))
        memory = self._rule(part.device).step_in_place(params, gradient, loss, self._memory(part), rate)
        if memory is None:
            return False
        self._remember(part, memory)
        torch.autograd.graph.increment_version(own)
        return True

    def _compiled(
        self, rule: Optimizer[Any], gradient: Params, params: Params, memory: object
    ) -> tuple[Params, object] | None:
        """Return the next parameters and memory by compiled steps, if there are any for parameters like these."""
        own = next(rule.parameters(), None)
        if not self._may_compile or own is None or not isinstance(rule, FirstOrder):
            return None
        if any(value.dtype != own.dtype or value.device != own.device for value in params.values()):
            return None
        return rule.step_compiled(gradient, params, memory)

    def _loss(self, like: Tensor) -> Tensor:
        """Return the loss, (1,), which is the mean over processes that train together.

        Raises:
            UsageError: No loss has been shown.
        """
        if not self._noted:
            raise UsageError(
                f"{type(self.rule).__name__} needs the loss: call step(loss=loss), or show(loss) before step(), or "
                "give step a closure that returns it"
            )
        first, *others = [one.to(like.device, like.dtype) for one in self._noted]
        loss = torch.stack([first, *others]).mean() if others else first
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            loss = loss / torch.distributed.get_world_size()
            torch.distributed.all_reduce(loss)
        return loss.reshape(1)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled."""
        return {**super().__getstate__(), "_may_compile": self._may_compile}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was pickled or loaded."""
        self._noted = []
        super().__setstate__(state)


def _gradient(like: Tensor, param: Tensor) -> Tensor:
    """Return the gradient of a parameter, shaped and typed as it is shown, (1, ...); 0 if it has none."""
    return torch.zeros_like(like) if param.grad is None else _dense(param).to(like.dtype).unsqueeze(0)


def _dense(param: Tensor) -> Tensor:
    """Return the gradient of a parameter, if it is dense.

    Raises:
        UsageError: It is sparse.
    """
    assert param.grad is not None
    if param.grad.layout != torch.strided:
        raise UsageError(
            f"a parameter of shape {tuple(param.shape)} has a sparse gradient, which no rule takes; make its layer "
            "with sparse=False"
        )
    return param.grad.detach()


def _scalar(loss: object) -> Tensor:
    """Return a loss as a constant, ().

    Raises:
        UsageError: It is not a single number.
    """
    value = torch.as_tensor(loss).detach() if isinstance(loss, Tensor | float | int) else None
    if value is None or value.numel() != 1:
        raise UsageError(
            f"the loss must be one number, not {tuple(value.shape) if value is not None else type(loss).__name__}; "
            "return the loss from the closure, as torch's optimizers require"
        )
    return value.reshape(())
