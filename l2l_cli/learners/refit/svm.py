"""Support vector machines by scikit-learn, with decision values calibrated to probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, LinearSVC

from l2l_cli.learners.refit.base import Array, Predictor, Refit, classes_of, laplace
from l2l_cli.learners.refit.cross_validation import STRENGTHS, Fold, check_choices, cross_entropy, folds_of
from l2l_cli.optimizers.base import positive
from l2l_cli.tasks.base import Task


class Svm(Refit):
    """P(y = 1 | x) = σ(a·f(x) + b), f the decision function of a support vector machine.

    For each C the decision values of held-out folds are calibrated by Platt's method; the C whose calibrated
    probabilities have the least cross-entropy is chosen, its machine fitted to all examples, and its calibration kept.
    Where a class has a single member, so that calibration is impossible, the answer is Laplace's (k + 1) / (n + 2).

    The linear machine minimises the squared hinge loss, which at C = 1000 is a thousand times faster than the hinge
    loss, and slightly better on these tasks.

    Source: Bosc 2016, §3; Platt 1999.
    Deviation: the paper does not say how an SVM's cross-entropy is computed, nor does it give C, γ and k; all these are
    ours.

    Args:
        task: Task whose targets are 0 or 1.
        kernel: Kernel of the machine: "linear", or "rbf", which is exp(−γ·|x − x′|²).
        gamma: Kernel parameter γ; None is 1 / D for D inputs.
        strengths: Values of C to choose from.
        folds: Number of parts of the examples, each held out once; fewer where a class has fewer members.
        growth: Growth of the examples until the next fit, as in ``Refit``.
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
        check_choices(strengths, folds)
        if gamma is not None:
            positive(gamma=gamma)
        self.kernel, self.strengths, self.folds = kernel, tuple(strengths), folds
        self.gamma = 1.0 / task.spec.inputs[0] if gamma is None else gamma

    def fit(self, inputs: Array, targets: Array) -> Predictor:
        """Choose C, fit to all examples, calibrate."""
        classes = classes_of(targets)
        folds = folds_of(classes, self.folds)
        if not folds:
            return laplace(targets)
        by_loss = {}
        for strength in self.strengths:
            values = self._held_out(strength, inputs, classes, folds)
            slope, offset = platt(values, classes)
            by_loss[cross_entropy(expit(slope * values + offset), classes)] = strength, slope, offset
        strength, slope, offset = by_loss[min(by_loss)]
        machine = self._machine(strength, inputs, classes)
        return lambda queries: np.asarray(expit(slope * machine.decision_function(queries) + offset))

    def _held_out(self, strength: float, inputs: Array, classes: NDArray[np.int64], folds: list[Fold]) -> Array:
        """Return the decision value of each example, (n,), by the machine that has not seen it."""
        values = np.empty(len(classes))
        for rest, fold in folds:
            values[fold] = self._machine(strength, inputs[rest], classes[rest]).decision_function(inputs[fold])
        return values

    def _machine(self, strength: float, inputs: Array, classes: NDArray[np.int64]) -> SVC | LinearSVC:
        if self.kernel == "linear":
            # It penalises the offset too, but hardly if it is the weight of a constant input of 10.
            model = LinearSVC(C=strength, dual=False, intercept_scaling=10.0, tol=1e-3, max_iter=10_000)
            with warnings.catch_warnings():
                # Where few examples can be separated and C is large, Newton's method reaches the last digit of the
                # loss before its own criterion holds.  Held-out examples judge the machine in either case.
                warnings.simplefilter("ignore", ConvergenceWarning)
                return model.fit(inputs, classes)
        return SVC(C=strength, gamma=self.gamma).fit(inputs, classes)


def platt(values: Array, classes: NDArray[np.int64]) -> tuple[float, float]:
    """Return slope and offset of σ(slope · value + offset) that best fit decision values (n,) to classes (n,).

    They are found by Newton's method with halved steps.  Targets are (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2), so that the
    fit is finite.

    Deviation: a slope below 0, which would reverse the machine's decisions, is set to 0.

    Source: Platt 1999; Lin, Lin and Weng 2007, algorithm 1.
    """
    ones, zeros = int(classes.sum()), int((1 - classes).sum())
    targets = np.where(classes == 1, (ones + 1.0) / (ones + 2.0), 1.0 / (zeros + 2.0))
    scale = float(values.std()) or 1.0
    design = np.stack([values / scale, np.ones(len(values))], 1)

    def loss(line: Array) -> float:
        logits = design @ line
        return float((np.logaddexp(0.0, logits) - targets * logits).sum())

    line = np.array([0.0, np.log((ones + 1.0) / (zeros + 1.0))])
    for _ in range(50):
        answers = expit(design @ line)
        grad = design.T @ (answers - targets)
        curvature = (design * (answers * (1.0 - answers))[:, None]).T @ design + 1e-10 * np.eye(2)
        move, length = np.linalg.solve(curvature, grad), 1.0
        while loss(line - length * move) > loss(line) and length > 1e-8:
            length /= 2.0
        line = line - length * move
        if np.abs(grad).max() < 1e-8 * len(values):
            break
    if line[0] < 0.0:
        mean = targets.mean()
        return 0.0, float(np.log(mean / (1.0 - mean)))
    return float(line[0] / scale), float(line[1])
