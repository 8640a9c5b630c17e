"""Learned and hand-made update rules in any PyTorch training loop: ``from l2l_cli import load_optimizer``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from l2l_cli.config.build import Builder, build, changed
from l2l_cli.config.classes import find_class
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import options
from l2l_cli.config.hardware import Hardware
from l2l_cli.config.schema import Evaluation, Settings
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.nodes import Entries
from l2l_cli.core.suffixes import PRETRAINED, pretrained
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.torch_curved import CurvatureOptimizer
from l2l_cli.optimizers.torch_form import Given, TorchForm
from l2l_cli.optimizers.torch_rule import RuleOptimizer
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.folders import load_run
from l2l_cli.runs.loading import load_learner
from l2l_cli.tasks.quadratic import Quadratic


def load_optimizer(
    source: str | os.PathLike[str],
    params: nn.Module | Given,
    *,
    lr: float | None = None,
    horizon: int | None = None,
    trust: Sequence[str] = (),
    compiled: bool = True,
    **options: object,
) -> TorchForm:
    """Return an update rule as a torch optimizer: a meta-trained one, or a hand-made one by its name.

        from l2l_cli import load_optimizer
        optimizer = load_optimizer("outputs/meta-train/quadratic-coordinatewise_lstm-1a2b3c4d", net.parameters())
        optimizer = load_optimizer("rule.safetensors", net.parameters(), horizon=1000)
        optimizer = load_optimizer("digits", net.parameters())
        optimizer = load_optimizer("kfac", net, lr=0.03, damping=0.01)

    A rule that takes gradients becomes a ``RuleOptimizer``; one that needs curvature becomes a ``CurvatureOptimizer``,
    which is given the network itself and takes a closure in ``step`` that returns outputs and loss.

    Args:
        source: Finished run, as its folder or as a file that it was exported to; or the name of a learned rule that
            comes with the program (``l2l runs pretrained:`` lists them), or of a hand-made one in conf/learner.
        params: Parameters, parameter groups, or the network, all of whose parameters are optimized.
        lr: Learning rate of a rule that has one, or a factor on the updates of one that has none; None means the rule's
            own rate, or 1.
        horizon: Number of steps of the training, for rules that plan for its end.
        trust: Packages besides l2l_cli whose classes a run may name.
        compiled: Whether compiled kernels may be used.
        **options: Numbers of the rule itself, as its file in conf/learner lists them.

    Raises:
        UsageError: There is no such run or rule, it does not update parameters, or an option or a group is invalid.
    """
    source = os.fspath(source)
    rule = _rule(source, trust, compiled, {f"rule.{name}": value for name, value in options.items()})
    if not rule.takes_gradients:
        if not isinstance(params, nn.Module):
            raise UsageError(
                f"{type(rule).__name__} needs curvature, and so the network itself: load_optimizer("
                f"{source!r}, net) in place of its parameters"
            )
        return CurvatureOptimizer(params, rule, lr, horizon)
    given = params.parameters() if isinstance(params, nn.Module) else params
    return RuleOptimizer(given, rule, lr, horizon, compiled)


def _rule(source: str, trust: Sequence[str], compiled: bool, options: Entries) -> Optimizer[Any]:
    """Return the rule that a source names, with some of its options changed.

    Raises:
        UsageError: See ``load_optimizer``.
    """
    hardware = Hardware(kernels="fast" if compiled else "reference")
    task = Quadratic(dimension=2)  # a rule is the same for every task, and a learner is built for one
    if source in pretrained():
        source = f"{PRETRAINED}{source}"
    if Path(source).exists() or not source.isidentifier():
        present = Settings(hardware=hardware, evaluation=Evaluation(learner=options))
        run, saved = load_run(source, present)
        builder = Builder(trust)
        _see_that_it_moves(saved, source, trust)
        return _of(load_learner(run, saved, task, builder), source)
    settings = replace(_hand_made(source, trust), hardware=hardware)
    settings = replace(settings, learner=changed(settings.learner, options, "learner"))
    return _of(build_learner(settings, task, build), source)


def _hand_made(name: str, trust: Sequence[str]) -> Settings:
    """Return settings with a hand-made learner of conf/learner.

    Raises:
        UsageError: There is none, or it is a learned rule.
    """
    known = options("learner")
    if name not in known:
        raise UsageError(
            f"{name!r} is neither a run's folder, nor an exported run, nor a rule that comes with l2l"
            f"{did_you_mean(name, [*pretrained(), *known])} (learned: {', '.join(pretrained())})"
        )
    settings = compose("meta-train", [f"learner={name}"])
    _see_that_it_moves(settings, name, None)
    rule = build(settings.learner["rule"], "learner.rule")
    if any(True for _ in rule.parameters()):
        raise UsageError(
            f"{name} is a learned rule, and its weights are those of a run: `l2l meta-train learner={name} task=…` "
            "trains one; give its folder, or the file that it was exported to"
        )
    return settings


def _see_that_it_moves(settings: Settings, source: str, trust: Sequence[str] | None) -> None:
    """Check that a learner has an update rule for parameters, before it is built for a task other than its own.

    Raises:
        UsageError: It has none.
    """
    kind = find_class(str(settings.learner.get("_target_")), "learner", trust)
    if not issubclass(kind, Descent):
        raise UsageError(
            f"{source} is a {kind.__name__}, which has no update rule for a network's parameters; "
            "load_optimizer takes learners that have a rule, as coordinatewise_lstm, tensorwise_mixture, mlhf or kfac"
        )


def _of(learner: Learner[Any], source: str) -> Optimizer[Any]:
    if not isinstance(learner, Descent):
        raise UsageError(f"{source} is a {type(learner).__name__}, which has no rule")
    rule: Optimizer[Any] = learner.rule
    return rule.requires_grad_(False)
