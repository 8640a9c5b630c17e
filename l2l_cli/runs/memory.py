"""Estimates of the memory that a training or a scoring takes, made before any of it is allocated."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from l2l_cli.config.schema import Settings
from l2l_cli.core.cores import usable_memory
from l2l_cli.core.errors import UsageError
from l2l_cli.core.printable import counted, size_text
from l2l_cli.core.random import generator
from l2l_cli.core.tree import leaves
from l2l_cli.core.types import Params
from l2l_cli.evaluation.score import NUMBERS
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.evidence import Evidence
from l2l_cli.meta.evolution import Antithetic, PersistentES
from l2l_cli.meta.gradient import Estimator
from l2l_cli.meta.replay import Replayed
from l2l_cli.models.model import Model

PROGRAM = 400 * 10**6
"""Bytes that the program itself takes with its libraries."""

TAPE = 7.0
"""Copies of a learner's state that automatic differentiation keeps for each step."""

DRAWS = 8
"""Number of draws of a varying task, the largest of which counts."""

LARGER = "not even one episode fits; take a smaller task, or a machine with more memory"
"""Advice if nothing fits."""

RECOMPUTED = 0.3
"""Share of the activations that is kept by a network that recomputes them."""

SAMPLE = 100_000
"""Number of parameters on which a rule's memory is measured; for larger networks the result is extrapolated."""


class Footprint(NamedTuple):
    """Bytes that some work takes.

    Attributes:
        fixed: Bytes that depend neither on episodes nor on steps.
        episode: Bytes for each episode.
        step: Bytes for each step of each episode that is kept for a backward pass.
    """

    fixed: float
    episode: float
    step: float

    def total(self, episodes: int, steps: int) -> int:
        """Return the bytes for E episodes side by side, with T steps of each kept."""
        return round(self.fixed + episodes * (self.episode + steps * self.step))

    def fitting(self, episodes: int, steps: int, free: int) -> tuple[int, int] | None:
        """Return how many episodes, and of a single one how many steps, fit into ``free`` bytes; None if none do."""
        while self.total(episodes, steps) > free and episodes > 1:
            episodes //= 2
        while self.total(episodes, steps) > free and steps > 1:
            steps //= 2
        return (episodes, steps) if self.total(episodes, steps) <= free else None


class _Episode(NamedTuple):
    """Bytes for one episode: θ, the rest of the state, the activations of a step, and its data."""

    params: int
    memory: int
    activations: int
    data: int

    @property
    def state(self) -> int:
        return self.params + self.memory


def estimated_bytes(settings: Settings, learner: Learner[Any], estimator: Estimator) -> int:
    """Return an estimate of the peak memory of meta-training in bytes, including the program itself."""
    trained = training_footprint(learner, estimator).total(estimator.episodes, _window(learner, estimator))
    validated = scoring_footprint(learner).total(settings.meta.validation_episodes, 1)
    return PROGRAM + max(trained, validated)


def refuse_excess(settings: Settings, learner: Learner[Any], estimator: Estimator) -> None:
    """Refuse a training that takes more memory than there is, before any of it is allocated.

    Raises:
        UsageError: The training takes more; the message says what would fit.
    """
    episodes, steps, free = estimator.episodes, _window(learner, estimator), free_bytes(settings)
    if free is None:
        return
    training, validations = training_footprint(learner, estimator), settings.meta.validation_episodes
    if (needed := training.total(episodes, steps)) > free:
        at = f"gradient.episodes={episodes} and {counted(steps, 'step')} a window"
        raise UsageError(_excess(settings, needed, free, at, _advice(training, episodes, steps, free)))
    scoring = scoring_footprint(learner)
    if (needed := scoring.total(validations, 1)) > free:
        found = scoring.fitting(validations, 1, free)
        cure = f"meta.validation_episodes={found[0]} would fit" if found else LARGER
        raise UsageError(_excess(settings, needed, free, f"meta.validation_episodes={validations}", cure))


def refuse_excess_of_scoring(settings: Settings, learner: Learner[Any]) -> None:
    """Refuse to score a learner if its episodes side by side take more memory than there is.

    Learners that do not fit a network have states too small to matter.

    Raises:
        UsageError: They take more; the message says what would fit.
    """
    free, chunk = free_bytes(settings), min(settings.evaluation.chunk, settings.evaluation.episodes)
    if free is None or not isinstance(learner, Descent):
        return
    scoring = scoring_footprint(learner)
    if (needed := scoring.total(chunk, 1)) > free:
        found = scoring.fitting(chunk, 1, free)
        cure = f"evaluation.chunk={found[0]} would fit" if found else LARGER
        raise UsageError(_excess(settings, needed, free, f"{counted(chunk, 'episode')} side by side", cure))


def free_bytes(settings: Settings) -> int | None:
    """Return the bytes that are free on the device of a configuration; None if unknown."""
    if settings.hardware.device.startswith("cuda"):
        return int(torch.cuda.mem_get_info()[0])
    return usable_memory()


