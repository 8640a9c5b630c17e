"""An optimizer as a learner: it fits the task's model to the examples, one step a batch."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Generator, Tensor

from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.learners.base import Learner
from l2l_cli.learners.fast.unroll_cpu import FastDescent, can_compile
from l2l_cli.learners.fast.unroll_cuda import CudaUnroll, can_unroll
from l2l_cli.models.point import Point, SecondOrder
from l2l_cli.optimizers.averaging import GlobalAveragingLSTM
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.parallel.replicated import Replicated
from l2l_cli.tasks.base import Task


class DescentState(NamedTuple):
    """The model's parameters, (E, ...) each, and whatever the optimizer remembers."""

    params: Params
    memory: Any


class Descent(Learner[DescentState]):
    """Answer with the model as it stands, then let the optimizer move it.

    Where targets are hidden the parameters stay, whatever the optimizer would do.  To the optimizer the surface is flat
    there, so that its memory never depends on a hidden target; time goes on for it, as in a decaying velocity.

    Args:
        task: Its model is what is fitted.
        rule: Hand-made or learned; a learned rule's weights are this learner's φ.
        second_order: Let meta-gradients flow through the gradients that the rule is shown (the paper: false); "ggn"
            takes the Gauss-Newton matrix for the Hessian.
        visited: Share of the blocks of 64 coordinates that the CPU's kernels back-propagate through, drawn anew for
            each window so that the meta-gradient is unbiased; None is all.  Deviation: ours; with thousands of
            coordinates their sum hardly suffers, and the backward pass is three quarters of the work.
    """

    def __init__(
        self, task: Task, rule: Optimizer[Any], second_order: SecondOrder = False, visited: float | None = None
    ) -> None:
        super().__init__(task)
        if visited is not None and not 0 < visited <= 1:
            raise ValueError(f"visited must be a share in (0, 1] or null, not {visited}")
        self.rule = rule
        self.fast = True
        self.second_order = second_order
        self.visited = visited
        self._fast = FastDescent(task, rule, visited) if can_compile(rule) else None
        self._graphs: CudaUnroll | None = None

    def init(self, episodes: int, rng: Generator) -> DescentState:
        """Draw θ_0 for each episode."""
        params = self.task.model.init(episodes, rng)
        return DescentState(params, self.rule.init(params))

    def looks(self, state: DescentState) -> Tensor | None:
        """Return what the rule counts."""
        return self.rule.extra_evaluations(state.memory)

    def on(self, task: Task) -> Self:
        """Return this rule on another task's model, of whatever size."""
        twin = super().on(task)
        twin._graphs = None
        if self._fast is not None:
            twin._fast = FastDescent(task, self._fast.rule, self.visited, self._fast.arenas)
        return twin

    def step(self, state: DescentState, batch: Batch) -> tuple[DescentState, Tensor]:
        """Answer with θ_t, then move to θ_{t+1}."""
        if self._fast is not None and not torch.is_grad_enabled() and self.kernels == "numba":
            after, answer = self._fast.step(*state, batch)
            return DescentState(*after), answer
        point = Point(self.task.model, self.task.loss, state.params, batch, self.second_order, self.task.curvature)
        params, memory = self.rule.step(point, state.memory)
        if batch.shown is not None:
            params = {name: _where(batch.shown, value, point.params[name]) for name, value in params.items()}
        answer = point.outputs if torch.is_grad_enabled() else point.outputs.detach()
        return DescentState(params, memory), answer

    def losses(self, state: DescentState, batches: Batches) -> tuple[DescentState, Tensor]:
        """Return the losses of T steps, by the compiled path if the rule has one and its gradient is stopped."""
        if self._fast is None or not self.is_compiled:
            return super().losses(state, batches)
        path: FastDescent | CudaUnroll = self._fast
        if self.kernels == "triton" and not isinstance(self._fast.rule, PerType):
            path = self._graphs = self._graphs or CudaUnroll(self.task, self._fast.rule, self.state_dtype)
        after, losses = path.losses(*state, batches)
        return DescentState(*after), losses

    @property
    def fast(self) -> bool:
        """As every learner's; the rule is told."""
        return self.rule.fast

    @fast.setter
    def fast(self, value: bool) -> None:
        self.rule.fast = value

    @property
    def kernels(self) -> str:
        """Compiled ones where the rule has some, is where they run, and its gradient is stopped."""
        if not self.fast:
            return "reference"
        if isinstance(self.rule, MLHF):
            return self.rule.kernels
        if self._fast is None:
            averaging = any(isinstance(part, GlobalAveragingLSTM) for part in self.rule.modules())
            reason = ": global averaging cells mix coordinates, which the kernels take one by one"
            return f"reference{reason if averaging else ''}"
        if isinstance(self.task.model, Replicated):
            return "reference: hardware.replicas divide the batch, and the kernels answer it in one process"
        if self.task.spec.hides:
            return "reference: the task hides targets, and to the kernels every step shows them"
        if self.second_order:
            return "reference: second_order differentiates the gradients too, which the kernels take as data"
        value = next(self.rule.parameters())
        if value.device.type == "cpu":
            return "numba"
        if isinstance(self._fast.rule, PerType):
            return "reference: the GPU's kernels know one LSTM for all parameters, not one for each type"
        return "triton" if value.device.type == "cuda" and can_unroll(self._fast.rule) else "reference"

    def predict(self, state: DescentState, inputs: Tensor) -> Tensor:
        """Answer with θ_t."""
        return self.task.model(state.params, inputs)


def _where(shown: Tensor, moved: Tensor, old: Tensor) -> Tensor:
    """Return the moved parameters (E, ...) of the episodes that are shown their targets, and the old ones of others."""
    return torch.where(shown.view(-1, *[1] * (old.dim() - 1)) > 0, moved, old)
