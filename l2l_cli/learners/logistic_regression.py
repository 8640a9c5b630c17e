"""Logistic regression, refitted by scikit-learn as examples come in."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from torch import Tensor

from l2l_cli.learners.refit import Array, Refit
from l2l_cli.optimizers.base import positive
from l2l_cli.tasks.base import Task


class LogisticRegression(Refit):
    """P(y = 1 | x) = σ(w·x + b) with an L2 penalty; a fit is (w, b).

    A target between 0 and 1 enters as two weighted examples, one of each class.

    Args:
        task: One target in [0, 1] an example.
        c: Inverse strength of the penalty.
        growth: See ``Refit``.
    """

    def __init__(self, task: Task, c: float = 1.0, growth: float = 0.05) -> None:
        super().__init__(task, growth)
        positive(c=c)
        self.c = c

    def blank(self, features: int) -> Array:
        """Answer ½ everywhere."""
        return np.zeros(features + 1)

    def fit(self, inputs: Array, targets: Array) -> Array:
        """Minimise the penalised cross-entropy."""
        model = SklearnLogisticRegression(C=self.c, max_iter=1000)
        classes = np.repeat([1, 0], len(targets))
        model.fit(np.concatenate([inputs, inputs]), classes, np.concatenate([targets, 1.0 - targets]))
        return np.append(model.coef_[0], model.intercept_)

    def answer(self, fit: Tensor, inputs: Tensor) -> Tensor:
        """Evaluate the logistic function."""
        return torch.sigmoid((inputs * fit[:, None, :-1]).sum(-1) + fit[:, None, -1])
