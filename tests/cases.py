"""One table of tasks and learners, small enough for every contract to run over all of it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image

from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.base import Learner
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.learners.learned_init import LearnedInit
from l2l_cli.learners.logistic_network import Recurrent
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.learners.refit.gaussian_process import GaussianProcess
from l2l_cli.learners.refit.logistic_regression import CrossValidatedLogisticRegression, LogisticRegression
from l2l_cli.learners.refit.many_epochs import ManyEpochs
from l2l_cli.learners.refit.svm import Svm
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.models.model import ParameterType
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.averaging import GlobalAveragingLSTM
from l2l_cli.optimizers.conjugate_gradient import ConjugateGradient
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.hessian_free import HessianFree, LevenbergMarquardt
from l2l_cli.optimizers.kfac import KFac
from l2l_cli.optimizers.lbfgs import Lbfgs
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.optimizers.preprocess import ClippedLogAndSign, LogAndSign, Momenta
from l2l_cli.optimizers.rmsprop import RmsProp
from l2l_cli.optimizers.sgd import Momentum, Nesterov, Sgd
from l2l_cli.optimizers.smorms3 import Smorms3
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.functions import Booleans, QuadraticFunction, SemiLinear
from l2l_cli.tasks.halfplanes import Halfplanes
from l2l_cli.tasks.quadratic import Quadratic
from l2l_cli.tasks.switching import Switching
from tests.image_tasks import ON_DISK, digits_mlp, image_task


def image_folder(place: Path, classes: int = 2, noise: bool = False) -> str:
    """Write tiny images in ILSVRC2012's layout: 7 to train on and 6 in val of each class, its colour theirs."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 7), ("val", 6)):
        for label in range(classes):
            (place / part / f"n{label}").mkdir(parents=True)
            for index in range(count):
                pixels = np.full((18 + index, 20, 3), (100 * label % 256, 30 * index, 10 * label + index), np.uint8)
                pixels += rng.integers(60 if noise else 1, size=pixels.shape, dtype=np.uint8)
                Image.fromarray(pixels).save(place / part / f"n{label}" / f"{index}.JPEG", quality=95)
    return str(place)


@cache
def _image_folder() -> tuple[tempfile.TemporaryDirectory[str], str]:
    """An image folder for all tests of this process; it goes when the process does."""
    made = tempfile.TemporaryDirectory()
    return made, image_folder(Path(made.name), noise=True)


SMALL_CONVNET: dict[str, Any] = {"channels": [2, 2], "kernel": 3, "dense": [3]}
CHANGED: dict[str, Any] = {"augment": "cifar", "standardise": "image"}

TASKS: dict[str, Callable[[], Task]] = {
    "b14": lambda: Booleans(xor=False, length=12),
    "b16": lambda: Booleans(length=12),
    "b16-fixed": lambda: Booleans(length=12, functions=5),
    "b14-switching": lambda: Switching(Booleans(xor=False), every=5, length=12),
    "semilinear": lambda: SemiLinear(length=12),
    "quadratic_function": lambda: QuadraticFunction(length=12),
    "quadratic_function-global": lambda: QuadraticFunction(scaling="global", length=12),
    "quadratic": lambda: Quadratic(dimension=4, horizon=12),
    "digits": lambda: digits_mlp(hidden=[3], examples=5, horizon=12, start=0.3),
    "digits-convnet": lambda: image_task(
        "convnet.ConvNet", **SMALL_CONVNET, examples=5, horizon=12, start=0.3, classes=[7, 2, 4], pool=2
    ),
    "digits-cudaconvnet": lambda: image_task(
        "convnet.CudaConvNet", **SMALL_CONVNET, **CHANGED, examples=5, horizon=12, images=40, augment_test=True
    ),
    "digits-resnet": lambda: image_task(
        "resnet.ResNet", channels=[2, 3], blocks=[1, 1], recompute=True, **CHANGED, examples=5, horizon=12, pool=2
    ),
    "digits-lstm": lambda: image_task("recurrent.RowReader", units=3, examples=5, horizon=12, pool=2),
    "images-on-disk": lambda: image_task(
        "resnet.ResNet",
        ON_DISK,
        dataset=_image_folder()[1],
        **{"stem": "imagenet", "channels": [2], "blocks": [1], "side": 8, "examples": 4, "horizon": 12},
        **{"augment": "imagenet", "augment_test": True, "standardise": "channels"},
    ),
    "halfplanes": lambda: Halfplanes(dimension=3, samples=12, hidden=[4], share=[0.2, 0.6]),
    "halfplanes-interleaved": lambda: Halfplanes(
        dimension=2, samples=12, hidden=[3], activation="tanh", interleaved=True, data_sets=6
    ),
}


