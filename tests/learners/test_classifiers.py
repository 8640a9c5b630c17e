"""Classical classifiers against scikit-learn asked directly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.linear_model import LogisticRegression as Reference
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import SVC

from l2l_cli.learners.refit.gaussian_process import GaussianProcess
from l2l_cli.learners.refit.logistic_regression import CrossValidatedLogisticRegression
from l2l_cli.learners.refit.svm import Svm, platt
from l2l_cli.tasks.halfplanes import Halfplanes

TASK = Halfplanes(dimension=3)
ASKED = np.random.default_rng(1).normal(size=(7, 3))


def examples(count=60, seed=0, linear=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    if linear:
        return x, (x[:, 0] + rng.normal(size=count) > 0.3).astype(float)
    return x, ((x[:, 0] > 0.3) ^ (x[:, 1] > 0.5) ^ (rng.random(count) < 0.1)).astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_penalty_and_strength_are_those_of_least_held_out_loss(seed):
    x, y = examples(seed=seed, linear=True)
    models = {}
    for strength in (0.01, 0.1, 10.0):
        models["l2", strength] = Reference(C=strength, tol=1e-8)
        models["l1", strength] = Reference(C=strength, l1_ratio=1, solver="saga", tol=1e-6, max_iter=100000)
    folds = StratifiedKFold(3)
    losses = {
        key: log_loss(y, cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1])
        for key, model in models.items()
    }
    best = models[min(losses, key=losses.__getitem__)].fit(x, y)
    found = CrossValidatedLogisticRegression(TASK, strengths=(0.01, 0.1, 10.0)).fit(x, y)
    np.testing.assert_allclose(found(ASKED), best.predict_proba(ASKED)[:, 1], atol=2e-3)


def test_platts_fit_is_the_least_cross_entropy():
    rng = np.random.default_rng(0)
    values = rng.normal(size=80)
    classes = (values + rng.normal(size=80) > 0.5).astype(int)
    ones, zeros = classes.sum(), (1 - classes).sum()
    targets = np.where(classes == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(at):
        logits = at[0] * values + at[1]
        return (np.logaddexp(0, logits) - targets * logits).sum()

    np.testing.assert_allclose(platt(values, classes), minimize(loss, [0.0, 0.0], tol=1e-10).x, rtol=1e-4)
    slope, offset = platt(-values, classes)
    assert (slope, expit(offset)) == (0.0, pytest.approx(targets.mean()))


def test_a_machine_is_calibrated_on_what_it_has_not_seen():
    x, y = examples()
    machine = SVC(C=1.0, gamma=1 / 3)
    values = cross_val_predict(machine, x, y, cv=StratifiedKFold(3), method="decision_function")
    slope, offset = platt(values, y.astype(int))
    expected = expit(slope * machine.fit(x, y).decision_function(ASKED) + offset)
    np.testing.assert_allclose(Svm(TASK, strengths=(1.0,)).fit(x, y)(ASKED), expected)


def test_among_strengths_the_right_one_is_found():
    x, y = examples(120)
    alone = [Svm(TASK, strengths=(c,)).fit(x, y)(ASKED) for c in (1e-3, 1.0)]
    both = Svm(TASK, strengths=(1e-3, 1.0)).fit(x, y)(ASKED)
    assert (both == alone[1]).all()
    assert not (both == alone[0]).all()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_single_member_of_a_class_leaves_nothing_to_choose_by(kernel):
    x, y = examples(12)
    y[:] = np.arange(12) == 4
    assert (Svm(TASK, kernel).fit(x, y)(ASKED) == 2 / 14).all()
    expected = Reference(C=1.0, tol=1e-8).fit(x, y).predict_proba(ASKED)[:, 1]
    np.testing.assert_allclose(CrossValidatedLogisticRegression(TASK).fit(x, y)(ASKED), expected, atol=1e-4)


def test_the_gaussian_process_is_as_likely_as_the_library_makes_it():
    x, y = examples(50)
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * RBF(3**0.5, (1e-1, 1e2))
    expected = GaussianProcessClassifier(kernel).fit(x, y).predict_proba(ASKED)[:, 1]
    np.testing.assert_allclose(GaussianProcess(TASK).fit(x, y)(ASKED), expected, atol=1e-3)


def test_a_gaussian_process_without_a_signal_warns_of_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(2, size=40).astype(float)
    answers = GaussianProcess(TASK, separate=True).fit(x, y)(ASKED)
    np.testing.assert_allclose(answers, y.mean(), atol=0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Svm(TASK, folds=1), "folds must be at least 2, not 1"),
        (lambda: Svm(TASK, strengths=()), "strengths must hold at least one value"),
        (lambda: Svm(TASK, gamma=0.0), "gamma must be above 0"),
        (lambda: CrossValidatedLogisticRegression(TASK, penalties=()), "penalties must name"),
        (lambda: GaussianProcess(TASK, iterations=0), "iterations must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
