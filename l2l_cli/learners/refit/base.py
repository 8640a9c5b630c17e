"""Learners that refit a classical model to all examples seen so far."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Batch, Batches
from l2l_cli.learners.base import Learner
from l2l_cli.tasks.base import Task

Array = NDArray[np.float64]

Predictor = Callable[[Array], Array]
"""A fit: a map from inputs (N, D) to answers (N,)."""

CACHED = 2048
"""Number of fits that are cached; a state holds the examples of its fit, so a dropped fit can be recomputed."""


class Examples(NamedTuple):
    """The examples whose targets were shown, (E, n, D) and (E, n), zero where an episode has fewer than n.

    ``known`` is the number of examples of each episode and ``fitted`` the number that its current fit uses, both (E,).
    """

    inputs: Tensor
    targets: Tensor
    known: Tensor
    fitted: Tensor


class Refit(Learner[Examples], ABC):
    """A learner that answers with its current fit, appends the examples whose targets are shown, and fits again.

    A fit is a pure function of its examples, which are in the state; the fit itself need not be a tensor and is not
    part of it.  Where all examples are of one class, the answer is (k + 1) / (n + 2), Laplace's rule of succession for
    k ones among n, and ½ without examples.

    Args:
        task: Task with one target in [0, 1] for each example.
        growth: Relative growth of the number of examples after which a new fit is made; 0 fits at every step.  Hidden
            targets, and the inputs of ``predict``, are always answered with a fit to all examples.  None makes only
            these fits, and answers ½ before the first.

    Raises:
        ValueError: The task has other shapes; growth is negative, or None where nothing is hidden.
    """

    together: int = 1
    """Number of fits that ``fit_all`` makes side by side."""

    def __init__(self, task: Task, growth: float | None) -> None:
        super().__init__(task)
        if len(task.spec.inputs) != 1 or task.spec.targets != (1,):
            raise ValueError(
                f"{type(self).__name__} needs vectors with one target each; {type(task).__name__} has inputs "
                f"{task.spec.inputs} and targets {task.spec.targets}"
            )
        if growth is None and not task.spec.hides:
            raise ValueError(
                f"growth=null fits where targets become hidden, but {type(task).__name__} hides none; give the share "
                "by which examples grow until the next fit, as in growth=0.1"
            )
        if growth is not None and growth < 0:
            raise ValueError(f"growth must be at least 0, not {growth}")
        self.growth = growth
        self._fits: OrderedDict[bytes, Predictor] = OrderedDict()

    @abstractmethod
    def fit(self, inputs: Array, targets: Array) -> Predictor:
        """Fit to inputs (n, D) and targets (n,) of both classes."""

    def fit_all(self, examples: Sequence[tuple[Array, Array]]) -> list[Predictor]:
        """Fit to each of several sets of examples."""
        return [self.fit(*pair) for pair in examples]

    def on(self, task: Task) -> Self:
        """Return this learner on another task, with an empty cache of fits."""
        twin = super().on(task)
        twin._fits = OrderedDict()
        return twin

    def init(self, episodes: int, rng: Generator) -> Examples:
        """Start without examples."""
        del rng
        zero = torch.zeros(episodes, dtype=torch.int64)
        features = self.task.spec.inputs[0]
        return Examples(torch.empty(episodes, 0, features), torch.empty(episodes, 0), zero, zero.clone())

    def step(self, state: Examples, batch: Batch) -> tuple[Examples, Tensor]:
        """Answer, append the examples, and refit if it is due."""
        shown = None if batch.shown is None else batch.shown[None]
        state, answers = self.unroll(state, Batches(batch.inputs[None], batch.targets[None], shown))
        return state, answers[0]

    @torch.no_grad()
    def unroll(self, state: Examples, batches: Batches) -> tuple[Examples, Tensor]:
        """Make each fit of the window once, and answer all of its steps with it."""
        steps, episodes, size = batches.inputs.shape[:3]
        shown = torch.ones(steps, episodes) if batches.shown is None else batches.shown
        shown = shown.to(device=state.known.device, dtype=torch.bool)
        used, fitted, known = [], state.fitted, state.known
        for mask in shown:
            fitted = torch.where(mask, fitted, known)
            used.append(fitted)
            known = known + size * mask
            if self.growth is not None:
                fitted = torch.where(mask & (known > fitted * (1.0 + self.growth)), known, fitted)
        inputs, targets = _appended(state, batches, shown, known)
        after = Examples(inputs, targets, known, fitted)
        return after, self._answers(after, torch.stack(used), batches.inputs)

    def predict(self, state: Examples, inputs: Tensor) -> Tensor:
        """Answer with a fit to all examples, (E, N, 1)."""
        return self._answers(state, state.known[None], inputs[None])[0]

    def _answers(self, state: Examples, used: Tensor, inputs: Tensor) -> Tensor:
        """Answer inputs (T, E, N, D) with fits to the first ``used`` (T, E) examples of each episode, (T, E, N, 1)."""
        queries, sizes = inputs.double().cpu().numpy(), used.cpu().numpy()
        x, y = (value.double().cpu().numpy() for value in state[:2])
        answers = np.zeros(queries.shape[:3])
        # Sorted by size, so that fits which are made side by side have about the same number of examples.
        needed = sorted((n, row) for row, column in enumerate(sizes.T) for n in np.unique(column))
        # For matrices of this size, NumPy's own threads would occupy all cores and be slower.
        with threadpool_limits(torch.get_num_threads(), "blas"):
            for first in range(0, len(needed), self.together):
                group = needed[first : first + self.together]
                fits = self._predictors([(x[row, :n], y[row, :n]) for n, row in group])
                for (n, row), fit in zip(group, fits, strict=True):
                    steps = sizes[:, row] == n
                    queried = queries[steps, row]
                    answers[steps, row] = fit(queried.reshape(-1, queried.shape[-1])).reshape(queried.shape[:2])
        return torch.from_numpy(answers).to(inputs).unsqueeze(-1)

    def _predictors(self, examples: list[tuple[Array, Array]]) -> list[Predictor]:
        """Return a fit to each set of examples, from the cache or new."""
        keys = [hashlib.blake2b(x.tobytes() + b"/" + y.tobytes()).digest() for x, y in examples]
        fits = {key: self._fits[key] for key in keys if key in self._fits}
        pairs = zip(keys, examples, strict=True)
        fits |= {key: laplace(y) for key, (_, y) in pairs if not (len(y) and y.max() > 0 and y.min() < 1)}
        missing = {key: pair for key, pair in zip(keys, examples, strict=True) if key not in fits}
        if missing:
            fits |= zip(missing, self.fit_all(list(missing.values())), strict=True)
        for key in keys:
            self._fits[key] = fits[key]
            self._fits.move_to_end(key)
        while len(self._fits) > CACHED:
            self._fits.popitem(last=False)
        return [fits[key] for key in keys]


def classes_of(targets: Array) -> NDArray[np.int64]:
    """Return targets as classes, (n,).

    Raises:
        UsageError: One of them is neither 0 nor 1.
    """
    classes = targets.astype(np.int64)
    if (classes != targets).any():
        raise UsageError(
            f"this learner tells two classes apart, but met the target {targets[classes != targets][0]:.3g}; choose a "
            "task whose targets are 0 or 1, or learner=logistic_regression"
        )
    return classes


def laplace(targets: Array) -> Predictor:
    """Return Laplace's rule of succession as a predictor."""
    value = (targets.sum() + 1.0) / (len(targets) + 2.0)
    return lambda inputs: np.full(len(inputs), value)


def _appended(state: Examples, batches: Batches, shown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs (E, n, D) and targets (E, n) with those that a window shows, (T, E), appended to each episode."""
    episodes, length, features = state.inputs.shape
    added = max(0, int(known.max()) - length)
    inputs = torch.cat([state.inputs, state.inputs.new_zeros(episodes, added, features)], 1)
    targets = torch.cat([state.targets, state.targets.new_zeros(episodes, added)], 1)
    mask = shown.T.repeat_interleave(batches.inputs.shape[2], 1)
    row, step = mask.nonzero(as_tuple=True)
    index = (state.known[:, None] + mask.cumsum(1) - 1)[row, step]
    inputs[row, index] = batches.inputs.transpose(0, 1).flatten(1, 2)[row, step].to(inputs)
    targets[row, index] = batches.targets[..., 0].transpose(0, 1).flatten(1, 2)[row, step].to(targets)
    return inputs, targets
