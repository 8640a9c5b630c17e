"""Every task, learner and meta-training on a device that is not the CPU, where nothing may mix and few may wait."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.config.build import build, changed
from l2l_cli.config.groups import options
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.plan import MetaPlan
from tests.cases import LEARNERS, TASKS, is_refused
from tests.configured import missing_package, node_of
from tests.stand_in import MixedDevices, StandIn, stand_in

STEPS = 2
LIKE_OTHERS = {
    "imagenet_resnet18",
    "imagenet_resnet50",
    "cifar10",
    "cifar10_cudaconvnet",
    "cifar10_resnet",
    "cifar_subset",
}
"""Tasks whose code "images-on-disk" and those of digits run in less time."""

IN_NUMPY = {"base._appended", "base._answers", "base.<genexpr>"}
SOLVING = {"program_writer._plain", "solvers.conjugate_gradient"}
IN_TORCH = {"torch_optim._stepped", "torch_classes.<genexpr>"}
WAITS: dict[str, set[str]] = {
    "conjugate_gradient": {"line_search.backtrack"},
    "lbfgs": {"line_search.backtrack"},
    "kfac": {"layer_traces._root"},
    "learned_init": {"program_writer._plain"},
    "online_least_squares": {"online._alone_from"},
    "prior_fitted": {"prior_fitted.unroll"},
    **dict.fromkeys(("hessian_free", "hessian_free_lm", "mlhf"), SOLVING),
    **dict.fromkeys(("logistic_regression", "logistic_regression_cv", "linear_svm", "rbf_svm"), IN_NUMPY),
    **dict.fromkeys(("gaussian_process", "mlp_epochs"), IN_NUMPY),
    "muon": {"torch_optim._stepped"},
    **dict.fromkeys(("lion", "schedule_free", "soap"), IN_TORCH),
    "torch_optim": IN_TORCH | {"torch_classes.step"},  # Adagrad counts its steps on the device
}
"""Functions in which a learner waits for the device: searches that end when they have found, and what others do."""


TRIED = {"manner._same", "recorder._try"}
"""Functions in which a network's first call waits: episodes are tried side by side, and programs on other numbers."""


def one_window(task: str, learner: str, device: StandIn) -> list[str]:
    """Build both, meta-train on a window and answer another; return where the learner has waited."""
    made = TASKS[task]()
    learning = LEARNERS[learner](made)
    state = learning.init(2, generator(0))
    batches = made.sample(2, 0, Phase.META_TRAIN).batches(0, STEPS)
    device.waits.clear()
    _, losses = learning.losses(state, batches)
    if learning.is_meta_trained:
        torch.autograd.grad(losses.mean(), tuple(learning.parameters()), allow_unused=True)
    with torch.no_grad():
        learning.unroll(state, batches)
    return [place for place in device.waits if place not in TRIED]


@pytest.mark.parametrize("task", [name for name in TASKS if name not in LIKE_OTHERS])
def test_a_task_keeps_to_one_device(task):
    with stand_in() as device:
        assert one_window(task, "sgd", device) == []


@pytest.mark.parametrize("learner", options("learner"))
def test_a_learner_keeps_to_one_device_and_waits_for_it_where_it_must(learner):
    if missing := missing_package(learner):
        pytest.skip(f"{missing} is not installed")
    task = next(name for name in ("halfplanes", "b14", "semilinear") if not is_refused(name, learner))
    with stand_in() as device:
        assert set(one_window(task, learner, device)) == WAITS.get(learner, set())


UPDATING = {"gradient_training.update", "tree._finite"}
"""Functions in which a meta-update waits: it looks at its loss, and whether all is finite."""

META_TRAININGS = [
    *(("quadratic", "coordinatewise_lstm", "backprop", optimizer, UPDATING) for optimizer in options("optimizer")),
    *(("quadratic", "coordinatewise_lstm", gradient, "adam", UPDATING) for gradient in ("es", "pes")),
    ("quadratic", "coordinatewise_lstm", "replay", "adam", UPDATING | {"replay.after"}),
    ("semilinear", "lstm", "backprop", "adam", UPDATING),
    ("digits", "mlhf", "mlhf", "adam", UPDATING | {"replay.after"} | SOLVING),
]


@pytest.mark.parametrize(("task", "learner", "gradient", "optimizer", "waits"), META_TRAININGS)
def test_meta_training_keeps_to_one_device_and_waits_where_it_must(task, learner, gradient, optimizer, waits):
    with stand_in() as device:
        node = node_of("gradient", gradient)
        small = {key: 2 for key in ("episodes", "pairs", "window") if key in node}
        estimator = build(changed(node, small, "gradient"), "gradient")
        rule = build(node_of("optimizer", optimizer), "optimizer")
        training = MetaTraining(LEARNERS[learner](TASKS[task]()), estimator, rule, MetaPlan(updates=10), 0)
        device.waits.clear()
        training.update()
        assert set(device.waits) - TRIED == waits
        device.waits.clear()
        training.update()
        assert set(device.waits) == waits - {"program_writer._plain"}
        training.validate()
        training.restore(training.checkpoint())


def test_the_stand_in_refuses_a_mixture_and_notices_a_wait():
    with stand_in() as device:
        here, there = torch.ones(2, 2, device="cpu"), torch.ones(2, 2)
        with pytest.raises(MixedDevices, match=r"mm.* mixes cpu and meta"):
            here @ there
        with pytest.raises(MixedDevices):
            there[torch.arange(2, device="cpu")]
        assert (there * torch.tensor(2.0, device="cpu")).device.type == "meta"  # a number goes anywhere
        assert device.waits == []
        assert there.sum().item() == 1.0
        assert len(there[there > 0]) == 4
        assert there.cpu().tolist() == [[1.0, 1.0]] * 2
        assert device.waits == ["nowhere"] * 3