def weights_in_cell(**options: Any) -> Callable[[Task], Learner[Any]]:
    """With gates that are half open, so that everything matters, and no ReLU unit exactly at its kink."""

    def made(task: Task) -> Learner[Any]:
        learner = WeightsInCell(task, hidden=[4, 3], forget_bias=1.0, input_bias=0.0, gate_scale=2.0, **options)
        with torch.no_grad():
            for name, value in learner.layers.named_parameters():
                value += 0.2 * name.endswith("bias")
        return learner

    return made


def on_path(learner: Learner[Any], compiled: bool) -> Learner[Any]:
    """A twin of a learner that may take compiled paths, or may not; both share φ."""
    twin = copy.copy(learner)
    twin.paths = Paths(compiled)
    return twin.on(learner.task)


KINDS: tuple[ParameterType, ...] = get_args(ParameterType)

LEARNERS: dict[str, Callable[[Task], Learner[Any]]] = {
    "lstm": lambda task: LSTM(task, hidden=4),
    "lstm-readout": lambda task: LSTM(task, hidden=3, layers=2, readout=8),
    "lstm1997": lambda task: LSTM1997(task, hidden=2, cells=2, second=2, truncated=False, spread=1.0),
    "recurrent": lambda task: Recurrent(task, hidden=3, spread=1.0),
    "lstm1997-truncated": lambda task: LSTM1997(task, hidden=2, cells=2),
    "weights_in_cell": weights_in_cell(),
    "weights_in_cell-hochreiter": weights_in_cell(order="hochreiter"),
    "weights_in_cell-frozen": weights_in_cell(after_separator="frozen"),
    "weights_in_cell-factored": weights_in_cell(rank=2),
    "weights_in_cell-sees-weights": weights_in_cell(sees="weights"),
    "weights_in_cell-sees-gradient": weights_in_cell(sees="gradient", order="hochreiter"),
    "coordinatewise_lstm": lambda task: Descent(task, CoordinatewiseLSTM(hidden=3)),
    "coordinatewise_lstm-log": lambda task: Descent(
        task, CoordinatewiseLSTM(hidden=3, layers=1, preprocess=LogAndSign(), output_scale=0.1)
    ),
    "coordinatewise_lstm-momenta": lambda task: Descent(
        task, CoordinatewiseLSTM(hidden=3, preprocess=Momenta(), output_scale=0.1)
    ),
    "coordinatewise_lstm-second-order": lambda task: Descent(task, CoordinatewiseLSTM(hidden=3), second_order=True),
    "coordinatewise_lstm-per-type": lambda task: Descent(
        task, PerType(CoordinatewiseLSTM(hidden=2), CoordinatewiseLSTM(hidden=3, preprocess=ClippedLogAndSign()))
    ),
    "coordinatewise_lstm-averaging": lambda task: Descent(task, GlobalAveragingLSTM(averaged=2, hidden=3)),
    "sgd": lambda task: Descent(task, Sgd(0.1)),
    "momentum": lambda task: Descent(task, Momentum(0.1)),
    "nesterov": lambda task: Descent(task, Nesterov(0.1)),
    "rmsprop": lambda task: Descent(task, RmsProp(0.1)),
    "adam": lambda task: Descent(task, Adam(0.1)),
    "lbfgs": lambda task: Descent(task, Lbfgs(history=3)),
    "mlhf": lambda task: Descent(task, MLHF(iterations=2, kinds=KINDS)),
    "mlhf-log": lambda task: Descent(
        task, MLHF(0.3, iterations=1, kinds=KINDS, hidden=2, preprocess=LogAndSign(), preconditioner="jacobi")
    ),
    "hessian_free": lambda task: Descent(task, HessianFree(iterations=2)),
    "hessian_free-lm": lambda task: Descent(task, LevenbergMarquardt(0.3, iterations=2)),
    "conjugate_gradient": lambda task: Descent(task, ConjugateGradient()),
    "kfac": lambda task: Descent(task, KFac(0.05, every=2)),
    "smorms3": lambda task: Descent(task, Smorms3(0.1)),
    "learned_init": lambda task: LearnedInit(task, 0.3),
    "learned_init-first-order": lambda task: LearnedInit(task, 0.3, "shared", second_order=False),
    "learned_init-fixed": lambda task: LearnedInit(task, 0.3, "fixed"),
    "logistic_regression": lambda task: LogisticRegression(task, growth=0.0),
    "logistic_regression_cv": lambda task: CrossValidatedLogisticRegression(task, strengths=[0.1, 10.0], growth=0.0),
    "linear_svm": lambda task: Svm(task, "linear", strengths=[1.0], growth=0.0),
    "rbf_svm": lambda task: Svm(task, strengths=[0.1, 10.0], growth=0.0),
    "gaussian_process": lambda task: GaussianProcess(task, iterations=3, growth=0.0),
    "mlp_epochs": lambda task: ManyEpochs(task, Adam(0.1), epochs=5, folds=3, growth=0.0),
    "bayes": Bayes,
}

