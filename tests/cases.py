"""Tasks and learners, small enough for every contract to run over all of them.

Every file of conf/ is here by itself; what is added by hand, with a "-" in its name, are options that no file chooses.
"""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from _pytest.mark.structures import ParameterSet
from PIL import Image

from l2l_cli.config.groups import options
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.learners.learned_init import LearnedInit
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.models.model import ParameterType
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.optimizers.preprocess import ClippedLogAndSign, LogAndSign
from l2l_cli.optimizers.smorms3 import Smorms3
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.functions import Booleans, QuadraticFunction
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.configured import is_of_images, learner_of, node_of, task_of
from tests.image_tasks import ON_DISK, image_task


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
    **{name: task_of(name, lambda: _image_folder()[1]) for name in options("task")},
    "b16-fixed": lambda: Booleans(length=12, functions=5),
    "quadratic_function-global": lambda: QuadraticFunction(scaling="global", length=12),
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
    "halfplanes-interleaved": lambda: Halfplanes(
        dimension=2, samples=12, hidden=[3], activation="tanh", interleaved=True, data_sets=6
    ),
}


def weights_in_cell(**changes: Any) -> Callable[[Task], Learner[Any]]:
    """With gates that are half open, so that everything matters."""
    small = {"hidden": [4, 3], "forget_bias": 1.0, "input_bias": 0.0, "gate_scale": 2.0}
    return off_kinks(learner_of("weights_in_cell", **small, **changes))


def off_kinks(make: Callable[[Task], Learner[Any]]) -> Callable[[Task], Learner[Any]]:
    """With no ReLU unit exactly at its kink."""

    def made(task: Task) -> Learner[Any]:
        learner = make(task)
        with torch.no_grad():
            for name, value in learner.named_parameters():
                value += 0.2 * (name.removeprefix("rule.").startswith("layers") and name.endswith("bias"))
        return learner

    return made


def on_path(learner: Learner[Any], compiled: bool) -> Learner[Any]:
    """A twin of a learner that may take compiled paths, or may not; both share φ."""
    twin = copy.copy(learner)
    twin.paths = Paths(compiled)
    return twin.on(learner.task)


KINDS: tuple[ParameterType, ...] = get_args(ParameterType)

LEARNERS: dict[str, Callable[[Task], Learner[Any]]] = {
    **{name: learner_of(name) for name in options("learner")},
    "lstm-readout": lambda task: LSTM(task, hidden=3, layers=2, readout=8),
    "prior_fitted": learner_of("prior_fitted", prefixes="causal"),
    "prior_fitted-each": learner_of("prior_fitted", prefixes="each"),
    "prior_fitted-logits": learner_of("prior_fitted", squash=False),
    "online_least_squares-changes": learner_of("online_least_squares", **{"upkeep.hazard": 0.1, "upkeep.spare": 3}),
    "online_least_squares-fades": learner_of("online_least_squares", components=1, **{"upkeep.forgetting": 0.9}),
    "lstm1997-truncated": lambda task: LSTM1997(task, hidden=2, cells=2),
    "weights_in_cell": weights_in_cell(),
    "weights_in_cell-hochreiter": weights_in_cell(order="hochreiter"),
    "weights_in_cell-frozen": weights_in_cell(after_separator="frozen"),
    "weights_in_cell-factored": weights_in_cell(rank=2),
    "weights_in_cell-sees-weights": weights_in_cell(sees="weights"),
    "weights_in_cell-sees-gradient": weights_in_cell(sees="gradient", order="hochreiter"),
    "coordinatewise_lstm-log": lambda task: Descent(
        task, CoordinatewiseLSTM(hidden=3, layers=1, preprocess=LogAndSign(), output_scale=0.1)
    ),
    "coordinatewise_lstm-second-order": lambda task: Descent(task, CoordinatewiseLSTM(hidden=3), second_order=True),
    "coordinatewise_lstm-per-type": lambda task: Descent(
        task, PerType(CoordinatewiseLSTM(hidden=2), CoordinatewiseLSTM(hidden=3, preprocess=ClippedLogAndSign()))
    ),
    "adafac_mlp": off_kinks(learner_of("adafac_mlp")),
    "mlhf": learner_of("mlhf", **{"rule.kinds": list(KINDS)}),
    "mlhf-log": lambda task: Descent(
        task, MLHF(0.3, iterations=1, kinds=KINDS, hidden=2, preprocess=LogAndSign(), preconditioner="jacobi")
    ),
    "smorms3": lambda task: Descent(task, Smorms3(0.1)),
    "learned_init-first-order": lambda task: LearnedInit(task, 0.3, "shared", second_order=False),
    "learned_init-fixed": lambda task: LearnedInit(task, 0.3, "fixed"),
}

