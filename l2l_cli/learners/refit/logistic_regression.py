"""Logistic regression by scikit-learn, with a given penalty or a cross-validated one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

from l2l_cli.learners.refit.base import Array, Predictor, Refit, classes_of
from l2l_cli.learners.refit.cross_validation import STRENGTHS, check_choices, cross_entropy, folds_of
from l2l_cli.optimizers.base import positive
from l2l_cli.tasks.base import Task

Penalty = Literal["l1", "l2"]


class LogisticRegression(Refit):
    """P(y = 1 | x) = σ(w·x + b) with an L2 penalty.

    A target between 0 and 1 enters as two weighted examples, one of each class.

    Args:
        task: Task with one target in [0, 1] for each example.
        c: Inverse strength C of the penalty.
        growth: Growth of the examples until the next fit, as in ``Refit``.
    """

    def __init__(self, task: Task, c: float = 1.0, growth: float | None = 0.05) -> None:
        super().__init__(task, growth)
        positive(c=c)
        self.c = c

    def fit(self, inputs: Array, targets: Array) -> Predictor:
        """Minimise the penalised cross-entropy."""
        model = SklearnLogisticRegression(C=self.c, max_iter=1000)
        classes = np.repeat([1, 0], len(targets))
        model.fit(np.concatenate([inputs, inputs]), classes, np.concatenate([targets, 1.0 - targets]))
        return _predictor(model)


class CrossValidatedLogisticRegression(Refit):
    """P(y = 1 | x) = σ(w·x + b), its penalty and the penalty's strength chosen by cross-validated cross-entropy.

    Where a class has a single member, so that validation is impossible, the last penalty is used at the middle
    strength.

    Source: Bosc 2016, §3 (L1 or L2, C by k-fold cross-validation; its grid and its k are not known).

    Args:
        task: Task whose targets are 0 or 1.
        penalties: Penalties to choose from.
        strengths: Values of C, the inverse strength, to choose from.
        folds: Number of parts of the examples, each held out once; fewer where a class has fewer members.
        growth: Growth of the examples until the next fit, as in ``Refit``.
    """

    def __init__(
        self,
        task: Task,
        penalties: Sequence[Penalty] = ("l1", "l2"),
        strengths: Sequence[float] = STRENGTHS,
        folds: int = 3,
        growth: float | None = None,
    ) -> None:
        super().__init__(task, growth)
        check_choices(strengths, folds)
        if not penalties:
            raise ValueError("penalties must name l1, l2 or both")
        self.penalties, self.strengths, self.folds = tuple(penalties), tuple(strengths), folds

    def fit(self, inputs: Array, targets: Array) -> Predictor:
        """Choose, then fit to all examples."""
        classes = classes_of(targets)
        folds = folds_of(classes, self.folds)
        penalty, strength = self.penalties[-1], self.strengths[len(self.strengths) // 2]
        if folds:
            losses = {}
            for setting in itertools.product(self.penalties, self.strengths):
                answers = np.empty(len(classes))
                for rest, fold in folds:
                    answers[fold] = _predictor(_fitted(*setting, inputs[rest], classes[rest]))(inputs[fold])
                losses[setting] = cross_entropy(answers, classes)
            penalty, strength = min(losses, key=losses.__getitem__)
        return _predictor(_fitted(penalty, strength, inputs, classes))


def _fitted(penalty: Penalty, strength: float, inputs: Array, classes: NDArray[np.int64]) -> SklearnLogisticRegression:
    if penalty == "l2":
        model = SklearnLogisticRegression(C=strength, solver="newton-cholesky", max_iter=1000)
    else:  # liblinear penalises the intercept too, but hardly if it is the weight of a constant input of 100
        model = SklearnLogisticRegression(
            C=strength, l1_ratio=1, solver="liblinear", intercept_scaling=100.0, max_iter=10000, random_state=0
        )
    return model.fit(inputs, classes)


def _predictor(model: SklearnLogisticRegression) -> Predictor:
    weights, offset = model.coef_[0], model.intercept_[0]
    return lambda inputs: np.asarray(expit(inputs @ weights + offset))