OTHER_NETWORKS = ["digits-cudaconvnet", "digits-resnet", "digits-lstm", "images-on-disk"]
FUNCTION_TASKS = [
    name for name in TASKS if name != "quadratic" and not name.startswith(("digits", "images", "halfplanes"))
]
STATIONARY = [name for name in FUNCTION_TASKS if "switching" not in name]
ONLY_FUNCTIONS = {"lstm1997", "lstm1997-truncated", "recurrent", "bayes"}
ONLY_VECTORS = {"lstm", "lstm-readout", "logistic_regression", "weights_in_cell"}
ONLY_CLASSES = {"logistic_regression_cv", "linear_svm", "rbf_svm", "gaussian_process", "mlp_epochs"}
LEARNED = [
    name
    for name in LEARNERS
    if name.startswith(("lstm", "recurrent", "weights", "coord", "learned"))
    and not name.endswith(("truncated", "first-order"))
]
HIDING = ["halfplanes", "halfplanes-interleaved"]


def fits(task: str, learner: str) -> bool:
    """Whether a learner can learn a task, and is not merely another learner's option on it."""
    if learner.startswith(("weights_in_cell-", "learned_init-")):
        return task == "halfplanes"
    if task in OTHER_NETWORKS:  # to a learner they are models as digits-convnet is
        return learner in ("sgd", "coordinatewise_lstm-second-order")
    if learner == "learned_init" and task == "digits-convnet":
        return False  # as any other model to it; finite differences of second order meet the kinks of its ReLUs
    if learner == "kfac" and task == "quadratic":
        return False  # its model is no layer that kfac knows, and it says so
    if learner in ONLY_CLASSES:
        return task in ["b14", *HIDING]
    if learner in ONLY_VECTORS:
        return task in FUNCTION_TASKS + HIDING
    return task in FUNCTION_TASKS or learner not in ONLY_FUNCTIONS


PAIRS = [(task, learner) for task in TASKS for learner in LEARNERS if fits(task, learner)]
