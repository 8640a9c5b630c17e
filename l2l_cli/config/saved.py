"""Upgrades of configurations that older versions saved; this is the only module that knows what has been renamed.

A run folder's ``config.yaml`` contains class names and constructor keys as they were when it was written.  When you
rename or restructure a class that a configuration may name, add an entry to ``UPGRADES`` under the dotted path that the
*older* version wrote: a function from the old node to the present one.  ``moved`` returns one for a class whose path or
keys have been renamed:

    "l2l_cli.optimizers.mlhf.MLHF": moved("l2l_cli.optimizers.mlhf.MLHF", kinds="parameter_types")

To split a class, write a function of this signature.  The table serves runs of all versions, so a function must not
change a node of the present version: keys that have been renamed are no longer there.  Inner nodes are upgraded before
outer ones.  Keys of ``vary`` are those of the task; old ones remain valid where a short key reaches the inner node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l2l_cli.config.saved_images import IMAGE_TASKS, image_task
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries, Node

Upgrade = Callable[[Node], Node]


def moved(target: str, **keys: str) -> Upgrade:
    """Return an upgrade for a class that has moved, or whose keys have new names.

    Args:
        target: Present dotted path of the class
        keys: New names by old ones
    """
    return lambda node: {keys.get(key, key): value for key, value in node.items()} | {"_target_": target}


UPGRADES: dict[str, Upgrade] = {
    "l2l_cli.learners.bayes.Bayes": moved("l2l_cli.learners.bayes.posterior.Bayes"),
    **{
        f"l2l_cli.learners.{name}": moved(f"l2l_cli.learners.refit.{name}")
        for name in (
            "gaussian_process.GaussianProcess",
            "logistic_regression.CrossValidatedLogisticRegression",
            "logistic_regression.LogisticRegression",
            "many_epochs.ManyEpochs",
            "svm.Svm",
        )
    },
    **dict.fromkeys(IMAGE_TASKS, image_task),
}
"""Functions from a node of an older version to the present node, by the class's dotted path in the older version."""


def upgraded(config: Node) -> Entries:
    """Return a saved configuration as this version would have written it."""
    return {key: _upgraded(value) for key, value in config.items()}


def refuse_references(config: object) -> None:
    """Check that a saved configuration has no references: it was resolved when saved, and they could read our secrets.

    Raises:
        UsageError: It contains a ``${…}``.
    """
    match config:
        case Mapping():
            for key, value in config.items():
                refuse_references(key)
                refuse_references(value)
        case list():
            for value in config:
                refuse_references(value)
        case str() if "${" in config:
            raise UsageError(f"the run's config.yaml holds {config!r}, which is not allowed in a saved configuration")


def _upgraded(value: object) -> object:
    """Return a value with all nodes in it upgraded."""
    if isinstance(value, list):
        return [_upgraded(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    node = upgraded(value)
    upgrade = UPGRADES.get(str(node.get("_target_")))
    return node if upgrade is None else dict(upgrade(node))
