"""Any subclass of ``torch.optim.Optimizer`` as a learner, with an optimizer object for each episode."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.errors import UsageError
from l2l_cli.core.global_draws import Draws
from l2l_cli.core.random import generator, integers
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.learners.base import Learner, Read
from l2l_cli.models.point import Point
from l2l_cli.optimizers.schedule import Schedule, factor
from l2l_cli.optimizers.torch_classes import Fit, Recipe, is_switched
from l2l_cli.tasks.base import Task

SECONDS = 2e-4
"""Rough number of seconds that an optimizer takes for a step of one episode, besides the gradient."""


class TorchOptimState(NamedTuple):
    """The optimizers of all episodes, and the parameters that they have reached.

    Attributes:
        params: Parameters of the model that answers, (E, ...) each.
        memory: Optimizers and the parameters that they train, packed into bytes, (E, L) with zeros at the end.
        sizes: Number of bytes of each episode's part of ``memory``, (E,); 0 before the first step.
        steps: Number of steps so far, ().
        seed: Seed of the optimizers' random draws, ().
        evaluations: Evaluations beyond one gradient per step, (E,).
    """

    params: Params
    memory: Tensor
    sizes: Tensor
    steps: Tensor
    seed: Tensor
    evaluations: Tensor


class TorchOptim(Learner[TorchOptimState]):
    """A learner that answers with the task's model, then lets each episode's own optimizer take a step.

    The gradients of all episodes are computed side by side, and the optimizers take their steps one after the other.
    At hidden targets an episode takes no step.  An optimizer that calls its closure at further points gets the losses
    on the step's batch, and each call counts as an extra evaluation.  An optimizer with ``train()`` and ``eval()``,
    such as Schedule-Free, takes gradients at the parameters of the first mode and answers with those of the second; an
    answer never counts as an evaluation.

    Args:
        task: Task whose model is fitted.
        optimizer: Class of the optimizers.
        options: Arguments of the class by name; beta1, beta2, … are the entries of ``betas``.
        others: Class for the parameters that are not matrices, for an ``optimizer`` that takes only matrices, as Muon
            does; None leaves all parameters to ``optimizer``.
        others_options: Arguments of that class; its ``lr`` is that of ``options`` unless given here.
        schedule: Course of the learning rates over the episode: they stay constant, or fall to zero along half a cosine
            or a straight line; steps that hide their target count too.
        episode_steps: Steps of the episodes, at whose end a schedule reaches zero; None is the task's horizon.

    Raises:
        UsageError: A class has no such option, or refuses an option or the model's parameters.
    """

    follows: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        optimizer: type[torch.optim.Optimizer],
        options: dict[str, Any] | None = None,
        others: type[torch.optim.Optimizer] | None = None,
        others_options: dict[str, Any] | None = None,
        schedule: Schedule = "constant",
        *,
        episode_steps: int | None = None,
    ) -> None:
        super().__init__(task)
        if others is None and others_options:
            raise ValueError("others_options need a class in others, as in others=torch.optim.AdamW")
        options = options or {}
        self.recipes = [Recipe(optimizer, options, "learner.options")]
        if others is not None:
            shared = {name: value for name, value in options.items() if name == "lr"}
            self.recipes.append(Recipe(others, shared | (others_options or {}), "learner.others_options"))
        self.schedule, self.episode_steps = schedule, episode_steps
        self._switched = any(is_switched(recipe.kind) for recipe in self.recipes)
        self._try()

    def optimizers(self, params: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
        """Return new optimizers of one network's parameters: one for all, or one for the matrices and one for the rest.

        Raises:
            UsageError: A class refuses its parameters, or there are no matrices for the one that takes only them.
        """
        shares = [params]
        if len(self.recipes) > 1:
            shares = [[value for value in params if (value.dim() == 2) is own] for own in (True, False)]
        if not shares[0]:
            raise UsageError(
                f"learner.optimizer: {self.recipes[0].kind.__name__} is to move the matrices, but the network of "
                f"{type(self.task).__name__} has none; name the class of learner.others as learner.optimizer"
            )
        return [recipe(share) for recipe, share in zip(self.recipes, shares, strict=True) if share]

    def step_seconds(self, episodes: int) -> float:
        """Return roughly how many seconds a step takes: gradients of the task's model, and the optimizers' own work."""
        return self.task.step_seconds(episodes) + episodes * SECONDS

    def init(self, episodes: int, rng: Generator) -> TorchOptimState:
        """Draw θ₀ for each episode."""
        params = self.task.model.init(episodes, rng)
        memory = torch.zeros(episodes, 0, dtype=torch.uint8, device="cpu")
        sizes = torch.zeros(episodes, dtype=torch.int64, device="cpu")
        steps = torch.zeros((), dtype=torch.int64, device="cpu")
        seed = integers((), 2**31, rng).cpu()
        return TorchOptimState(params, memory, sizes, steps, seed, torch.zeros(episodes, device="cpu"))

    def extra_evaluations(self, state: TorchOptimState) -> Tensor:
        """Return the number of evaluations at points other than that of a step's gradient, (E,)."""
        return state.evaluations

    def on(self, task: Task) -> Self:
        """Return the same optimizers on another task's model, of any size that they take."""
        twin = super().on(task)
        twin._try()
        return twin

    def step(self, state: TorchOptimState, batch: Batch) -> tuple[TorchOptimState, Tensor]:
        """Answer with θ_t, then move to θ_{t+1}."""
        after, answers = self.follow(state, lambda step: batch, 1)
        return after, answers[0]

    def unroll(self, state: TorchOptimState, batches: Batches) -> tuple[TorchOptimState, Tensor]:
        """Step through T batches; see ``follow``."""
        return self.follow(state, batches.at, batches.steps)

    @torch.no_grad()
    def follow(self, state: TorchOptimState, read: Read, steps: int) -> tuple[TorchOptimState, Tensor]:
        """Step through T batches with one copy of the optimizers, which is packed after the last."""
        fits, params, evaluations = self._fits(state), state.params, state.evaluations.clone()
        answers, seed, begun = [], int(state.seed), int(state.steps)
        for step in range(begun, begun + steps):
            draws = Draws(seed, "optimizer", step)
            if self.schedule != "constant":
                for fit in fits:
                    fit.scale_rates(factor(self.schedule, step, self.episode_steps or self.task.horizon))
            params, answer = self._stepped(fits, params, read(step - begun), draws, evaluations)
            answers.append(answer)
        packed = [torch.frombuffer(bytearray(fit.packed()), dtype=torch.uint8) for fit in fits]
        memory = nn.utils.rnn.pad_sequence(packed, batch_first=True)
        sizes = torch.tensor([len(one) for one in packed], device="cpu")
        after = TorchOptimState(params, memory, sizes, state.steps + steps, state.seed, evaluations)
        return after, torch.stack(answers)

    def predict(self, state: TorchOptimState, inputs: Tensor) -> Tensor:
        """Answer with θ_t."""
        return self.task.model(state.params, inputs)

    def _stepped(
        self, fits: list[Fit], params: Params, batch: Batch, draws: Draws, evaluations: Tensor
    ) -> tuple[Params, Tensor]:
        """Let the optimizers step, count their evaluations, and return the next parameters and this step's answer."""
        learns = [shown > 0 for shown in batch.shown.tolist()] if batch.shown is not None else [True] * len(fits)
        moving = [fit for fit, moves in zip(fits, learns, strict=True) if moves]
        at = params
        if self._switched:
            for fit in moving:
                fit.switch("train")
            at = _side_by_side(fits)
        point = Point(self.task.model, self.task.loss, at, batch)
        surface = _Surface(self.task, point, batch)
        with draws:
            for episode, fit in enumerate(fits):
                if learns[episode]:
                    evaluations[episode] += surface.moved(fit, episode)
        answer = self.task.model(params, batch.inputs) if self._switched else point.outputs.detach()
        for fit in moving if self._switched else ():
            fit.switch("eval")
        return _side_by_side(fits), answer

    def _fits(self, state: TorchOptimState) -> list[Fit]:
        """Return a copy of each episode's optimizers, or new ones."""
        if not state.memory.shape[1]:
            return [
                self._new({name: value[e] for name, value in state.params.items()}) for e in range(len(state.sizes))
            ]
        rows = zip(state.memory, state.sizes.tolist(), strict=True)
        return [Fit.unpacked(row[:size].numpy().tobytes()) for row, size in rows]

    def _new(self, start: Params) -> Fit:
        """Return new optimizers of one episode.

        Raises:
            UsageError: A class refuses its parameters, or has no learning rate to schedule.
        """
        params = {
            name: nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format))
            for name, value in start.items()
        }
        fit = Fit(params, self.optimizers([*params.values()]))
        rates = [group.get("lr") for optimizer in fit.optimizers for group in optimizer.param_groups]
        if self.schedule != "constant" and None in rates:
            raise UsageError("learner.schedule needs a learning rate to lower, but the class has none in its groups")
        return fit

    def _try(self) -> None:
        """Build the optimizers of one episode, so that wrong options are refused before anything is tuned."""
        start = self.task.model.init(1, generator(0))
        self._new({name: value[0] for name, value in start.items()})


