"""The contract of a learner; see README, "Add a learner"."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Batch, Batches, Phase
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.contracts.data import EPISODES, STEPS
from l2l_cli.meta.contracts.hidden import attributes_of, changed_attributes, check_nothing_hidden
from l2l_cli.meta.contracts.reached import check_reached
from l2l_cli.meta.contracts.refusal import calling, refuse
from l2l_cli.meta.contracts.rules import check_displacement
from l2l_cli.meta.contracts.trying import copied, differing, drawn, repeated, without_dropout
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import FirstOrder, Optimizer

DRAWN = "draw from the generator that init gets, and keep what is drawn in the state"
STATE = "keep all that is acquired in the state that step returns, a NamedTuple of tensors"


def check_learner(learner: Learner[Any], differentiated: bool = True) -> None:
    """Check that a learner keeps its contract, on a few steps of two episodes of its task.

    A learner answers before it learns; its state is new at each step and holds all that is learned, separately for each
    episode; hidden targets have no effect; and every φ is registered, saved and reached by the meta-gradient.  An
    update rule is checked within a learner, as in ``check_learner(Descent(Quadratic(), SignDescent()))``.

    Args:
        learner: Learner to be checked.
        differentiated: Whether its φ is to be trained by meta-gradients rather than by evolution strategies.

    Raises:
        ContractError: It breaks its contract; the message names the class, the line at fault and the remedy.
    """
    if isinstance(learner, Optimizer):
        refuse(learner, "", "is an update rule", "check the learner that it makes: check_learner(Descent(task, rule))")
    if not isinstance(learner, Learner):
        refuse(learner, "", "is not a learner", "derive it from l2l_cli.learners.base.Learner")
    check_nothing_hidden(learner, besides=("task", "paths"))
    with torch.no_grad():
        _Check(learner).all()
    if differentiated and learner.is_meta_trained:
        check_reached(learner)


class _Check:
    """The checks of a learner that need no derivative."""

    def __init__(self, learner: Learner[Any]) -> None:
        self.learner, self.task = learner, learner.task
        self.owner = learner.rule if isinstance(learner, Descent) else learner
        self.method = "step"
        if isinstance(self.owner, FirstOrder):
            self.method = "update"
        steps = min(STEPS, self.task.horizon)
        self.data, self.others = (
            self.task.sample(EPISODES, seed, Phase.META_TRAIN).batches(0, steps) for seed in (0, 1)
        )
        self.before = attributes_of(learner)

    def all(self) -> None:
        state = self._check_init()
        if isinstance(self.learner, Descent):
            point = Point(self.task.model, self.task.loss, state.params, self.data.at(0), curvature=self.task.curvature)
            check_displacement(self.learner.rule, point, self.learner.memory_of(state))
        after = self._check_step(state)
        self._check_predict(after)
        self._check_unroll()
        self._check_losses()
        self._check_episodes()
        if self.task.spec.hides:
            self._check_hidden()

    def start(self) -> Any:
        """Return an initial state, the same each time."""
        with calling(self.owner, "init"):
            return self.learner.init(EPISODES, generator(0))

    def step(self, state: Any, batch: Batch) -> tuple[Any, Tensor]:
        """Return the state after a step, and the answer; dropout draws the same each time."""
        with calling(self.owner, self.method), drawn(0):
            found: tuple[Any, Tensor] = self.learner.step(state, batch)
            return found

    def walk(self, batches: Batches) -> tuple[Any, list[Tensor]]:
        """Step through batches."""
        state, answers = self.start(), []
        for step in range(batches.steps):
            state, answer = self.step(state, batches.at(step))
            answers.append(answer)
        return state, answers

    def _check_init(self) -> Any:
        with without_dropout(self.learner):
            repeated(self.owner, "init", lambda: _tree(self.owner, "init", self.start()), DRAWN)
        return self.start()

    def _check_step(self, state: Any) -> Any:
        batch = self.data.at(0)
        after, answer = self._stepped(state, batch)
        self._stepped(after, self.data.at(self.data.steps - 1))  # changing a zero in place may go unseen at first
        with without_dropout(self.learner, self.task.model.module):
            repeated(self.owner, self.method, lambda: self.learner.step(state, batch), DRAWN)
        self._check_answer(answer)
        other = batch._replace(targets=self.others.targets[-1])
        if differing(answer, self.step(state, other)[1]):
            problem = "gives another answer when only the targets of the same step differ"
            refuse(self.owner, self.method, problem, "answer first, then learn from batch.targets")
        return after

    def _stepped(self, state: Any, batch: Batch) -> tuple[Any, Tensor]:
        """Step, and check that nothing but the new state has changed."""
        kept = copied((state, batch))
        after, answer = self.step(state, batch)
        self._check_leaks()
        _tree(self.owner, self.method, after)
        if names := differing(kept, (state, batch)):
            problem = f"changes its arguments in place ({', '.join(names)})"
            refuse(self.owner, self.method, problem, "make new tensors, as in value + move in place of value += move")
        self._check_numbers(state, after)
        return after, answer

    def _check_answer(self, answer: object) -> None:
        shape = (EPISODES, self.task.spec.examples)
        if not isinstance(answer, Tensor) or answer.shape[:2] != shape:
            found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            problem = f"answers {found} for {EPISODES} episodes of {shape[1]} examples"
            refuse(self.owner, self.method, problem, "an answer is (episodes, examples, …), as targets are")
        with calling(self.task, "loss", f", for answers of shape {tuple(answer.shape)}"):
            self.task.loss(answer, self.data.at(0).targets)

    def _check_leaks(self) -> None:
        """Check that the learner itself has not changed."""
        if names := changed_attributes(self.before, attributes_of(self.learner)):
            problem = f"changes self.{', self.'.join(names)}, which leaks from one episode into the next"
            norms = [name for name in names if name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
            refuse(self.owner, self.method, problem, "use track_running_stats=False" if norms else STATE)

    def _check_numbers(self, before: object, after: object) -> None:
        """Check that values other than tensors do not change, because checkpoints do not hold them."""
        if type(before) is not type(after):
            problem = f"returns a {type(after).__name__} where init returns a {type(before).__name__}"
            refuse(self.owner, self.method, problem, "a state keeps its type")
        old, new = dict(_numbers(before)), dict(_numbers(after))
        if changed := [name for name in new if old.get(name) != new[name]]:
            problem = f"changes {', '.join(changed)} in the state, a Python number, which checkpoints do not hold"
            refuse(self.owner, self.method, problem, "make it a tensor")

    def _check_predict(self, state: object) -> None:
        inputs, kept = self.data.at(0).inputs, copied(state)
        with calling(self.learner, "predict"), drawn(0):
            answer = self.learner.predict(state, inputs)
        self._check_leaks()
        if differing(kept, state):
            refuse(self.learner, "predict", "changes the state in place", "answer without learning")
        if answer.shape[:2] != inputs.shape[:2]:
            problem = f"answers {tuple(answer.shape)} for inputs {tuple(inputs.shape)}"
            refuse(self.learner, "predict", problem, "an answer is (episodes, examples, …)")

    def _check_unroll(self) -> None:
        with without_dropout(self.learner, self.task.model.module):
            state, answers = self.walk(self.data)
            with calling(self.learner, "unroll"), drawn(0):
                unrolled, together = self.learner.unroll(self.start(), self.data)
        if type(unrolled) is not type(state) or together.shape != torch.stack(answers).shape:
            refuse(self.learner, "unroll", "gives other shapes than the loop over step", "do not override it")
        if not torch.allclose(together, torch.stack(answers), rtol=1e-3, atol=1e-4, equal_nan=True):
            refuse(self.learner, "unroll", "gives other answers than the loop over step", "do not override it")

    def _check_losses(self) -> None:
        """Check that the losses that training differentiates are those of the learner's steps, on any path."""
        with torch.enable_grad(), without_dropout(self.learner, self.task.model.module):
            answers = torch.stack(self.walk(self.data)[1])
            wanted = step_losses(self.task, answers, self.data.targets).detach()
            with calling(self.owner, "losses"), drawn(0):
                losses = self.learner.losses(self.start(), self.data)[1].detach()
        if not torch.allclose(losses, wanted, rtol=1e-3, atol=1e-4, equal_nan=True):
            refuse(self.learner, "losses", "gives other losses than the loop over step", "do not override it")

    def _check_episodes(self) -> None:
        """Check that the data of one episode do not affect the others."""
        inputs, targets = (
            torch.cat([own[:, :1], other[:, 1:]], 1) for own, other in zip(self.data[:2], self.others[:2], strict=True)
        )
        other = self.data._replace(inputs=inputs, targets=targets)
        (_, plain), (_, changed) = self.walk(self.data), self.walk(other)
        for one, two in zip(plain, changed, strict=True):
            if not torch.allclose(one[0], two[0], rtol=1e-4, atol=1e-5, equal_nan=True):
                problem = "mixes episodes: the answers in one depend on the data of another"
                refuse(self.owner, self.method, problem, "reduce over all axes but the first, which holds the episodes")

    def _check_hidden(self) -> None:
        hidden = self.data._replace(shown=torch.zeros(self.data.inputs.shape[:2]))
        other = hidden._replace(targets=self.others.targets)
        if differing(self.walk(hidden)[1][-1], self.walk(other)[1][-1]):
            problem = "learns from targets that are hidden"
            refuse(self.owner, self.method, problem, "leave episodes alone where batch.shown is 0")


def _tree(owner: object, method: str, state: Any) -> Any:
    """Return a state after checking that a checkpoint can hold it."""
    try:
        return tree_map(lambda value: value, state)
    except (TypeError, AttributeError) as error:
        refuse(owner, method, f"returns a state that cannot be saved: {error}", "use a NamedTuple of tensors")


def _numbers(state: object, prefix: str = "") -> list[tuple[str, object]]:
    """Return everything in a state that is not a tensor, by name."""
    items: list[tuple[str, object]] = []
    if isinstance(state, dict):
        items = [(str(name), value) for name, value in state.items()]
    elif isinstance(state, tuple):
        names = getattr(state, "_fields", range(len(state)))
        items = [(str(name), value) for name, value in zip(names, state, strict=True)]
    elif not isinstance(state, Tensor):
        return [(prefix, state)]
    return [found for name, value in items for found in _numbers(value, f"{prefix}.{name}" if prefix else name)]
