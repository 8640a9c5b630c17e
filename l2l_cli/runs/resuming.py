"""What is to be said and seen before a run that was interrupted goes on."""

from __future__ import annotations

import re
from importlib import metadata

from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.results.run import CONFIG, RunFolder, identity
from l2l_cli.runs.folders import changed_since

DECIDING = {
    "device": "the device",
    "threads": "hardware.threads",
    "replicas": "hardware.replicas",
    "world": "the number of processes",
    "precision": "hardware.precision",
    "kernels": "the path of the kernels",
}
"""Entries of run.json on which last digits depend, and their names in a message; so do the versions of ``PACKAGES``."""

PACKAGES = ("torch", "numpy")


def check_configuration(folder: RunFolder) -> None:
    """See that a run's configuration is what the run was begun with.

    Raises:
        UsageError: It is another one.
    """
    facts, hashed = folder.facts(), re.fullmatch(r".*-([0-9a-f]{8})", folder.path.resolve().name)
    if "results" not in facts or hashed is None:  # made by version 0.1.0, or named by the user
        return
    found = identity(folder.config(), int(facts["results"]))
    if found != hashed[1]:
        raise UsageError(
            f"{folder.path / CONFIG} is not what this run was begun with: it comes to {found}, and the folder is "
            f"that of {hashed[1]}; put the file back, or train the changed settings by `l2l meta-train`"
        )


def warnings(folder: RunFolder, settings: Settings, now: Node) -> list[str]:
    """Return why the digits of a run that goes on may differ from those of one that was never interrupted.

    Args:
        folder: Folder of the run, before it goes on.
        settings: Its settings.
        now: Facts of the present, by their names in run.json.
    """
    before = folder.facts()
    changes = [
        f"{name} was {before[key]} and is {now[key]}"
        for key, name in DECIDING.items()
        if key in before and key in now and before[key] != now[key]
    ]
    old, new = _versions(before), {name: metadata.version(name) for name in PACKAGES} | _versions(now)
    changes += [
        f"{name} was {old[name]} and is {new[name]}" for name in PACKAGES if old.get(name, new[name]) != new[name]
    ]
    lines = [", ".join(changes), changed_since(folder, settings)]
    return [f"{line}: digits may differ from those of a run that was never interrupted" for line in lines if line]


def _versions(facts: Node) -> Entries:
    versions: Entries = facts.get("versions", {})
    return versions
