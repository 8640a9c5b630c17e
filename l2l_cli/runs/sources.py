"""What determines a run's results besides its configuration: users' code, and data; torch is loaded only to read data.

If there is any, it is part of the run's identity and is recorded in its config.yaml under ``sources``.
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
"""Entry of a run's config.yaml or, for runs made before it was introduced, of run.json."""

SHIPPED = ("digits", "mnist", "cifar10")
"""Data sets that are verified by checksums, so that their names identify them."""


def sources_of(
    settings: Settings, *nodes: object, trust: Sequence[str] | None = None, problems: bool = False
) -> Entries:
    """Return fingerprints of what a configuration reads, by module and by data set; empty if it reads neither.

    Args:
        settings: The configuration, including that of the task whose data are fingerprinted.
        nodes: Nodes whose classes' code counts in addition to the task's.
        trust: Packages besides l2l_cli whose classes may be built; None means any, for what the user typed.
        problems: Whether the evaluation's problems are included.

    Raises:
        UsageError: The task may read data, but cannot be built, or is not trusted.
    """
    further = list(settings.evaluation.problems.values()) if problems else []
    return named_sources(of_code([settings.task, *nodes]), _data(settings, Builder(trust), further))


def named_sources(code: Mapping[str, str], data: Mapping[str, str]) -> Entries:
    """Return fingerprints in the form of a configuration, without empty groups."""
    return {name: dict(found) for name, found in (("code", code), ("data", data)) if found}


def with_sources(config: Node, sources: Node) -> Entries:
    """Return a configuration together with its sources; unchanged if it has none."""
    return {**config, **({SOURCES: dict(sources)} if sources else {})}


def as_sources(found: object) -> Entries:
    """Return the fingerprints in a run's folder; empty if the entry is malformed."""
    if not isinstance(found, Mapping):
        return {}
    return {str(kind): dict(each) for kind, each in found.items() if isinstance(each, Mapping)}


def changes_of(before: Node, now: Node) -> list[str]:
    """Return the names of modules and data sets whose fingerprints have changed, except modules that are not found."""
    kinds = [(before.get(kind, {}), now.get(kind, {})) for kind in ("code", "data")]
    return [
        name
        for old, new in kinds
        for name in sorted({*map(str, old), *new})
        if new.get(name) not in (old.get(name), NO_SOURCE)
    ]


def _data(settings: Settings, builder: Builder, further: Sequence[Node]) -> dict[str, str]:
    """Return fingerprints of the data sets that a task and its variations read, except those in ``SHIPPED``.

    The changes in ``further`` define variations, too.
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
    """Return the message that sources of a run have changed since."""
    return (
        f"{', '.join(map(in_one_line, changes))} {'has' if len(changes) == 1 else 'have'} changed since {path} was made"
    )