class _Surface:
    """The losses of all episodes at one step, for optimizers that evaluate their own once or several times."""

    def __init__(self, task: Task, point: Point, batch: Batch) -> None:
        self._task, self._point, self._batch = task, point, batch
        self._losses = point.loss.detach()

    def moved(self, fit: Fit, episode: int) -> int:
        """Let the optimizers of an episode move, and return the number of their extra evaluations."""
        looked = 0

        def closure() -> Tensor:
            nonlocal looked
            if fit.stand_at({name: value[episode] for name, value in self._point.params.items()}):
                fit.set_gradients(self._gradients(self._point, episode))
                return self._losses[episode].clone()
            looked += 1
            inputs, targets = (value[episode : episode + 1] for value in self._batch[:2])
            params = {name: value.detach()[None] for name, value in fit.params.items()}
            there = Point(self._task.model, self._task.loss, params, Batch(inputs, targets))
            fit.set_gradients(self._gradients(there, 0))
            return there.loss[0].detach()

        fit.set_gradients(self._gradients(self._point, episode))
        fit.step(closure)
        return looked

    @staticmethod
    def _gradients(point: Point, episode: int) -> dict[str, Tensor | None]:
        return {
            name: None if name in point.unreached else value[episode].clone(memory_format=torch.contiguous_format)
            for name, value in point.grad.items()
        }


def _side_by_side(fits: list[Fit]) -> Params:
    """Return the current parameters of all episodes, (E, ...) each."""
    return {name: torch.stack([fit.params[name].detach() for fit in fits]) for name in fits[0].params}
