"""A network, data and a loss that a program gives as objects, and their names in a configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple, Self

import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import checksum
from l2l_cli.core.global_draws import Draws
from l2l_cli.core.nodes import REFERENCE_KEYS, Node
from l2l_cli.core.object_digest import LENGTH, digest_of
from l2l_cli.core.reference import GIVEN
from l2l_cli.tasks.own_data import OwnExamples, in_memory

MODULE = "task=module"
"""Task that is made from these objects."""

MAIN = ("__main__", "__mp_main__")
"""Names of modules that another process would not find."""


class GivenObjects(NamedTuple):
    """Objects that a program gives.

    Attributes:
        names: Name of each object by its key in the configuration: as on the command line, such as "my_net:Net", for an
            object in a module; otherwise a name in ``reference.GIVEN`` with the object's digest.
        objects: Objects with names of the second form.
    """

    names: Mapping[str, str] = {}
    objects: Mapping[str, object] = {}

    @classmethod
    def of(cls, model: object, data: object, loss: object) -> Self:
        """Name the objects; data that have no name are read here, once, before anything else is done with them.

        Raises:
            UsageError: The data have an unknown form, or model or data is missing.
        """
        found = {
            key: value for key, value in zip(REFERENCE_KEYS, (model, data, loss), strict=True) if value is not None
        }
        if found and not {"model", "data"} <= found.keys():
            raise UsageError(
                f"only {' and '.join(found)} given; a task needs model= and data=, and loss= if it is not a usual one"
            )
        names = {key: _in_a_module(value) for key, value in found.items()}
        objects: dict[str, object] = {}
        for key, value in found.items():
            if names[key] is None:
                kept, digest = _read(value) if key == "data" else (value, digest_of(value))
                names[key] = f"{GIVEN}:{key if key == 'data' else _word(key, value)}_{digest}"
                objects[str(names[key])] = kept
        return cls({key: str(name) for key, name in names.items()}, objects)

    @property
    def words(self) -> list[str]:
        """Overrides that choose the task made from these objects; none without objects."""
        return [MODULE, *(f"task.{key}={name}" for key, name in self.names.items())] if self.names else []

    @property
    def packages(self) -> list[str]:
        """Packages of the objects that are in modules, whose classes a run with them may name."""
        return sorted({name.split(":")[0].split(".")[0] for name in self.names.values()} - {GIVEN})

    def for_run(self, task: Node) -> tuple[GivenObjects, list[str]]:
        """Return the objects under their names in a run's task, and the keys whose objects have changed since.

        Raises:
            UsageError: The run was trained without one of them, which would therefore not be used.
        """
        if none := [key for key in self.names if task.get(key) is None]:
            raise UsageError(
                f"the run was trained without {' and '.join(f'{key}=' for key in none)}; open it without, as it was"
            )
        names = {key: str(task.get(key)) for key in self.names}
        by_key = {key: self.objects.get(name) for key, name in self.names.items()}
        objects = {names[key]: found for key, found in by_key.items() if found is not None}
        return GivenObjects(names, objects), [key for key in names if names[key] != self.names[key]]


def _in_a_module(value: object) -> str | None:
    """Return the name under which any process can find a class or function; None if there is none."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in MAIN or not name.isidentifier():
        return None
    return f"{module}:{name}" if vars(sys.modules.get(module, object)).get(name) is value else None


def _word(key: str, value: object) -> str:
    name = getattr(value, "__name__", key)
    return name if isinstance(name, str) and name.isidentifier() else key


def _read(data: object) -> tuple[object, str]:
    """Return data as tensors, and a digest of their content."""
    with Draws(0, "module", "data"):
        kept = in_memory("data", data)
    parts = kept if isinstance(kept, Mapping) else {"": kept}
    found = []
    for phase, pair in parts.items():
        assert isinstance(pair, OwnExamples)
        found.append(f"{phase} {[(value.shape, value.dtype) for value in pair]}".encode())
        found += [value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() for value in pair]
    return kept, checksum(*found)[:LENGTH]
