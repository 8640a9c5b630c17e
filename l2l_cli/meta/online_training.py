"""Training by an online rule, with the seeds of one configuration side by side in a kernel's lanes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.kernels.seeds.layers import BATCH, ONLINE, EpochData
from l2l_cli.kernels.simd.compiled import announce
from l2l_cli.kernels.simd.registers import Array, lanes_of
from l2l_cli.kernels.threads import flushed
from l2l_cli.learners.base import Learner
from l2l_cli.meta.gradient import set_phi
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.rules import MODES, OnlineRule
from l2l_cli.meta.training import Training, Update, Validation
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.sgd import Sgd


class OnlineTraining(Training):
    """Training of one learner by a rule that moves its weights itself; an update is an epoch.  See ``Training``.

    The last weights are kept, not the best on validation: the paper has no validation.  The optimizer must be plain
    gradient descent; the rule takes its learning rate and nothing else from it.

    Raises:
        ValueError: The learner has no φ, or the rule does not fit it, or the optimizer is not ``Sgd``.
    """

    def __init__(
        self, learner: Learner[Any], rule: OnlineRule, optimizer: FirstOrder[Any], plan: MetaPlan, seed: int
    ) -> None:
        super().__init__(learner, plan, seed)
        if not isinstance(optimizer, Sgd):
            raise ValueError(
                "online rules update the weights themselves and need optimizer=sgd, whose lr they use, not "
                f"{type(optimizer).__name__}"
            )
        self.rule = rule
        self.kernel = rule.kernel(learner)
        self.rate = optimizer.lr
        self._lanes: _Lanes | None = None

    def together_with(self, company: Sequence[OnlineTraining]) -> None:
        """Share the lanes with other seeds of the same configuration, at the same epoch.

        They take turns: the first to ask for an epoch computes it for all.
        """
        if len(company) > self.kernel.lanes:
            raise ValueError(f"{self.kernel.lanes} seeds fit side by side, not {len(company)}")
        lanes = _Lanes(company)
        for training in company:
            training._lanes = lanes

    @property
    def kept(self) -> int:
        """Number of all updates so far, since the last weights are kept."""
        return self.number

    def update(self) -> Update:
        """Present all sequences once."""
        if self._lanes is None:
            self.together_with([self])
        assert self._lanes is not None
        loss = self._lanes.loss(self)
        self.number += 1
        if math.isfinite(loss):
            self.note(loss)
        return Update(self.number, loss)

    def finish(self) -> None:
        """Give the learner its last weights."""
        self._sync()

    def validate(self) -> Validation:
        """Score the current weights."""
        self._sync()
        return super().validate()

    def tree(self) -> dict[str, Any]:
        """Return φ, which is all that a resumed run needs: the state is zero between epochs."""
        self._sync()
        return {"phi": self.phi()}

    def take(self, tree: dict[str, Any]) -> None:
        """Do nothing: the tree holds only φ, which is set already."""

    def _sync(self) -> None:
        if self._lanes is not None:
            set_phi(self.learner, self._lanes.phi(self))


class _Lanes:
    """The weights of some learners in a kernel's arrays, and epochs that are computed for all at once."""

    def __init__(self, company: Sequence[OnlineTraining]) -> None:
        first = company[0]
        if len({training.number for training in company}) > 1:
            raise ValueError("learners side by side must be at the same epoch")
        self._company = list(company)
        self._rule, self._kernel, self._plan = first.rule, first.kernel, first.plan
        self._mode = MODES[self._rule.update]
        self._dtype = next(first.learner.parameters()).detach().cpu().numpy().dtype
        module, sizes, lanes = self._kernel.module, self._kernel.sizes, self._kernel.lanes
        self._net = module.network(sizes, lanes, self._dtype, self._mode == ONLINE)
        self._rate = np.zeros((1, lanes), self._dtype)
        for lane, training in enumerate(company):
            self._rate[0, lane] = -training.rate
            for array, value in self._pairs(training, lane):
                array[:] = value.detach().cpu().numpy()
        if self._mode == ONLINE:
            self._net.rate[:] = self._rate
        self._number = first.number
        self._losses = np.zeros(lanes)
        self._data: tuple[int, Array, Array] | None = None
        announce(module.epoch, module.__name__.rpartition(".")[2])

    def loss(self, training: OnlineTraining) -> float:
        """Return a learner's mean squared error over its next epoch, measured before each move."""
        if training.number == self._number:
            self._present()
        return float(self._losses[self._company.index(training)])

    def phi(self, training: OnlineTraining) -> dict[str, Tensor]:
        """Return a learner's weights."""
        lane = self._company.index(training)
        pairs = zip(self._kernel.names, self._pairs(training, lane), strict=True)
        return {name: torch.from_numpy(array.copy()) for name, (array, _) in pairs}

    def _pairs(self, training: OnlineTraining, lane: int) -> list[tuple[Array, Tensor]]:
        """Return each weight's place in the lane, (rows, sources), and the learner's parameter."""
        values = [getattr(training.learner, name) for name in self._kernel.names]
        arrays = [getattr(self._net, name) for name in self._kernel.names]
        return [(array[:, : value.shape[1], lane], value) for array, value in zip(arrays, values, strict=True)]

    def _present(self) -> None:
        done = self._number / self._plan.updates
        task = self._company[0].learner.task
        steps = self._rule.horizon.draw(done, task.horizon, generator(0, "horizon", self._number))
        inputs, targets = self._sequences(steps)
        errors = np.zeros(targets.shape[::2], self._dtype)
        module, sizes, lanes = self._kernel.module, self._kernel.sizes, lanes_of(self._kernel.lanes, self._dtype)
        data = EpochData(inputs, targets, self._rate, self._mode, self._rule.half, errors)
        with flushed:
            module.epoch(self._net, sizes, data, lanes)
            if self._mode == BATCH:
                module.move(self._net, self._rate, lanes)
        self._losses = errors.mean(0, dtype=np.float64) / steps
        self._number += 1

    def _sequences(self, steps: int) -> tuple[Array, Array]:
        """Return inputs (N, T, D, L) and targets (N, T, L) of the next epoch."""
        fixed = self._company[0].learner.task.training_set() is not None
        if fixed and self._data is not None and self._data[0] == steps:
            return self._data[1:]
        for lane, training in enumerate(self._company):
            batches = self._rule.presentation(training.learner, training.seed, self._number).batches(0, steps)
            x, y = batches.inputs.flatten(2).transpose(0, 1), batches.targets.flatten(1).T
            if lane == 0:
                inputs, targets = (np.zeros((*value.shape, self._kernel.lanes), self._dtype) for value in (x, y))
            inputs[..., lane], targets[..., lane] = x.cpu().numpy(), y.cpu().numpy()
        self._data = steps, inputs, targets
        return inputs, targets
