"""Warnings before an interrupted run continues."""

from __future__ import annotations

from importlib import metadata

from l2l_cli.config.schema import Settings
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.folders import changed_since

DECIDING = {
    "device": "the device",
    "threads": "hardware.threads",
    "replicas": "hardware.replicas",
    "world": "the number of processes",
    "precision": "hardware.precision",
    "kernels": "the path of the kernels",
}
"""Entries of run.json that affect the last digits, and their names in messages; ``PACKAGES`` affect them, too."""

PACKAGES = ("torch", "numpy")


def warnings(folder: RunFolder, settings: Settings, now: Node) -> list[str]:
    """Return why the digits of a run that continues may differ from those of one that was never interrupted.

    Args:
        folder: Folder of the run, before it continues.
        settings: Its settings.
        now: Facts of the present process, by their names in run.json.
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
    return [f"{line}: the last digits may differ from those of an uninterrupted run" for line in lines if line]


def _versions(facts: Node) -> Entries:
    versions: Entries = facts.get("versions", {})
    return versions
