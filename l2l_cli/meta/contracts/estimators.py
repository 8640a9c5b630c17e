"""The contract of an estimator of meta-gradients."""

from __future__ import annotations

from typing import Any

from l2l_cli.core.tree import all_finite
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.meta.contracts.data import EPISODES
from l2l_cli.meta.contracts.refusal import calling, refuse
from l2l_cli.meta.contracts.trying import repeated
from l2l_cli.meta.gradient import Estimator


def check_estimator(estimator: Estimator, learner: Learner[Any]) -> None:
    """Check an estimator on the first window of two episodes.

    Raises:
        ContractError: Its meta-gradient lacks a φ, has another shape or is not finite, or differs when repeated.
    """
    few = estimator.smallest(EPISODES)
    with calling(estimator, "init"):
        progress = few.init(learner, 0)
    cure = "draw with core.random.generator(int(progress.seed), …), and keep all that is acquired in the progress"
    grad = repeated(estimator, "estimate", lambda: few.estimate(learner, progress, 0.0)[1].grad, cure)
    phi = phi_of(learner)
    if grad.keys() != phi.keys() or any(grad[name].shape != value.shape for name, value in phi.items()):
        refuse(estimator, "estimate", "gives a meta-gradient of other names or shapes than φ", "use those of φ")
    if not all_finite(grad):
        refuse(estimator, "estimate", "gives a meta-gradient that is not finite at φ_0", "look for 0 / 0 or √0")
