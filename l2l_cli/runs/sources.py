"""What decides a run's results behind its configuration: the code of others, and data; torch only where data are read.

A run's identity has them where there are any, and its config.yaml names them under ``sources``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from l2l_cli.config.build import Builder, changed
from l2l_cli.config.schema import Settings
from l2l_cli.core.fingerprint import NO_SOURCE, of_code
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.plain_text import in_one_line

SOURCES = "sources"
"""Entry of a run's config.yaml, or of run.json for a run that was made before that entry was."""

SHIPPED = ("digits", "mnist", "cifar10")
"""Data sets whose content is known by checksums, so that their names say all."""


def sources_of(
    settings: Settings, *nodes: object, trust: Sequence[str] | None = None, problems: bool = False
) -> Entries:
    """Return fingerprints of what a configuration reads: by module, and by data set; empty if it reads neither.

    Args:
        settings: The configuration, whose task's data are looked at.
        nodes: Nodes whose classes' code counts, beside the task's.
        trust: Packages beside l2l_cli whose classes may be built; None is any, for what the user typed.
        problems: Whether the problems of the evaluation are read, too.

    Raises:
        UsageError: The task may read data, and does not build, or is not to be trusted.
    """
    further = list(settings.evaluation.problems.values()) if problems else []
    return named_sources(of_code([settings.task, *nodes]), _data(settings, Builder(trust), further))


def named_sources(code: Mapping[str, str], data: Mapping[str, str]) -> Entries:
    """Return fingerprints as they stand in a configuration, leaving out what there is none of."""
    return {name: dict(found) for name, found in (("code", code), ("data", data)) if found}


def with_sources(config: Node, sources: Node) -> Entries:
    """Return a configuration with what it reads; as it is, if it reads nothing."""
    return {**config, **({SOURCES: dict(sources)} if sources else {})}


def as_sources(found: object) -> Entries:
    """Return fingerprints that a run's folder holds; empty if it holds something else."""
    if not isinstance(found, Mapping):
        return {}
    return {str(kind): dict(each) for kind, each in found.items() if isinstance(each, Mapping)}


def changes_of(before: Node, now: Node) -> list[str]:
    """Return the names of modules and data sets of which the fingerprint is not as before, if they are found at all."""
    kinds = [(before.get(kind, {}), now.get(kind, {})) for kind in ("code", "data")]
    return [
        name
        for old, new in kinds
        for name in sorted({*map(str, old), *new})
        if new.get(name) not in (old.get(name), NO_SOURCE)
    ]


def _data(settings: Settings, builder: Builder, further: Sequence[Node]) -> dict[str, str]:
    """Return fingerprints of the data sets that a task and its variations read, but for those that we ship.

    What is ``further`` changed in the task makes variations, too.
    """
    varied = [{key: value} for key, values in settings.vary.items() for value in values if isinstance(value, str)]
    found = {}
    for changes in [{}, *varied, *further]:
        node = changes if "_target_" in changes else changed(settings.task, changes, "task")
        if any(name not in SHIPPED for name in _names(node)) or of_code(node):
            from l2l_cli.runs.building import variation

            if fingerprint := variation(settings, changes, "task", builder).fingerprint():
                found[next(_names(node), "data")] = fingerprint
    return found


def _names(node: Node) -> Iterator[str]:
    """Yield the data sets that a node names."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _names(value)
        elif key == "dataset":
            yield str(value)


def said(changes: list[str], path: Path) -> str:
    """Say that what a run read has changed since."""
    return (
        f"{', '.join(map(in_one_line, changes))} {'has' if len(changes) == 1 else 'have'} changed since {path} was made"
    )
