"""Configurations saved by older versions, brought up to date: the one place that knows what was renamed since.

A run folder's ``config.yaml`` names classes and their constructors' keys as they were when it was written.  Whoever
renames or restructures a class that a configuration may name adds an entry to ``UPGRADES``, under the class's dotted
path as the *older* version wrote it: a function from the old node to the present one.  ``moved`` makes one for a class
that has another path or other names for its keys,

    "l2l_cli.optimizers.mlhf.MLHF": moved("l2l_cli.optimizers.mlhf.MLHF", kinds="parameter_types")

and whoever splits a class into several writes a function of that signature.  One table serves the runs of all versions,
so a function must return a node of the present version as it is: a key that has moved already is not there to be moved.
Inner nodes are brought up to date before outer ones.  Keys of ``vary`` are the task's, which may still be typed as
before where a short key goes to the inner node that takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l2l_cli.config.saved_images import IMAGE_TASKS, image_task
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries, Node

Upgrade = Callable[[Node], Node]


def moved(target: str, **keys: str) -> Upgrade:
    """Return the upgrade of a class that is elsewhere now, or whose keys have other names.

    Args:
        target: Dotted path of the class now
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
"""From a node as an older version wrote it to the present one, by the class's dotted path in the older version."""


def upgraded(config: Node) -> Entries:
    """Return a saved configuration as this version would have written it."""
    return {key: _upgraded(value) for key, value in config.items()}


def refuse_references(config: object) -> None:
    """See that a saved configuration is plain: what was saved was resolved, and a stranger's would read our secrets.

    Raises:
        UsageError: It holds a ``${…}``.
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
            raise UsageError(f"the run's config.yaml holds {config!r}, which a saved configuration must not refer to")


def _upgraded(value: object) -> object:
    """Return a value with every node in it brought up to date."""
    if isinstance(value, list):
        return [_upgraded(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    node = upgraded(value)
    upgrade = UPGRADES.get(str(node.get("_target_")))
    return node if upgrade is None else dict(upgrade(node))
