"""Folders of configuration that installed packages offer by entry points, beside ``--config-dir``; no torch.

A package names the module whose folder holds the files, as in ``[project.entry-points."l2l.tasks"]`` with
``l2l-template = "l2l_template.conf"``.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

from l2l_cli.core.errors import UsageError
from l2l_cli.core.places import spec_of

ENTRY_POINTS = {"l2l.tasks": "task", "l2l.learners": "learner", "l2l.papers": "experiment"}
"""Groups of entry points, with the folder whose YAML files each stands for."""


class Offer(NamedTuple):
    """What an installed package offers.

    Attributes:
        package: Name and version of the package.
        group: Group of its entry point.
        module: Module that the entry point names.
        folder: Folder of that module; None if it is not found.
        why_not: Why it is not found.
    """

    package: str
    group: str
    module: str
    folder: Path | None
    why_not: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with it; nothing if it is as it must be."""
        if self.folder is None:
            return f"names the module {self.module}, which {self.why_not}"
        inner = self.folder / ENTRY_POINTS[self.group]
        return "" if any(inner.rglob("*.yaml")) else f"promises files in {inner}, and there are none"


@cache
def offers() -> tuple[Offer, ...]:
    """Return what all installed packages offer, in the order of their names."""
    from importlib.metadata import entry_points

    found = []
    for group in ENTRY_POINTS:
        for point in entry_points(group=group):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else point.name
            found.append(Offer(package, group, point.value, *_folder_of(point.value)))
    return tuple(sorted(found, key=lambda one: (one.package, one.group)))


def installed_folders() -> list[Path]:
    """Return the folders of configuration that are as they must be, each once."""
    return list(dict.fromkeys(one.folder for one in offers() if one.folder is not None and not one.fault))


def refuse_broken() -> None:
    """See that every offer is as it must be.

    Raises:
        UsageError: A package is broken.
    """
    for one in offers():
        if one.fault:
            name = one.package.partition(" ")[0]
            raise UsageError(
                f"the installed package {one.package} is broken: its entry point {one.group} {one.fault}; install it "
                f"again, or remove it by `pip uninstall {name}`"
            )


def _folder_of(module: str) -> tuple[Path | None, str]:
    """Return the folder of a module, which is not imported where it is found without that; or why there is none."""
    spec = spec_of(module)
    if spec is None:
        try:
            spec = importlib.util.find_spec(module)
        except ImportError:
            return None, "is not there"
        except Exception as error:  # of the package's own code, which is carried out to find what lies within
            from l2l_cli.core.plain_text import in_one_line  # help need not load it

            return None, f"cannot be looked for: {in_one_line(f'{type(error).__name__}: {error}')}"
    if spec is None:
        return None, "is not there"
    places = list(spec.submodule_search_locations or ())
    return (Path(places[0]), "") if places else (None, "is a file and no folder")
