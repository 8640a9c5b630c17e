"""Building of the training that a configuration describes, in one process or over ranks."""

from __future__ import annotations

from typing import Any

from l2l_cli.config.build import Builder, build
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.online_training import OnlineTraining
from l2l_cli.meta.rules import OnlineRule
from l2l_cli.meta.training import Training
from l2l_cli.parallel.launched import Place, launched
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.runs.memory import refuse_excess
from l2l_cli.runs.vetting import vet_training


def ranks_of(settings: Settings) -> Ranks | None:
    """Return the ranks of a configuration, or of the launcher; None if this process works alone.

    Raises:
        UsageError: Ranks are requested both by a launcher and by the configuration, or together with replicas.
    """
    place, world, replicas = launched(), settings.hardware.world, settings.hardware.replicas
    if place is not None and world > 1:
        raise UsageError(
            f"the launcher has started {place.size} ranks, and hardware.world={world} asks for more; drop one of them"
        )
    place, local = (place, False) if place is not None else (Place(0, world, 0), True)
    if place.size > 1 and replicas > 1:
        raise UsageError(
            f"{place.size} ranks divide the episodes, and hardware.replicas={replicas} the batches; use one of them"
        )
    return Ranks(place, local) if place.size > 1 else None


def training_of(settings: Settings, builder: Builder = build, ranks: Ranks | None = None) -> Training:
    """Build the training of a configuration, or one rank's part of it.

    Raises:
        UsageError: The configuration does not build, or its work cannot be divided among the ranks.
    """
    learner = build_learner(settings, build_task(settings, builder), builder)
    if not learner.is_meta_trained:
        choice = settings.choices.get("learner")
        raise UsageError(
            f"learner {choice} is hand-made, with nothing to meta-train; `l2l compare` tunes and scores it"
        )
    gradient = builder(settings.gradient, "gradient")
    optimizer = builder(settings.optimizer, "optimizer")
    vet_training(settings, learner, gradient, optimizer)
    kernels = settings.hardware.kernels
    if not isinstance(gradient, OnlineRule):
        if kernels == "fast" and not learner.path.is_compiled:
            reason = f": {learner.path.why_not}" if learner.path.why_not else ""
            raise UsageError(
                f"no compiled kernel for learner {settings.choices.get('learner')}{reason}; use hardware.kernels=auto"
            )
        if ranks is not None:
            _check_division(learner, ranks)
        refuse_excess(settings, learner, gradient)
        return MetaTraining(learner, gradient, optimizer, settings.meta, settings.seed, ranks)
    if ranks is not None:
        raise UsageError(
            f"a rule of 1997 moves the weights step by step, which cannot be divided over {ranks.size} ranks; use one "
            "process, or gradient=backprop"
        )
    if kernels == "reference":
        raise UsageError("hardware.kernels=reference, but the rules of 1997 have only a compiled path; use auto")
    try:
        return OnlineTraining(learner, gradient, optimizer, settings.meta, settings.seed)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check_division(learner: Learner[Any], ranks: Ranks) -> None:
    """Refuse a learner for which ranks would draw other random numbers than one process.

    Raises:
        UsageError: The learner samples the coordinates that it back-propagates through.
    """
    if isinstance(learner, Descent) and learner.visited is not None:
        raise UsageError(
            f"learner.visited={learner.visited:g} samples the coordinates of all episodes together, and {ranks.size} "
            "ranks have some each; use learner.visited=null, or one process"
        )


def choices_of(training: Training) -> list[str]:
    """Return which path is taken where another was preferred, and what the task has determined automatically."""
    path, told = training.path, training.learner.task.told
    return [*([f"kernels: {path}"] if path.why_not else []), *([f"task: {in_one_line(told)}"] if told else [])]
