"""Where code lies: whether files are this program's, a library's or the user's, and places to name in messages."""

from __future__ import annotations

import inspect
import os
import sysconfig
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import TracebackType

PACKAGE = "l2l_cli"

_OWN = str(Path(__file__).resolve().parents[1])
"""Folder of this program."""

_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))


def is_ours(file: str) -> bool:
    """Return whether a file is this program's, wherever it is installed."""
    return file.startswith(_OWN + os.sep)


def is_library(file: str) -> bool:
    """Return whether a file is part of Python or of an installed package."""
    return file.startswith(_STANDARD) or bool(_INSTALLED & {*Path(file).parts})


def is_users(file: str) -> bool:
    """Return whether a file is neither this program's nor a library's."""
    return not (is_ours(file) or file.startswith("<") or is_library(file))


def spec_of(module: str) -> ModuleSpec | None:
    """Find a module without importing the packages that it is in, as ``importlib.util.find_spec`` would."""
    places, found, name = None, None, ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = PathFinder.find_spec(name, places)
        places = found.submodule_search_locations if found else []
    return found


def shown_place(file: str, line: int) -> str:
    """Return file and line, as in "my/rule.py:12", relative to the present folder where that is shorter."""
    path = Path(file)
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"


def place_of(owner: object, method: str = "") -> str:
    """Return file and line of a method of an object's class, or of the class if the method is not its own."""
    kind = owner if inspect.isclass(owner) else type(owner)
    found = owner if inspect.isfunction(owner) else getattr(kind, method, None) if method else None
    if inspect.isfunction(found) and found.__module__.split(".")[0] != PACKAGE:
        return shown_place(found.__code__.co_filename, found.__code__.co_firstlineno)
    try:
        return shown_place(inspect.getfile(kind), inspect.getsourcelines(kind)[1])
    except (OSError, TypeError):  # typed into a shell, or built in
        return f"module {kind.__module__}"


def where_raised(trace: TracebackType | None) -> str | None:
    """Return the innermost line of user code in a traceback; None if there is none."""
    found = None
    while trace is not None:
        if is_users(trace.tb_frame.f_code.co_filename):
            found = shown_place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found
