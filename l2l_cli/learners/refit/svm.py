"""Support vector machines by scikit-learn, their decision values turned into probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, LinearSVC

from l2l_cli.learners.refit.base import Array, Predictor, Refit, classes_of, share
from l2l_cli.learners.refit.cross_validation import STRENGTHS, Fold, cross_entropy, folds_of, grid
from l2l_cli.optimizers.base import positive
from l2l_cli.tasks.base import Task


class Svm(Refit):
    """P(y = 1 | x) = σ(a·f(x) + b), f the decision function of a support vector machine.

    For each C the decision values of held-out folds are calibrated by Platt's method; the C whose calibrated
    probabilities have the least cross-entropy is chosen, its machine fitted to all examples, and its calibration kept.
    Where a class has a single member there is nothing to calibrate with, and the answer is Laplace's (k + 1) / (n + 2).

    The linear machine minimises squared hinges, which is a thousand times quicker at C = 1000 than hinges and here a
    little better.

    Source: Bosc 2016, §3; Platt 1999.
    Deviation: the paper does not say how an SVM has a cross-entropy, nor C, γ and k; all that is ours.

    Args:
        task: Its targets must be 0 or 1.
        kernel: "linear", or "rbf": exp(−γ·|x − x′|²).
        gamma: γ; None is 1 / D, D the number of inputs.
        strengths: Values of C to choose from.
        folds: Parts of the examples, each held out once; fewer where a class has fewer members.
        growth: See ``Refit``.
    """

    def __init__(
        self,
        task: Task,
        kernel: Literal["linear", "rbf"] = "rbf",
        gamma: float | None = None,
        strengths: Sequence[float] = STRENGTHS,
        folds: int = 3,
        growth: float | None = None,
    ) -> None:
        super().__init__(task, growth)
        grid(strengths, folds)
        if gamma is not None:
            positive(gamma=gamma)
        self.kernel, self.strengths, self.folds = kernel, tuple(strengths), folds
        self.gamma = 1.0 / task.spec.inputs[0] if gamma is None else gamma

    def fit(self, inputs: Array, targets: Array) -> Predictor:
        """Choose C, fit to all examples, calibrate."""
        classes = classes_of(targets)
        folds = folds_of(classes, self.folds)
        if not folds:
            return share(targets)
        found = {}
        for strength in self.strengths:
            values = self._held_out(strength, inputs, classes, folds)
            slope, offset = platt(values, classes)
            found[cross_entropy(expit(slope * values + offset), classes)] = strength, slope, offset
        strength, slope, offset = found[min(found)]
        machine = self._machine(strength, inputs, classes)
        return lambda asked: np.asarray(expit(slope * machine.decision_function(asked) + offset))

    def _held_out(self, strength: float, inputs: Array, classes: NDArray[np.int64], folds: list[Fold]) -> Array:
        """Return the decision value of each example, (n,), by the machine that has not seen it."""
        values = np.empty(len(classes))
        for rest, fold in folds:
            values[fold] = self._machine(strength, inputs[rest], classes[rest]).decision_function(inputs[fold])
        return values

    def _machine(self, strength: float, inputs: Array, classes: NDArray[np.int64]) -> SVC | LinearSVC:
        if self.kernel == "linear":
            # It penalises the offset too; as the weight of an input of 10 it is all but free.
            model = LinearSVC(C=strength, dual=False, intercept_scaling=10.0, tol=1e-3, max_iter=10_000)
            with warnings.catch_warnings():
                # Where few examples can be separated and C is large, Newton's steps end at the last digit of the loss
                # and not by its criterion.  Held-out examples judge the machine either way.
                warnings.simplefilter("ignore", ConvergenceWarning)
                return model.fit(inputs, classes)
        return SVC(C=strength, gamma=self.gamma).fit(inputs, classes)


def platt(values: Array, classes: NDArray[np.int64]) -> tuple[float, float]:
    """Return slope and offset of σ(slope · value + offset) that fit decision values (n,) to classes (n,) best.

    Newton's method with halved steps.  Targets are (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2), so that the fit is finite.
    Deviation: a slope below 0, which would say that the machine errs on purpose, is set to 0.

    Source: Platt 1999; Lin, Lin and Weng 2007, algorithm 1.
    """
    ones, zeros = int(classes.sum()), int((1 - classes).sum())
    targets = np.where(classes == 1, (ones + 1.0) / (ones + 2.0), 1.0 / (zeros + 2.0))
    scale = float(values.std()) or 1.0
    design = np.stack([values / scale, np.ones(len(values))], 1)

    def loss(at: Array) -> float:
        logits = design @ at
        return float((np.logaddexp(0.0, logits) - targets * logits).sum())

    at = np.array([0.0, np.log((ones + 1.0) / (zeros + 1.0))])
    for _ in range(50):
        answers = expit(design @ at)
        grad = design.T @ (answers - targets)
        curvature = (design * (answers * (1.0 - answers))[:, None]).T @ design + 1e-10 * np.eye(2)
        move, length = np.linalg.solve(curvature, grad), 1.0
        while loss(at - length * move) > loss(at) and length > 1e-8:
            length /= 2.0
        at = at - length * move
        if np.abs(grad).max() < 1e-8 * len(values):
            break
    if at[0] < 0.0:
        mean = targets.mean()
        return 0.0, float(np.log(mean / (1.0 - mean)))
    return float(at[0] / scale), float(at[1])
