"""A check that the meta-gradient reaches every φ of a learner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Params, Phase
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.contracts.data import EPISODES
from l2l_cli.meta.contracts.refusal import CUTS, LineWatch, calling, refuse
from l2l_cli.meta.contracts.trying import drawn
from l2l_cli.meta.gradient import connected_gradient, set_phi

STEPS = 6
TRIES = 3
"""Number of values of φ at which the gradient is computed: the initial one, often zero in part, and random ones."""


def check_reached(learner: Learner[Any]) -> None:
    """Check that the meta-loss of a window depends on every φ in a differentiable way.

    A gradient that is zero at some φ is not a fault: a layer below one that starts at zero has such a gradient.

    Raises:
        ContractError: A φ is not connected to the loss, or its gradient is zero at every φ that is tried.
    """
    if learner.task.horizon < 2:  # a learner that answers before it learns cannot show what it learned
        return
    found: dict[str, Tensor | None] = dict.fromkeys(phi_of(learner))
    moving: set[str] = set()
    for number in range(TRIES):
        with _shifted(learner, number):
            gradient = _gradient(learner)
        found |= {name: value for name, value in gradient.items() if value is not None}
        moving |= {name for name, value in found.items() if value is not None and bool((value != 0).any())}
        if len(moving) == len(found):
            return
    owner = learner.rule if isinstance(learner, Descent) else learner
    if owner.may_rest and moving:
        return
    if cut := [name for name, value in found.items() if value is None]:
        with LineWatch(CUTS) as watch:
            _gradient(learner)
        names = ", ".join(name.removeprefix("rule.") for name in cut)
        what = "any φ" if len(cut) == len(found) else names
        by = (
            f"remove {', '.join(watch.places)}"
            if watch.places
            else "let the updates of θ or the answers depend on it, with gradients"
        )
        cure = f"{by}; freeze what is not to be trained by .requires_grad_(False)"
        refuse(owner, "", f"gets no meta-gradient for {what} in {STEPS} steps", cure)
    names = ", ".join(name.removeprefix("rule.") for name in found if name not in moving)
    problem = f"has a meta-gradient in {names} that is zero everywhere, as after sign, round, argmax or a comparison"
    refuse(owner, "", problem, "use a smooth function, or train it with gradient=es")


def _gradient(learner: Learner[Any]) -> dict[str, Tensor | None]:
    task = learner.task
    batches = task.sample(EPISODES, 1, Phase.META_TRAIN).batches(0, min(STEPS, task.horizon))
    with calling(learner, "losses"), drawn(0):
        _, losses = learner.losses(learner.init(EPISODES, generator(1)), batches)
    return connected_gradient(learner, losses.mean())


@contextmanager
def _shifted(learner: Learner[Any], number: int) -> Iterator[None]:
    """Shift φ by small random values, for number 0 by none, and restore it afterwards."""
    phi: Params = {name: value.detach().clone() for name, value in phi_of(learner).items()}
    moved = {
        name: value + number * 0.1 * normal(tuple(value.shape), generator(number, "shift", name)).to(value)
        for name, value in phi.items()
    }
    try:
        set_phi(learner, moved)
        yield
    finally:
        set_phi(learner, phi)