def _advice(training: Footprint, episodes: int, steps: int, free: int) -> str:
    """Return what would fit."""
    found = training.fitting(episodes, steps, free)
    if found is None:
        return LARGER
    fewer = f"gradient.episodes={found[0]}" + ("" if found[1] == steps else f" gradient.window={found[1]}")
    return f"{fewer} would fit, with {size_text(training.total(*found))}"


def _excess(settings: Settings, needed: int, free: int, at: str, cure: str) -> str:
    name = settings.choices.get("task") or "this task"
    return f"task={name} takes about {size_text(needed)} of memory at {at}, and {size_text(free)} are free: {cure}"


def training_footprint(learner: Learner[Any], estimator: Estimator) -> Footprint:
    """Return the footprint of one update of φ; for a varying task, that of the largest of some draws."""
    tasks = {id(task): task for draw in range(DRAWS) for task in [learner.task.drawn(draw)]}.values()
    each = [_footprint(learner if task is learner.task else learner.on(task), estimator) for task in tasks]
    return max(each, key=lambda one: one.total(estimator.episodes, _window(learner, estimator)))


def _footprint(learner: Learner[Any], estimator: Estimator) -> Footprint:
    if isinstance(estimator, Evidence):  # it needs no states
        return Footprint(*estimator.bytes_of(learner), 0)
    parts = _parts(learner)
    if isinstance(estimator, Antithetic):
        particles = 2 * estimator.pairs if isinstance(estimator, PersistentES) else 1
        return Footprint(0, (particles + 2) * parts.state + parts.activations, parts.data)
    replayed = isinstance(estimator, Replayed) and estimator.replay.store != "initial"
    slots = estimator.replay.capacity * parts.params if isinstance(estimator, Replayed) and replayed else 0
    episode = 2 * parts.state + parts.activations + slots
    if estimator.path_of(learner).is_compiled:
        return Footprint(0, episode, parts.memory + 3 * parts.params + parts.data)
    return Footprint(0, episode, TAPE * parts.memory + 4 * parts.params + parts.activations + parts.data)


def scoring_footprint(learner: Learner[Any]) -> Footprint:
    """Return the footprint of scoring, which keeps no steps for a backward pass."""
    parts = _parts(learner)
    return Footprint(4 * NUMBERS, 2 * parts.state + parts.activations + 2 * parts.data, 0)


def _window(learner: Learner[Any], estimator: Estimator) -> int:
    """Return the number of steps that are kept for a backward pass."""
    return min(estimator.window or learner.task.horizon, learner.task.horizon)


def _parts(learner: Learner[Any]) -> _Episode:
    spec, model = learner.task.spec, learner.task.model
    data = 4 * spec.examples * (math.prod(spec.inputs) + math.prod(spec.targets))
    if not isinstance(learner, Descent):
        return _Episode(0, _bytes(learner.init(1, generator(0))), 0, data)
    params = {name: torch.empty(1, *shape) for name, shape in model.shapes.items()}
    return _Episode(
        _bytes(params), _memory(learner, params), spec.examples * activation_bytes(model, spec.inputs), data
    )


def _memory(learner: Descent, params: Params) -> int:
    """Return the bytes of a rule's state for one episode; a rule keeps as much for each parameter of a type."""
    share = max(1, math.ceil(sum(value.numel() for value in params.values()) / SAMPLE))
    few = {name: value[:, : max(1, value[0].numel() // share // value[0, 0].numel())] for name, value in params.items()}
    return round(_bytes(learner.rule.init(few)) * _bytes(params) / _bytes(few))


def _bytes(tree: object) -> int:
    return sum(value.numel() * value.element_size() for _, value in leaves(tree))


def activation_bytes(model: Model, inputs: tuple[int, ...]) -> int:
    """Return the bytes that automatic differentiation keeps for a forward pass of one example.

    A network that does not accept zeros, since it expects integers, counts as keeping nothing.
    """
    found: dict[int, Tensor] = {}
    module = model.module
    given = {name: value.detach().clone() for name, value in [*module.named_parameters(), *module.named_buffers()]}
    own = {value.untyped_storage().data_ptr() for value in given.values()}
    values = {name: value.requires_grad_(value.is_floating_point()) for name, value in given.items()}

    def keep(value: Tensor) -> Tensor:
        if (place := value.untyped_storage().data_ptr()) not in own:
            found[place] = value
        return value

    first = next(iter(given.values()))
    zeros = torch.zeros(2, *inputs, dtype=first.dtype, device=first.device)  # two, for batch normalization
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), hooks, suppress(RuntimeError, ValueError, IndexError):
        functional_call(module, values, (zeros,))
    kept = sum(value.untyped_storage().nbytes() for value in found.values()) // 2
    return round(RECOMPUTED * kept) if model.recompute else kept
