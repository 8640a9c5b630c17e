"""The contract of episodes: batches are pure functions, have the shapes of the spec, and differ by seed and phase."""

from __future__ import annotations

import torch
from torch import Tensor

from l2l_cli.core.types import Batch, Batches, Phase, Spec, Split
from l2l_cli.meta.contracts.refusal import calling, refuse
from l2l_cli.meta.contracts.trying import differing, drawn, repeated
from l2l_cli.tasks.base import Episode, Task

EPISODES = 2
STEPS = 3
PURE = "draw with core.random.generator(seed, …, step), a separate generator for each purpose, and keep none on self"


def check_data(task: Task) -> None:
    """Check the episodes that a task draws.

    Raises:
        ContractError: The episodes break their contract.
    """
    steps = min(STEPS, task.horizon)

    def read() -> dict[str, Batch]:
        episode = sampled(task, EPISODES, 0, Phase.META_TRAIN)
        train = {f"batch({step})": _read(episode, step) for step in range(steps)}
        return train | {"batch(0, TEST)": _read(episode, 0, Split.TEST)}

    first = repeated(task, "sample", read, PURE)
    episode = sampled(task, EPISODES, 0, Phase.META_TRAIN)
    for step in reversed(range(steps)):
        for _ in range(2):
            if differing(first[f"batch({step})"], _read(episode, step)):
                problem = f"is not a pure function of seed, step and split: step {step} differs when it is read again"
                refuse(episode, "batch", problem, PURE)
    _check_shapes(episode, task.spec, first["batch(0)"])
    _check_stacked(episode, task.spec, [first[f"batch({step})"] for step in range(steps)])
    _check_draws_apart(task)


def sampled(task: Task, episodes: int, seed: int, phase: Phase) -> Episode:
    """Draw episodes of a task.

    Raises:
        ContractError: The task draws something else.
    """
    with calling(task, "sample"):
        episode: object = task.sample(episodes, seed, phase)
    if not isinstance(episode, Episode):
        refuse(task, "sample", f"returns {type(episode).__name__}", "return an Episode of l2l_cli.tasks.base")
    return episode


def _read(episode: Episode, step: int, split: Split = Split.TRAIN) -> Batch:
    with calling(episode, "batch"):
        batch: object = episode.batch(step, split)
    if not isinstance(batch, Batch):
        refuse(episode, "batch", f"returns {type(batch).__name__}", "return a Batch of l2l_cli.core.types")
    return batch


def _check_shapes(episode: Episode, spec: Spec, batch: Batch) -> None:
    wanted = {"inputs": (EPISODES, spec.examples, *spec.inputs), "targets": (EPISODES, spec.examples, *spec.targets)}
    for name, shape in wanted.items():
        if (found := tuple(getattr(batch, name).shape)) != shape:
            problem = f"gives {name} of shape {found}, but spec says {shape}, for {EPISODES} episodes"
            refuse(episode, "batch", problem, "shapes are (episodes, examples, …); change one of the two")
    if (batch.shown is not None) != spec.hides:
        problem = f"gives {'a' if batch.shown is not None else 'no'} mask `shown`, but spec.hides is {spec.hides}"
        refuse(episode, "batch", problem, "set Spec(…, hides=True) where targets are hidden, at every step")
    if batch.shown is not None and (batch.shown.shape != (EPISODES,) or not set(batch.shown.tolist()) <= {0.0, 1.0}):
        refuse(
            episode, "batch", "gives a mask `shown` that is not (episodes,) of 0 and 1", "give one number per episode"
        )


def _check_stacked(episode: Episode, spec: Spec, steps: list[Batch]) -> None:
    del spec
    with calling(episode, "batches"), drawn(0):
        together: object = episode.batches(0, len(steps))
    cure = "do not override it, or return Batches with axes (steps, episodes, …) of what batch(step) gives"
    if not isinstance(together, Batches) or together.steps != len(steps):
        refuse(episode, "batches", f"does not return the Batches of {len(steps)} steps", cure)
    for step, batch in enumerate(steps):
        if names := differing(batch, together.at(step)):
            refuse(episode, "batches", f"gives other {' and '.join(names)} at step {step} than batch({step})", cure)


def _check_draws_apart(task: Task) -> None:
    """Check that each seed and phase has its own draws, unless all draws are one and the same problem."""
    draws = {(0, phase): _drawn(task, 0, phase) for phase in Phase}
    draws[1, Phase.META_VALID] = _drawn(task, 1, Phase.META_VALID)
    keys = list(draws)
    for index, one in enumerate(keys):
        for other in keys[:index]:
            # A fixed set may be the same for two seeds, never for two phases.
            if not _alike(draws[one], draws[other]) or not _alike(_drawn(task, *one, 8), _drawn(task, *other, 8)):
                continue
            if all(bool((value == value[:, :1]).all()) for value in draws[one] if value.numel()):
                continue  # one problem for all episodes, which differ in θ₀
            seeds = one[0] != other[0]
            what = "seeds 0 and 1" if seeds else f"phases {other[1].value} and {one[1].value}"
            ignored = "seed" if seeds else "phase"
            cure = f"draw with core.random.generator(seed, {type(task).__name__.lower()!r}, phase)"
            refuse(task, "sample", f"ignores `{ignored}`: {what} have the same episodes", cure)


def _drawn(task: Task, seed: int, phase: Phase, episodes: int = EPISODES) -> list[Tensor]:
    episode = sampled(task, episodes, seed, phase)
    steps = min(1 if episodes == EPISODES else 8, task.horizon)
    read = [_read(episode, step) for step in range(steps)]
    return [torch.stack([batch.inputs for batch in read]), torch.stack([batch.targets for batch in read])]


def _alike(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True))