OF_CLASSES = [name for name in options("learner") if "optimizer" in node_of("learner", name)]
"""Learners by classes of torch.optim.Optimizer, which take a second to load and are never learned."""

HIDING = ["halfplanes", "halfplanes-interleaved"]
FUNCTION_TASKS = [name for name in TASKS if name.startswith(("b14", "b16", "semilinear", "quadratic_function"))]
STATIONARY = [name for name in FUNCTION_TASKS if "switching" not in name]
OTHER_NETWORKS = [
    name
    for name in TASKS
    if (name.startswith(("digits-", "images-", "module")) or (name in options("task") and is_of_images(name)))
    and name not in ("digits", "digits-convnet")
]
"""To a learner they are models and data as ``digits-convnet`` is, so two learners meet them in place of all."""


def is_worth_its_time(task: str, learner: str) -> bool:
    """Whether a learner's code does on a task what it does on no other of these."""
    if learner.startswith(("weights_in_cell-", "learned_init-")):
        return task == "halfplanes"
    if learner.startswith("online_least_squares-"):
        return task in ("semilinear", "b14_switching") or (task == "quadratic" and learner.endswith("fades"))
    if learner in OF_CLASSES and learner != "torch_optim":
        return task in ("halfplanes-interleaved", "digits-convnet")
    if learner.startswith("prior_fitted-"):
        return task in ([*HIDING, "b14"] if learner.endswith("each") else ["digits-convnet"])
    if task in OTHER_NETWORKS:
        return learner == "sgd" or (learner == "coordinatewise_lstm-second-order" and task not in options("task"))
    return True


PAIRS = [(task, learner) for task in TASKS for learner in LEARNERS if is_worth_its_time(task, learner)]

COVERED = 2
"""Pairs of each task and of each learner that the quick tests meet at least, if there are so many."""


def marked(pairs: list[tuple[str, str]]) -> list[ParameterSet]:
    """Pairs as parameters of tests: those that are not needed to cover all tasks and learners are slow."""
    met: Counter[str] = Counter()
    parameters = []
    for pair in sorted(pairs, key=lambda pair: derive(0, *pair)):  # spread over all, and the same each time
        needed = any(met[name] < COVERED for name in pair)
        met.update(pair if needed else ())
        parameters.append(pytest.param(pair, id="/".join(pair), marks=[] if needed else [pytest.mark.slow]))
    return parameters


def one_in(number: int, *values: Iterable[Any]) -> list[ParameterSet]:
    """All combinations of values as parameters of tests: one in so many, by lot, is quick, and the others are slow."""
    spread = sorted(product(*values), key=lambda case: derive(0, repr(case)))
    return [pytest.param(*case, marks=[pytest.mark.slow] if turn % number else []) for turn, case in enumerate(spread)]


def refusal(make: Callable[[Task], Learner[Any]], task: Task) -> str | None:
    """What a learner that cannot learn a task says as it is built or in its first two steps; None if it can."""
    try:
        learner = make(task)
        with torch.no_grad():
            learner.unroll(learner.init(2, generator(0)), task.sample(2, 0, Phase.TUNE).batches(0, 2))
    except (UsageError, ValueError) as error:
        return str(error)
    return None


@cache
def is_refused(task: str, learner: str) -> str | None:
    """What a learner says of a task that it cannot learn, tried once; see ``refusal``."""
    return refusal(LEARNERS[learner], TASKS[task]())


def pair_of(task: str, learner: str) -> tuple[Task, Learner[Any]]:
    """A task and a learner on it; the test is skipped, with the learner's own words, if it refuses the task."""
    if said := is_refused(task, learner):
        pytest.skip(said)
    made = TASKS[task]()
    return made, LEARNERS[learner](made)


def _is_learned(name: str) -> bool:
    for task in ("b14", "halfplanes"):
        with suppress(UsageError, ValueError):
            return LEARNERS[name](TASKS[task]()).is_meta_trained
    raise AssertionError(f"{name} refuses every task")


LEARNED = [name for name in LEARNERS if name not in OF_CLASSES and _is_learned(name)]
CUT = {"lstm1997-truncated", "learned_init-first-order", "mlhf", "mlhf-log"}
"""Learners whose gradient is cut by design, so that no finite difference is their meta-gradient."""
