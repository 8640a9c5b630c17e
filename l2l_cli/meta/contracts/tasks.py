"""The contract of a task; see README, "Add a task"."""

from __future__ import annotations

import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Params, Phase, Spec
from l2l_cli.meta.contracts.data import EPISODES, check_data, sampled
from l2l_cli.meta.contracts.hidden import check_nothing_hidden
from l2l_cli.meta.contracts.refusal import calling, refuse
from l2l_cli.meta.contracts.trying import copied, differing, drawn, repeated, without_dropout
from l2l_cli.models.model import Model
from l2l_cli.tasks.base import Task

ATTRIBUTES = {
    "spec": (Spec, "self.spec = Spec(inputs=(…), targets=(…), examples=N)"),
    "model": (Model, "self.model = Model(module, gaussian(0.1))"),
    "horizon": (int, "self.horizon = 100, the number of steps of an episode"),
}


def check_task(task: Task) -> None:
    """Check that a task keeps its contract, on three steps of two episodes, as in ``check_task(Rosenbrock())``.

    Batches are pure functions of seed, step and split, have the shapes of ``spec`` and differ by seed and phase;
    the loss is finite, differentiable and separate for each episode; nothing changes its arguments; the network has all
    of its modules registered and gives the same outputs when it is called again.

    Args:
        task: Task to be checked.

    Raises:
        ContractError: It breaks its contract; the message names the class, the line at fault and the remedy.
    """
    if not isinstance(task, Task):
        refuse(task, "", "is not a task", "derive it from l2l_cli.tasks.base.Task")
    for name, (kind, cure) in ATTRIBUTES.items():
        value = getattr(task, name, None)
        if not isinstance(value, kind) or isinstance(value, bool):
            found = "has no" if value is None else f"has a {type(value).__name__} for"
            refuse(task, "__init__", f"{found} `{name}`", f"set it in the constructor, as in {cure}")
    if task.horizon < 1:
        refuse(task, "__init__", f"has horizon {task.horizon}", "an episode has at least one step")
    check_data(task)
    check_nothing_hidden(task.model.module)
    batch = sampled(task, EPISODES, 0, Phase.META_TRAIN).batch(0)
    with torch.no_grad(), drawn(0):
        params = _check_start(task)
        outputs = _check_network(task, params, batch)
        _check_loss(task, outputs, batch)
    _check_derivative(task, outputs, batch)


def _check_start(task: Task) -> Params:
    """Return θ₀ after checking that it is drawn from the given generator."""
    module = task.model.module
    cure = "an initializer is a function (name, shape, rng) -> Tensor that draws from `rng` alone"
    with without_dropout(module):
        params = repeated(task.model.initializer, "", lambda: task.model.init(EPISODES, generator(0)), cure)
    for name, value in params.items():
        if value.shape[0] != EPISODES or not value.is_floating_point():
            problem = f"gives {name} of shape {tuple(value.shape)} and type {value.dtype}"
            refuse(task.model.initializer, "", problem, "return floating-point numbers of the shape that it is given")
    return params


def _check_network(task: Task, params: Params, batch: Batch) -> Tensor:
    module = task.model.module

    def answer() -> Tensor:
        return task.model(params, batch.inputs)

    with calling(module, "forward"):
        answer()  # the very first call may differ, since it shows how the network has to be called
    cure = "hold all that changes in parameters, and draw nothing except by nn.Dropout"
    with without_dropout(module):
        outputs: Tensor = repeated(module, "forward", answer, cure)
    if outputs.shape[:2] != (EPISODES, task.spec.examples):
        problem = f"gives outputs of shape {tuple(outputs.shape[1:])} for {task.spec.examples} examples"
        refuse(module, "forward", problem, "it maps (examples, …) to (examples, …)")
    return outputs


def _check_loss(task: Task, outputs: Tensor, batch: Batch) -> None:
    def each(outputs: Tensor, targets: Tensor) -> Tensor:
        with calling(task, "loss"):
            found: object = task.loss(outputs, targets)
        if not isinstance(found, Tensor) or found.shape != outputs.shape[:1]:
            shape = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            problem = f"returns {shape} for outputs of {len(outputs)} episodes"
            refuse(task, "loss", problem, "average over all axes but the first: value.flatten(1).mean(1)")
        return found

    before = copied((outputs, batch))
    losses = each(outputs, batch.targets)
    if differing(before, (outputs, batch)):
        refuse(task, "loss", "changes its arguments in place", "make new tensors, as in outputs - targets")
    if not losses.isfinite().all():
        refuse(task, "loss", f"is {losses.tolist()} at the first θ₀", "it must be finite there; look for √0")
    doubled = each(torch.cat([outputs, outputs]), torch.cat([batch.targets, batch.targets]))
    other = each(_first_for_all(outputs), _first_for_all(batch.targets))
    if not torch.allclose(other[0], losses[0]) or not torch.allclose(doubled[:EPISODES], losses):
        refuse(task, "loss", "mixes episodes", "average over all axes but the first: value.flatten(1).mean(1)")
    with calling(task, "metrics"):
        metrics: object = task.metrics(outputs, batch.targets)
    if not isinstance(metrics, dict) or any(value.shape != (EPISODES,) for value in metrics.values()):
        refuse(task, "metrics", "does not return tensors (episodes,) by name", "average over all axes but the first")


def _first_for_all(value: Tensor) -> Tensor:
    """Return a batch in which every episode is the first one."""
    return torch.stack([value[0]] * len(value))


def _check_derivative(task: Task, outputs: Tensor, batch: Batch) -> None:
    free = outputs.detach().requires_grad_()
    with calling(task, "loss"):
        losses = task.loss(free, batch.targets)
    if not losses.requires_grad:
        problem = "does not depend on the outputs in a differentiable way"
        refuse(task, "loss", problem, "compute it with torch, without .item(), .detach() or a comparison")
