"""Every file of conf/, built as the command line builds it, with smaller numbers where its own take long."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from l2l_cli.config.build import build, changed
from l2l_cli.config.groups import config_root
from l2l_cli.core.nodes import classes_in
from l2l_cli.learners.base import Learner
from l2l_cli.tasks.base import Task

TASK_SIZES = {
    "length": 12,
    "samples": 12,
    "horizon": 12,
    "every": 5,
    "examples": 5,
    "dimension": 4,
    "hidden": [3],
    "channels": [2, 2],
    "blocks": [1, 1],
    "kernel": 3,
    "dense": [3],
    "units": 3,
}
"""Small values by key, for whichever task has it."""

OWN_TASK_SIZES: dict[str, dict[str, Any]] = {
    **{name: {"hidden": 8} for name in ("b14", "b16", "semilinear", "quadratic_function")},
    "digits": {"start": 0.3, "pool": 1},
    "module": {"model": "tests.tasks.own:Net", "data": "tests.tasks.own:pair"},
    "halfplanes": {"dimension": 3, "hidden": [4], "share": [0.2, 0.6]},
}
"""Numbers that tests of single tasks count on."""

LEARNER_SIZES: dict[str, dict[str, Any]] = {
    "lstm": {"hidden": 4},
    "prior_fitted": {"width": 8, "layers": 2, "heads": 2},
    "online_least_squares": {"hidden": 4, "dimensions": 3, "components": 2, "upkeep.settle": 3},
    "lstm1997": {"hidden": 2, "cells": 2, "second": 2, "truncated": False, "spread": 1.0},
    "recurrent": {"hidden": 3, "spread": 1.0},
    "coordinatewise_lstm": {"rule.hidden": 3},
    "coordinatewise_lstm_momenta": {"rule.hidden": 3},
    "coordinatewise_lstm_averaging": {"rule.hidden": 3, "rule.averaged": 2},
    "coordinatewise_lstm_per_type": {"rule.conv.hidden": 2, "rule.fc.hidden": 3},
    **{rule: {"rule.lr": 0.1} for rule in ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")},
    **{rule: {"options.lr": 0.1} for rule in ("torch_optim", "muon", "soap", "lion", "schedule_free")},
    "tensorwise_mixture": {"rule.hidden": 3, "rule.through_statistics": True},
    "adafac_mlp": {"rule.step_scale": 0.1},
    "lbfgs": {"rule.history": 3},
    "mlhf": {"rule.iterations": 2},
    "hessian_free": {"rule.iterations": 2},
    "hessian_free_lm": {"rule.iterations": 2, "rule.lr": 0.3},
    "kfac": {"rule.lr": 0.05, "rule.every": 2},
    "learned_init": {"lr": 0.3},
    "logistic_regression": {"growth": 0.0},
    "logistic_regression_cv": {"strengths": [0.1, 10.0], "growth": 0.0},
    "linear_svm": {"strengths": [1.0], "growth": 0.0},
    "rbf_svm": {"strengths": [0.1, 10.0], "growth": 0.0},
    "gaussian_process": {"iterations": 3, "growth": 0.0},
    "mlp_epochs": {"rule.lr": 0.1, "epochs": 5, "folds": 3, "growth": 0.0},
}
"""Small numbers of learners that take long, and large ones where all of a learner is to matter."""


@cache
def node_of(group: str, name: str) -> dict[str, Any]:
    """The node of one file, with what it inherits from files of its group, at seed 0."""
    node = OmegaConf.create({"seed": 0, group: _merged(group, name)})
    resolved = OmegaConf.to_container(node, resolve=True)
    assert isinstance(resolved, dict)
    return dict(resolved[group])


def _merged(group: str, name: str) -> DictConfig:
    node = OmegaConf.load(config_root() / group / f"{name}.yaml")
    assert isinstance(node, DictConfig)
    bases = [base for base in node.pop("defaults", []) if isinstance(base, str) and base != "_self_"]
    merged = OmegaConf.merge(*(_merged(group, base) for base in bases), node.get(group, node))
    assert isinstance(merged, DictConfig)
    return merged


def missing_package(learner: str) -> str | None:
    """The package that a file of conf/learner needs and that is not installed, if there is one."""
    tops = {name.split(".")[0] for name in classes_in(node_of("learner", learner))}
    return next((top for top in sorted(tops) if find_spec(top) is None), None)


def is_of_images(task: str) -> bool:
    """Whether a file of conf/task is an image data set with a network."""
    return "dataset" in node_of("task", task)


def task_of(name: str, images_on_disk: Callable[[], str]) -> Callable[[], Task]:
    """A file of conf/task, small.

    Args:
        name: Name of the file.
        images_on_disk: Path of an image folder, for data sets of images too large for memory.
    """

    def made() -> Task:
        node = node_of("task", name)
        sizes = {key: size for key, size in TASK_SIZES.items() if key in node}
        if "side" in node:
            sizes |= {"dataset": images_on_disk(), "side": 8}
        elif "dataset" in node:
            sizes |= {"dataset": "digits", "pool": 2}
        task: Task = build(changed(node, sizes | OWN_TASK_SIZES.get(name, {}), "task"), "task")
        return task

    return made


def learner_of(name: str, **sizes: Any) -> Callable[[Task], Learner[Any]]:
    """A file of conf/learner with small numbers, and further changes."""

    def made(task: Task) -> Learner[Any]:
        node = changed(node_of("learner", name), LEARNER_SIZES.get(name, {}) | sizes, "learner")
        learner: Learner[Any] = build(node, "learner", task=task)
        return learner

    return made
