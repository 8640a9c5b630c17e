"""The task's own network, trained on what was shown for many epochs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Params
from l2l_cli.learners.refit.base import Array, Predictor, Refit
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.tasks.base import Task


class Sets(NamedTuple):
    """Data sets side by side, padded by zeros: inputs (E, n, D), targets (E, n, 1), and which are fitted to, (E, n)."""

    inputs: Tensor
    targets: Tensor
    fitted: Tensor


class ManyEpochs(Refit):
    """Fit the task's model to the examples by many full-batch steps of a rule, and stop early.

    How many epochs are best is found by cross-validation: networks that start from the same θ_0 and each leave out one
    fold are trained side by side, until the mean loss on what they leave out has not improved for some epochs.  Then
    the network is trained anew on all examples for that many epochs, again from θ_0.

    Source: Bosc 2016, §3, which leaves this comparison to future work; the protocol is ours.

    Args:
        task: Its model is fitted under its loss.
        rule: That moves the parameters.
        epochs: At most.
        patience: Epochs without improvement after which training stops.
        folds: Parts of the examples, each left out once; fewer where there are fewer examples.
        initial_seed: Of θ_0, which differs from data set to data set.
        growth: See ``Refit``.
    """

    together = 64

    def __init__(
        self,
        task: Task,
        rule: Optimizer[Any],
        epochs: int = 500,
        patience: int = 50,
        folds: int = 5,
        initial_seed: int = 0,
        growth: float | None = None,
    ) -> None:
        super().__init__(task, growth)
        if min(epochs, patience) < 1 or folds < 2:
            raise ValueError(
                f"epochs and patience must be at least 1 and folds 2, not {epochs}, {patience} and {folds}"
            )
        self.rule = rule.requires_grad_(False)
        self.epochs, self.patience, self.folds, self.initial_seed = epochs, patience, folds, initial_seed

    def fit(self, inputs: Array, targets: Array) -> Predictor:
        """Fit to one data set."""
        return self.fit_all([(inputs, targets)])[0]

    def fit_all(self, examples: Sequence[tuple[Array, Array]]) -> list[Predictor]:
        """Fit to several data sets side by side."""
        sets, start = _side_by_side(examples), self._start(examples)
        params = self._after(start, sets, self._best_epochs(start, sets))
        return [self._predictor({name: value[[row]] for name, value in params.items()}) for row in range(len(examples))]

    def _start(self, examples: Sequence[tuple[Array, Array]]) -> Params:
        """Draw each data set's θ_0, from its content, so that it depends on no other data set."""
        seeds = [hashlib.blake2b(x.tobytes() + y.tobytes()).hexdigest() for x, y in examples]
        drawn = [self.task.model.init(1, generator(self.initial_seed, "many_epochs", seed)) for seed in seeds]
        return {name: torch.cat([params[name] for params in drawn]) for name in drawn[0]}

    def _best_epochs(self, params: Params, sets: Sets) -> Tensor:
        """Return how many epochs leave the least loss on what is left out, (E,)."""
        count, (episodes, size) = self.folds, sets.fitted.shape
        fold = (torch.arange(size) % count == torch.arange(count)[:, None]).to(sets.fitted)[:, None]
        out = (sets.fitted * fold).flatten(0, 1)
        whole = Sets(*(value.repeat(count, *[1] * (value.dim() - 1)) for value in sets))
        inner = whole._replace(fitted=whole.fitted - out)
        params = {name: value.repeat(count, *[1] * (value.dim() - 1)) for name, value in params.items()}
        memory, least = self.rule.init(params), torch.full((episodes,), torch.inf)
        best, stale = torch.zeros(episodes, dtype=torch.int64), torch.zeros(episodes, dtype=torch.int64)
        for epoch in range(self.epochs + 1):
            point = self._point(params, inner)
            with torch.no_grad():
                losses = out * self._losses(point.outputs, inner.targets)
                held = _mean(losses.view(count, episodes, size).sum(0), sets.fitted)
                better = (held < least) & (stale < self.patience)  # one whose time is over does not come back
                least, best = torch.where(better, held, least), torch.where(better, epoch, best)
                stale = torch.where(better, 0, stale + 1)
            if (stale >= self.patience).all():
                break
            params, memory = self._moved(point, memory)
        return best

    def _after(self, params: Params, sets: Sets, epochs: Tensor) -> Params:
        """Return the parameters after so many epochs, (E,)."""
        memory = self.rule.init(params)
        for epoch in range(int(epochs.max())):
            moved, memory = self._moved(self._point(params, sets), memory)
            params = _where(epochs > epoch, moved, params)
        return params

    def _point(self, params: Params, sets: Sets) -> Point:
        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return _mean(self._losses(outputs, targets), sets.fitted)

        return Point(self.task.model, loss, params, Batch(sets.inputs, sets.targets))

    def _moved(self, point: Point, memory: Any) -> tuple[Params, Any]:
        with torch.no_grad():
            return self.rule.step(point, memory)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example, (E, n)."""
        flat = (value.flatten(0, 1).unsqueeze(1) for value in (outputs, targets))
        return self.task.loss(*flat).view(outputs.shape[:2])

    def _predictor(self, params: Params) -> Predictor:
        kind = next(iter(params.values()))

        def answer(inputs: Array) -> Array:
            with torch.no_grad():
                outputs = self.task.model(params, torch.from_numpy(inputs).to(kind).unsqueeze(0))
            return np.asarray(outputs[0, :, 0].double())

        return answer


def _side_by_side(examples: Sequence[tuple[Array, Array]]) -> Sets:
    sizes = torch.tensor([len(y) for _, y in examples])
    shape = len(examples), int(sizes.max())
    inputs, targets = torch.zeros(*shape, examples[0][0].shape[1]), torch.zeros(*shape, 1)
    for row, (x, y) in enumerate(examples):
        inputs[row, : len(y)], targets[row, : len(y), 0] = torch.from_numpy(x), torch.from_numpy(y)
    return Sets(inputs, targets, (torch.arange(shape[1]) < sizes[:, None]).to(inputs))


def _mean(losses: Tensor, mask: Tensor) -> Tensor:
    """Average each data set's losses (E, n) where its mask is 1, (E,)."""
    return torch.where(mask > 0, losses, 0.0).sum(1) / mask.sum(1).clamp(min=1.0)


def _where(chosen: Tensor, one: Params, other: Params) -> Params:
    """Return each data set's parameters from ``one`` where it is chosen, (E,), and from ``other`` elsewhere."""
    return {
        name: torch.where(chosen.view(-1, *[1] * (value.dim() - 1)), value, other[name]) for name, value in one.items()
    }
