"""Meta-steps of learned rules of other kinds, each by the meta-gradient that its own choice of learner takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from tests.bench.meta_step import timed
from tests.bench.peers.problem import Problem
from tests.bench.problems import STEPS, ImageNetwork
from tests.bench.samples import Case

RULES = ("coordinatewise_lstm", "tensorwise_mixture", "adafac_mlp")
EPISODES = 4


def cases(budget: float) -> list[Case]:
    """Return the rules' meta-steps on one problem."""
    contenders = {name: timed(_meta_steps(name), budget) for name in RULES}
    notes = {name: _note(estimator_of(name)) for name in RULES}
    return [Case("rules", f"784–20–10, {EPISODES} networks", contenders, notes=notes)]


def estimator_of(name: str) -> Backprop:
    """Return the estimator that goes with a learner, on whole windows of ``STEPS`` steps."""
    own = compose("meta-train", ["task=mnist_mlp", f"learner={name}"]).gradient
    return Backprop(EPISODES, STEPS, rho=own.get("rho"), gamma=own.get("gamma", 1.0), limit=own.get("limit"))


def _note(estimator: Backprop) -> str:
    """Say what of the exact meta-gradient an estimator leaves out."""
    if estimator.rho is None:
        return "∇ is stopped"
    return f"damped: ρ = {estimator.rho:g}, γ = {estimator.gamma:g}"


def _meta_steps(name: str) -> Callable[[int], float]:
    """Return the seconds of CPU time that so many meta-steps take, each on the first window of new episodes."""
    task, estimator = ImageNetwork(), estimator_of(name)
    task.horizon = STEPS
    chosen = compose("meta-train", ["task=mnist_mlp", f"learner={name}"]).learner
    learner: Learner[object] = Descent(task, build(chosen["rule"], "learner.rule"))
    phi = list(learner.parameters())
    adam = torch.optim.Adam(phi, lr=Problem.lr, fused=True)
    progress = estimator.begin(learner, 0, 0, 0.0)

    def seconds(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            _, found = estimator.estimate(learner, progress, 0.0)
            for value, gradient in zip(phi, found.grad.values(), strict=True):
                value.grad = gradient
            adam.step()
        return time.process_time() - began

    return seconds
