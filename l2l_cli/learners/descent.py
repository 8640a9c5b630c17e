"""An optimizer as a learner: it fits the task's model to the examples, one step per batch."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Generator, Tensor

from l2l_cli.autodiff.damping import limited
from l2l_cli.core.episodes import Pieces
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.core.vectors import choose
from l2l_cli.kernels.paths import EVERY_PATH, Path, Paths
from l2l_cli.learners.base import Learner, Read
from l2l_cli.models.point import Point, SecondOrder
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.compiled import Fitting, Unroll
from l2l_cli.optimizers.schedule import Schedule, at_step, check
from l2l_cli.parallel.replicated import Replicated
from l2l_cli.tasks.base import Task


class DescentState(NamedTuple):
    """The model's parameters, (E, ...) each, and the optimizer's memory; see ``Timed`` for schedules."""

    params: Params
    memory: Any


class Timed(NamedTuple):
    """The memory of an optimizer with a schedule, and the number of steps so far, () on the CPU."""

    memory: Any
    steps: Tensor


class Descent(Learner[DescentState]):
    """A learner that answers with the task's model, then lets an optimizer take a step.

    At hidden targets the parameters do not move, whatever the optimizer would do.  The optimizer is given a zero
    gradient there, so its memory never depends on a hidden target, but it does advance: a velocity decays, for example.

    A schedule ends with the episode, at the last step for which the rule is tuned and scored.  The loss at an earlier
    mark, or at the end of a curve that is cut there, is therefore reached before the learning rate has fallen to zero.

    Args:
        task: Task whose model is fitted.
        rule: Update rule, hand-made or learned; a learned rule's weights are this learner's φ.
        second_order: Whether meta-gradients flow through the gradients that the rule receives (the paper: false); "ggn"
            replaces the Hessian by the Gauss-Newton matrix.
        visited: Share of the blocks of 64 coordinates that the CPU's kernels back-propagate through, drawn anew for
            each window so that the meta-gradient is unbiased; None is all.  Deviation: ours; with thousands of
            coordinates the sum over them hardly gets noisier, and the backward pass is three quarters of the work.
        schedule: Course of a hand-made rule's learning rate over the episode; steps that hide their target count too.
        episode_steps: Steps of the episodes, at whose end a schedule reaches zero; None is the task's horizon.
        paths: Paths that the learner may take.
    """

    follows: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        rule: Optimizer[Any],
        second_order: SecondOrder = False,
        visited: float | None = None,
        schedule: Schedule = "constant",
        *,
        episode_steps: int | None = None,
        paths: Paths = EVERY_PATH,
    ) -> None:
        super().__init__(task, paths=paths)
        if visited is not None and not 0 < visited <= 1:
            raise ValueError(f"visited must be a share in (0, 1] or null, not {visited}")
        check(rule, schedule)
        self.rule, self.second_order, self.visited = rule, second_order, visited
        self.rho = 1.0
        self.limit: float | None = None
        self.schedule, self.episode_steps = schedule, episode_steps
        self._compiled = self._compiled_on(task)

    @property
    def applications(self) -> int:
        """Number of the model's parameters: a learned rule is applied to each."""
        return self.task.model.size

    def step_seconds(self, episodes: int) -> float:
        """Return roughly how many seconds a step takes: gradients of the task's model, and the rule's own work."""
        return super().step_seconds(episodes) + self.rule.work * self.task.step_seconds(episodes)

    def init(self, episodes: int, rng: Generator) -> DescentState:
        """Draw θ₀ for each episode."""
        params = self.task.model.init(episodes, rng)
        memory = self.rule.begin(params, self.episode_steps or self.task.horizon)
        if self.schedule != "constant":  # counted on the CPU, where reading it does not wait for a GPU
            memory = Timed(memory, torch.zeros((), dtype=torch.int64, device="cpu"))
        return DescentState(params, memory)

    def extra_evaluations(self, state: DescentState) -> Tensor | None:
        """Return the extra evaluations that the rule counts."""
        return self.rule.extra_evaluations(self.memory_of(state))

    def memory_of(self, state: DescentState) -> object:
        """Return the rule's own memory, whether its rate has a schedule or not."""
        return state.memory.memory if isinstance(state.memory, Timed) else state.memory

    @property
    def pieces(self) -> Pieces:
        """Pieces of the axes of the rule's memory."""
        one = self.task.model.init(1, generator(0))
        place = "memory" if self.schedule == "constant" else "memory.memory"
        return {f"{place}{name}": sizes for name, sizes in self.rule.pieces(one).items()}

    @property
    def is_told(self) -> bool:
        """Whether the rule plans for the end of an episode."""
        return self.rule.is_told

    def told(self, steps: int) -> Self:
        """Return this learner for episodes of ``steps`` steps, if its rule plans for their end; otherwise itself."""
        if not self.rule.is_told or steps == self.episode_steps:
            return self
        twin = copy.copy(self)
        twin.episode_steps = steps
        return twin

    def with_second_order(self, rho: float) -> Self:
        """Return this learner with a factor ``rho`` on the derivative of its gradients, whether exact or "ggn"."""
        if rho == (self.rho if self.second_order else 0.0):
            return self
        twin = copy.copy(self)
        twin.second_order = (self.second_order or True) if rho else False
        twin.rho = rho
        twin._compiled = twin._compiled_on(self.task)
        return twin

    def with_limit(self, limit: float) -> Self:
        """Return this learner with each episode's derivative with respect to θ bounded in norm at every step."""
        twin = copy.copy(self)
        twin.limit = limit
        twin._compiled = twin._compiled_on(self.task)
        return twin

    def on(self, task: Task) -> Self:
        """Return this learner on another task's model, of any size."""
        twin = super().on(task)
        twin._compiled = self._compiled_on(task)
        return twin

    def _compiled_on(self, task: Task) -> Unroll[Any] | Path:
        if self.schedule != "constant":
            return Path(why_not=f"the learning rate follows schedule={self.schedule}, which no compiled path knows")
        divided = isinstance(task.model, Replicated)
        return self.rule.compiled(
            Fitting(
                task.model, task.loss, self.second_order, task.spec.hides, divided, self.visited, self.paths, self.limit
            )
        )

    def step(self, state: DescentState, batch: Batch) -> tuple[DescentState, Tensor]:
        """Answer with θ_t, then move to θ_{t+1}."""
        if isinstance(self._compiled, Unroll) and not torch.is_grad_enabled():
            stepped = self._compiled.step(*state, batch)
            if stepped is not None:
                return DescentState(*stepped[0]), stepped[1]
        task, order = self.task, self.second_order
        params = limited(state.params, self.limit)
        point = Point(task.model, task.loss, params, batch, order, task.curvature, self.rho)
        params, memory = self._moved(point, state.memory)
        if batch.shown is not None:
            params = {name: choose(batch.shown, value, point.params[name]) for name, value in params.items()}
        answer = point.outputs if torch.is_grad_enabled() else point.outputs.detach()
        return DescentState(params, memory), answer

    def _moved(self, point: Point, memory: object) -> tuple[Params, object]:
        """Return the next parameters and memory, at the current rate of a schedule."""
        if not isinstance(memory, Timed):
            return self.rule.step(point, memory)
        rule = at_step(self.rule, self.schedule, int(memory.steps), self.episode_steps or self.task.horizon)
        params, after = rule.step(point, memory.memory)
        return params, Timed(after, memory.steps + 1)

    def unroll(self, state: DescentState, batches: Batches) -> tuple[DescentState, Tensor]:
        """Step through T batches; see ``follow``."""
        return self.follow(state, batches.at, batches.steps)

    def follow(self, state: DescentState, read: Read, steps: int) -> tuple[DescentState, Tensor]:
        """Step through T batches, on the compiled path if no gradients are recorded."""
        if isinstance(self._compiled, Unroll) and not torch.is_grad_enabled():
            unrolled = self._compiled.answers(*state, read, steps)
            if unrolled is not None:
                return DescentState(*unrolled[0]), unrolled[1]
        return super().follow(state, read, steps)

    def losses(self, state: DescentState, batches: Batches) -> tuple[DescentState, Tensor]:
        """Return the losses of T steps, by the compiled path if the rule has one and its gradient is stopped."""
        if not isinstance(self._compiled, Unroll):
            return super().losses(state, batches)
        after, losses = self._compiled.losses(*state, batches)
        return DescentState(*after), losses

    @property
    def path(self) -> Path:
        """The compiled path that the rule provides, or why it provides none here."""
        return self._compiled.path if isinstance(self._compiled, Unroll) else self._compiled

    def predict(self, state: DescentState, inputs: Tensor) -> Tensor:
        """Answer with θ_t."""
        return self.task.model(state.params, inputs)
