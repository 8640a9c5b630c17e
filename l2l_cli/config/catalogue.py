"""The entries of a list of experiments, read from their files without composing everything that they would run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from l2l_cli.config.compose import compose
from l2l_cli.config.groups import roots_of
from l2l_cli.config.schema import Row
from l2l_cli.config.user_yaml import read_yaml
from l2l_cli.core.nodes import Entries, Node


class Listing(NamedTuple):
    """The part of an experiment that a list shows; ``Settings`` describes the fields."""

    rows: Mapping[str, Row]
    scales: Mapping[str, Any]
    source: str | None


class _NotPlain(Exception):
    """A file that needs Hydra, since it does more than add entries to the files that its defaults name."""


def listing(paper: str, name: str, config_dir: str | None = None) -> Listing:
    """Return the listing of an experiment.

    Hydra takes a tenth of a second for each experiment, so files whose defaults are plain names are merged here.

    Raises:
        UsageError: The experiment cannot be composed.
    """
    roots = roots_of(config_dir)
    try:
        found = _merged(f"experiment/{paper}/{name}", "experiment", roots)
    except _NotPlain:
        settings = compose("reproduce", [f"experiment={paper}/{name}"], config_dir)
        return Listing(settings.rows, settings.scales, settings.source)
    rows = {str(row): Row(**facts) for row, facts in found.get("rows", {}).items()}
    return Listing(rows, found.get("scales", {}), found.get("source"))


def _merged(place: str, group: str, roots: list[Path]) -> Entries:
    """Return a file's entries merged over those of its defaults, whose names are relative to ``group``."""
    file = next((path for root in roots if (path := root / f"{place}.yaml").is_file()), None)
    if file is None:
        raise _NotPlain(place)
    own, text = read_yaml(file)
    defaults = own.pop("defaults", [])
    if "${" in text or not all(isinstance(item, str) and "@" not in item and item != "_self_" for item in defaults):
        raise _NotPlain(place)
    result: Entries = {}
    for item in defaults:
        inner = item.removeprefix("/") if item.startswith("/") else f"{group}/{item}"
        result = _over(result, _merged(inner, inner.rpartition("/")[0], roots))
    return _over(result, own)


def _over(below: Node, above: Node) -> Entries:
    """Return two mappings merged, the second over the first."""
    both = dict(below)
    for key, value in above.items():
        inside = both.get(key)
        both[key] = _over(inside, value) if isinstance(inside, dict) and isinstance(value, dict) else value
    return both
