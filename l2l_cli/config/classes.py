"""Classes that a configuration names: where they are looked for, and which of them a saved configuration may name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.nodes import TORCH_OPTIMIZERS
from l2l_cli.core.reference import GIVEN, given, is_reference

PACKAGE = "l2l_cli"

ROOMS = ("learners", "meta", "models", "optimizers", "tasks")
"""Parts of the package in which the classes are that a saved configuration may name."""

KINDS = {
    "tasks.base.Task": ("task",),
    "learners.base.Learner": ("learner",),
    "optimizers.base.Optimizer": ("optimizer",),
    "meta.gradient.Estimator": ("gradient",),
    "meta.rules.OnlineRule": ("gradient",),
    "meta.horizon.Horizon": (),
    "meta.loss.MetaLoss": (),
    "meta.replay.Replay": (),
    "models.architecture.Architecture": (),
    "optimizers.preprocess.Preprocess": (),
    "tasks.images.data.Images": (),
}
"""Bases of these classes, with the keys of the configuration that are of such a kind alone."""

EXTRAS = dict.fromkeys(("pytorch_optimizer", "schedulefree"), "optimizers")
"""Packages that presets of ours name, by the extra that installs them."""

_FOLDERS: list[Path] = []
"""Folder of ``--config-dir``, if there is one."""

_USERS: set[str] = set()
"""Names of the packages that were first imported for a configuration."""


def add_folder(folder: Path) -> None:
    """Let modules be found in the folder of ``--config-dir``: last, so that none of them takes the place of another."""
    if folder in _FOLDERS and str(folder) in sys.path:
        return
    for earlier in _FOLDERS:
        sys.path[:] = [place for place in sys.path if place != str(earlier)]
    for name in [name for name in sys.modules if name.split(".")[0] in _USERS]:
        del sys.modules[name]  # this folder's own may have the same name
    _USERS.clear()
    _FOLDERS[:] = [folder]
    sys.path.append(str(folder))


def find_class(dotted: str, path: str, trust: Sequence[str] | None, key: str = "_target_") -> type[Any]:
    """Return the class of a dotted name.

    Args:
        dotted: The name, as package.module.Class.
        path: Key of its node in the configuration, for messages.
        trust: Packages beside l2l_cli whose classes a saved configuration may name; None is for what the user typed.
        key: Key of the node that names it; where it is another than ``_target_``, torch's optimizers are trusted.

    Raises:
        UsageError: There is no such class, or a saved configuration may not name it.
    """
    module, _, name = dotted.rpartition(".")
    if not all(part.isidentifier() for part in dotted.split(".")) or not module:
        raise UsageError(f"{path}.{key} must be package.module.Class, not {dotted!r}")
    package, *rooms = module.split(".")
    known = key != "_target_" and module == TORCH_OPTIMIZERS
    if trust is not None and package != PACKAGE and package not in trust and not known:
        raise UsageError(
            f"the saved {path} names {dotted}, which is not part of l2l; pass --trust {package} if you trust that code"
        )
    if trust is not None and package == PACKAGE and (not rooms or rooms[0] not in ROOMS):
        raise _not_for_saved(path, dotted)
    _see_that_it_is_the_users(package)
    found = getattr(_imported(module, f"{path}.{key}"), name, None)
    if not inspect.isclass(found):
        others = [name for name, value in vars(sys.modules[module]).items() if inspect.isclass(value)]
        raise UsageError(f"{path}.{key}: {module} has no class {name!r}{did_you_mean(name, others)}")
    if trust is not None and not known and not _may_be_saved(found, path, trust):
        raise _not_for_saved(path, dotted)
    return found


def find_object(name: str, path: str, trust: Sequence[str] | None, key: str) -> object:
    """Return the object of a name such as ``my_net:Net``.

    Args:
        name: The name, as package.module:name.
        path: Key of its node in the configuration, for messages.
        trust: Packages whose objects a saved configuration may name; None is for what the user typed.
        key: Key of the node that names it.

    Raises:
        UsageError: There is no such object, or a saved configuration may not name it.
    """
    if not is_reference(name):
        raise UsageError(f"{path}.{key} must be MODULE:NAME, as in my_net:Net, not {name!r}")
    module, _, last = name.partition(":")
    if module == GIVEN:
        return _given(name, path, key)
    package = module.split(".")[0]
    if trust is not None and package not in trust:
        raise UsageError(
            f"the saved {path} names {name}, which is not part of l2l; pass --trust {package} if you trust that code"
        )
    _see_that_it_is_the_users(package)
    names = vars(_imported(module, f"{path}.{key}"))
    if last not in names:
        others = [one for one in names if not one.startswith("_")]
        raise UsageError(f"{path}.{key}: {module} has no {last!r}{did_you_mean(last, others)}")
    return names[last]


def _given(name: str, path: str, key: str) -> object:
    """Return an object that a program has given, which is so trusted.

    Raises:
        UsageError: It has not.
    """
    try:
        return given(name)
    except KeyError as error:
        raise UsageError(
            f"{path}.{key} is {name}, an object that a Python program gave; open the run there, and give it again, as "
            "in l2l_cli.Run(PATH, model=Net, data=batches)"
        ) from error


def _not_for_saved(path: str, dotted: str) -> UsageError:
    return UsageError(f"the saved {path} names {dotted}, which is nothing that a {path.rpartition('.')[2]} can be")


def _may_be_saved(found: type[Any], path: str, trust: Sequence[str]) -> bool:
    """Say whether a class is defined where it may be, and of a kind that a configuration names."""
    package = found.__module__.split(".")[0]
    if package != PACKAGE:
        return package in trust
    bases = {f"{base.__module__}.{base.__qualname__}".removeprefix(f"{PACKAGE}.") for base in found.__mro__}
    keys = {key for one in bases & set(KINDS) for key in KINDS[one]}
    expected = {key for each in KINDS.values() for key in each}
    return bool(bases & set(KINDS)) and (path not in expected or path in keys)


def _see_that_it_is_the_users(package: str) -> None:
    """See that a module of the user's is not another's of the same name.

    Raises:
        UsageError: It is.
    """
    for folder in _FOLDERS:
        if not ((folder / f"{package}.py").is_file() or (folder / package).is_dir()):
            continue
        there = getattr(sys.modules.get(package), "__spec__", None) or importlib.util.find_spec(package)
        places = [] if there is None else [there.origin or "", *(there.submodule_search_locations or ())]
        if places and not any(Path(place).is_relative_to(folder) for place in places):
            raise UsageError(
                f"module {package!r} is found at {places[0] or places[-1]}, not in --config-dir {folder}; rename yours"
            )


def _imported(module: str, key: str) -> Any:
    """Import a module that a key of the configuration names.

    Raises:
        UsageError: There is no such module, or it imports one that is not there.
    """
    package = module.split(".")[0]
    if package not in sys.modules:
        _USERS.add(package)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{module}.".startswith(f"{missing}."):
            raise UsageError(f"{key}: {module} imports {missing}, which is not installed") from error
        if missing in EXTRAS:
            raise UsageError(
                f"{key}: {missing} is not installed; get it by pip install 'l2l-cli[{EXTRAS[missing]}]'"
            ) from error
        where = (
            f"in --config-dir {_FOLDERS[0]}" if _FOLDERS else "among what is installed; --config-dir says where else"
        )
        raise UsageError(f"{key}: there is no module {missing!r} {where}") from error
