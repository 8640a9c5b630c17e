"""Configurations saved by older versions, brought up to date: the one place that knows what was renamed since.

A run folder's ``config.yaml`` names classes and their constructors' keys as they were when it was written.  Whoever
renames or restructures a class that a configuration may name adds an entry to ``CHANGES``, under the class's dotted
path as the *older* version wrote it.  An entry says where the class is now, which keys moved, and which are new:

    "l2l_cli.tasks.images.ImagesMLP": Change(
        "l2l_cli.tasks.images.ImageTask",
        moved={"dataset": "data.dataset", "hidden": "network.hidden"},
        added={"data._target_": "l2l_cli.tasks.images.Images", "network._target_": "l2l_cli.models.mlp.MLP"},
    )

Keys are relative to the node, dotted where they lie in an inner node, which is made if need be.  Keys that an entry
does not mention stay as they are.  An entry must leave a node of the present version as it is, because one table serves
the runs of all versions: a key that has moved already is not there to be moved, and a key that is there is not added.
The keys of ``vary`` are the task's, and move with them.  Inner nodes are brought up to date before outer ones.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NONE: Mapping[str, Any] = MappingProxyType({})


class Change(NamedTuple):
    """What became of a class that older configurations name.

    Attributes:
        target: Dotted path of the class now
        moved: New key by old key; None for a key that the class no longer takes
        added: Values of keys that older configurations lack
    """

    target: str
    moved: Mapping[str, str | None] = NONE
    added: Mapping[str, Any] = NONE


CHANGES: dict[str, Change] = {
    "l2l_cli.learners.bayes.Bayes": Change("l2l_cli.learners.bayes.posterior.Bayes"),
    "l2l_cli.learners.gaussian_process.GaussianProcess": Change(
        "l2l_cli.learners.refit.gaussian_process.GaussianProcess"
    ),
    "l2l_cli.learners.logistic_regression.CrossValidatedLogisticRegression": Change(
        "l2l_cli.learners.refit.logistic_regression.CrossValidatedLogisticRegression"
    ),
    "l2l_cli.learners.logistic_regression.LogisticRegression": Change(
        "l2l_cli.learners.refit.logistic_regression.LogisticRegression"
    ),
    "l2l_cli.learners.many_epochs.ManyEpochs": Change("l2l_cli.learners.refit.many_epochs.ManyEpochs"),
    "l2l_cli.learners.svm.Svm": Change("l2l_cli.learners.refit.svm.Svm"),
}
"""What became of each class, by its dotted path in the older version."""


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved configuration as this version would have written it."""
    result: dict[str, Any] = _upgraded(config)
    change, vary = _change_of(config.get("task")), config.get("vary")
    if change is not None and isinstance(vary, Mapping):
        names = {key: change.moved.get(key, key) for key in vary}
        result["vary"] = {names[key]: value for key, value in vary.items() if names[key] is not None}
    return result


def _upgraded(value: Any) -> Any:
    """Return a value with every node in it brought up to date."""
    if isinstance(value, list):
        return [_upgraded(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    node = {key: _upgraded(item) for key, item in value.items()}
    if (change := _change_of(node)) is None:
        return node
    kept = {key: item for key, item in node.items() if key not in change.moved}
    kept["_target_"] = change.target
    for old, new in change.moved.items():
        if old in node and new is not None:
            _put(kept, new, node[old])
    for key, item in change.added.items():
        _put(kept, key, copy.deepcopy(item))
    return kept


def _change_of(node: Any) -> Change | None:
    return CHANGES.get(str(node.get("_target_"))) if isinstance(node, Mapping) else None


def _put(node: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key that is not there yet, and make the inner nodes that it leads through."""
    *parents, last = key.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    node.setdefault(last, value)
