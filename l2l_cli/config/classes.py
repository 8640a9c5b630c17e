"""Classes that a configuration names: where they are found, and which of them a saved configuration may name."""

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
"""Parts of the package that contain the classes that a saved configuration may name."""

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
"""Base classes that a saved configuration may use, with the keys that require each of them."""

EXTRAS = dict.fromkeys(("pytorch_optimizer", "schedulefree"), "optimizers")
"""Packages named by our presets, and the extra that installs each of them."""

_FOLDERS: list[Path] = []
"""Folder given by ``--config-dir``, if there is one."""

_USERS: set[str] = set()
"""Names of the packages that were first imported on behalf of a configuration."""


def add_folder(folder: Path) -> None:
    """Add the folder of ``--config-dir`` to the end of the import path, so that none of its modules hides another."""
    if folder in _FOLDERS and str(folder) in sys.path:
        return
    for earlier in _FOLDERS:
        sys.path[:] = [place for place in sys.path if place != str(earlier)]
    for name in [name for name in sys.modules if name.split(".")[0] in _USERS]:
        del sys.modules[name]  # this folder may have modules of the same names
    _USERS.clear()
    _FOLDERS[:] = [folder]
    sys.path.append(str(folder))


def find_class(dotted: str, path: str, trust: Sequence[str] | None, key: str = "_target_") -> type[Any]:
    """Return the class with a dotted name.

    Args:
        dotted: Dotted name, as in package.module.Class.
        path: Key of its node in the configuration, for messages.
        trust: Packages besides l2l_cli whose classes a saved configuration may name; None for what the user typed.
        key: Key of the node that contains the name; for keys other than ``_target_``, torch's optimizers are trusted.

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
    """Return the object with a name such as ``my_net:Net``.

    Args:
        name: Name, as in package.module:name.
        path: Key of its node in the configuration, for messages.
        trust: Packages whose objects a saved configuration may name; None for what the user typed.
        key: Key of the node that contains the name.

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
    """Return an object that a program has passed in, which is trusted for that reason.

    Raises:
        UsageError: The program has not passed it in.
    """
    try:
        return given(name)
    except KeyError as error:
        raise UsageError(
            f"{path}.{key} is {name}, an object that a Python program gave; open the run there, and give it again, as "
            "in l2l_cli.Run(PATH, model=Net, data=batches)"
        ) from error


def _not_for_saved(path: str, dotted: str) -> UsageError:
    return UsageError(f"the saved {path} names {dotted}, which cannot be a {path.rpartition('.')[2]}")


def _may_be_saved(found: type[Any], path: str, trust: Sequence[str]) -> bool:
    """Return whether a class is defined in a trusted place and has a base that a configuration may use."""
    package = found.__module__.split(".")[0]
    if package != PACKAGE:
        return package in trust
    bases = {f"{base.__module__}.{base.__qualname__}".removeprefix(f"{PACKAGE}.") for base in found.__mro__}
    keys = {key for one in bases & set(KINDS) for key in KINDS[one]}
    expected = {key for each in KINDS.values() for key in each}
    return bool(bases & set(KINDS)) and (path not in expected or path in keys)


def _see_that_it_is_the_users(package: str) -> None:
    """Check that a module in the user's folder is not hidden by another one of the same name.

    Raises:
        UsageError: It is hidden.
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
        UsageError: There is no such module, or it imports one that does not exist.
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
