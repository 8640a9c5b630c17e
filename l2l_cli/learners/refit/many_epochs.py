"""The task's own network, trained for many epochs on all examples seen so far."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Batch, Params
from l2l_cli.core.vectors import choose
from l2l_cli.learners.refit.base import Array, Predictor, Refit
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Memory, Optimizer
from l2l_cli.tasks.base import Task


class DataSets(NamedTuple):
    """Data sets side by side, zero-padded: inputs (E, n, D), targets (E, n, 1), mask of fitted examples (E, n)."""

    inputs: Tensor
    targets: Tensor
    fitted: Tensor


class ManyEpochs(Refit):
    """A fit of the task's model to the examples by many full-batch steps of a rule, with early stopping.

    The number of epochs is cross-validated: networks that start from the same θ₀ and each leave out one fold are
    trained side by side, until the mean held-out loss has not improved for ``patience`` epochs.  Then the network is
    trained on all examples for the best number of epochs, again from θ₀.

    Source: Bosc 2016, §3, which leaves this comparison to future work; the protocol is ours.

    Args:
        task: Task whose model is fitted under its loss.
        rule: Rule that moves the parameters.
        epochs: Largest number of epochs.
        patience: Epochs without improvement after which training stops.
        folds: Number of parts of the examples, each left out once; fewer where there are fewer examples.
        initial_seed: Seed of θ₀, which differs from data set to data set.
        growth: Growth of the examples until the next fit, as in ``Refit``.
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
        """Draw each data set's θ₀, seeded by its content, so that it depends on no other data set."""
        seeds = [hashlib.blake2b(x.tobytes() + y.tobytes()).hexdigest() for x, y in examples]
        drawn = [self.task.model.init(1, generator(self.initial_seed, "many_epochs", seed)) for seed in seeds]
        return {name: torch.cat([params[name] for params in drawn]) for name in drawn[0]}

    def _best_epochs(self, params: Params, sets: DataSets) -> Tensor:
        """Return the numbers of epochs with the least held-out loss, (E,)."""
        count, (episodes, size) = self.folds, sets.fitted.shape
        fold = (torch.arange(size) % count == torch.arange(count)[:, None]).to(sets.fitted)[:, None]
        held_out = (sets.fitted * fold).flatten(0, 1)
        whole = tree_map(lambda value: torch.cat([value] * count), sets)
        inner = whole._replace(fitted=whole.fitted - held_out)
        params = tree_map(lambda value: torch.cat([value] * count), params)
        memory, least = self.rule.init(params), torch.full((episodes,), torch.inf)
        best, stale = torch.zeros(episodes, dtype=torch.int64), torch.zeros(episodes, dtype=torch.int64)
        for epoch in range(self.epochs + 1):
            point = self._point(params, inner)
            with torch.no_grad():
                losses = held_out * self._losses(point.outputs, inner.targets)
                mean = _mean(losses.view(count, episodes, size).sum(0), sets.fitted)
                better = (mean < least) & (stale < self.patience)  # once its patience has run out, a data set is done
                least, best = torch.where(better, mean, least), torch.where(better, epoch, best)
                stale = torch.where(better, 0, stale + 1)
            if (stale >= self.patience).all():
                break
            params, memory = self._moved(point, memory)
        return best

    def _after(self, params: Params, sets: DataSets, epochs: Tensor) -> Params:
        """Return the parameters after these numbers of epochs, (E,)."""
        memory = self.rule.init(params)
        for epoch in range(int(epochs.max())):
            moved, memory = self._moved(self._point(params, sets), memory)
            params = {name: choose(epochs > epoch, value, params[name]) for name, value in moved.items()}
        return params

    def _point(self, params: Params, sets: DataSets) -> Point:
        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return _mean(self._losses(outputs, targets), sets.fitted)

        return Point(self.task.model, loss, params, Batch(sets.inputs, sets.targets))

    def _moved(self, point: Point, memory: Memory) -> tuple[Params, Memory]:
        with torch.no_grad():
            return self.rule.step(point, memory)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example, (E, n)."""
        flat = (value.flatten(0, 1).unsqueeze(1) for value in (outputs, targets))
        return self.task.loss(*flat).view(outputs.shape[:2])

    def _predictor(self, params: Params) -> Predictor:
        like = next(iter(params.values()))

        def answer(inputs: Array) -> Array:
            with torch.no_grad():
                outputs = self.task.model(params, torch.from_numpy(inputs).to(like).unsqueeze(0))
            return np.asarray(outputs[0, :, 0].double())

        return answer


def _side_by_side(examples: Sequence[tuple[Array, Array]]) -> DataSets:
    sizes = torch.tensor([len(y) for _, y in examples])
    shape = len(examples), int(sizes.max())
    inputs, targets = torch.zeros(*shape, examples[0][0].shape[1]), torch.zeros(*shape, 1)
    for row, (x, y) in enumerate(examples):
        inputs[row, : len(y)], targets[row, : len(y), 0] = torch.from_numpy(x), torch.from_numpy(y)
    return DataSets(inputs, targets, (torch.arange(shape[1]) < sizes[:, None]).to(inputs))


def _mean(losses: Tensor, mask: Tensor) -> Tensor:
    """Average each data set's losses (E, n) where its mask is 1, (E,)."""
    return torch.where(mask > 0, losses, 0.0).sum(1) / mask.sum(1).clamp(min=1.0)
