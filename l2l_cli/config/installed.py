"""Folders of configuration that installed packages provide through entry points, besides ``--config-dir``; no torch.

The entry point names the module whose folder holds the files, as in ``[project.entry-points."l2l.tasks"]`` with
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
"""Groups of entry points, and the folder of YAML files that each of them provides."""


class Offer(NamedTuple):
    """An entry point of an installed package.

    Attributes:
        package: Name and version of the package.
        group: Group of its entry point.
        module: Module that the entry point names.
        folder: Folder of that module; None if it is not found.
        why_not: Reason why it is not found.
    """

    package: str
    group: str
    module: str
    folder: Path | None
    why_not: str = ""

    @property
    def fault(self) -> str:
        """The fault of this entry point; empty if it has none."""
        if self.folder is None:
            return f"names the module {self.module}, which {self.why_not}"
        inner = self.folder / ENTRY_POINTS[self.group]
        return "" if any(inner.rglob("*.yaml")) else f"promises files in {inner}, and there are none"


@cache
def offers() -> tuple[Offer, ...]:
    """Return the entry points of all installed packages, ordered by package."""
    from importlib.metadata import entry_points

    found = []
    for group in ENTRY_POINTS:
        for point in entry_points(group=group):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else point.name
            found.append(Offer(package, group, point.value, *_folder_of(point.value)))
    return tuple(sorted(found, key=lambda one: (one.package, one.group)))


def installed_folders() -> list[Path]:
    """Return the folders of configuration without faults, each once."""
    return list(dict.fromkeys(one.folder for one in offers() if one.folder is not None and not one.fault))


def refuse_broken() -> None:
    """Check that no entry point has a fault.

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
    """Return the folder of a module, imported only if it is not found otherwise; or the reason why there is none."""
    spec = spec_of(module)
    if spec is None:
        try:
            spec = importlib.util.find_spec(module)
        except ImportError:
            return None, "is not there"
        except Exception as error:  # raised by the package's own code, which runs when its submodules are looked up
            from l2l_cli.core.plain_text import in_one_line  # help should not load it

            return None, f"cannot be looked for: {in_one_line(f'{type(error).__name__}: {error}')}"
    if spec is None:
        return None, "is not there"
    places = list(spec.submodule_search_locations or ())
    return (Path(places[0]), "") if places else (None, "is a file and no folder")
