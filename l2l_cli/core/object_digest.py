"""Digests of a user's functions, classes and values: two objects that do the same have the same digest.

Names do not identify what is defined in a notebook or at a prompt, so code is read instead: the byte code of functions
with their defaults and what they refer to, the members of classes, and the files of the user's modules.  Installed
objects are identified by their names.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
import types
import uuid
from collections.abc import Iterator, Mapping, Sequence

from l2l_cli.core.fingerprint import of_module
from l2l_cli.core.places import is_library, is_users

LENGTH = 8
"""Number of hexadecimal digits of a digest."""

Seen = dict[int, object]
"""Objects already described, by id; holding them keeps their ids from being reused."""

IGNORED = ("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__")
"""Members of a class that do not affect what it does."""


def digest_of(found: object) -> str:
    """Return a digest that identifies an object by what it does, as hexadecimal digits.

    An object that can be neither read nor pickled has a new digest each time, so that no other is taken for it.
    """
    parts = "\0".join(_parts(found, {}))
    return hashlib.blake2b(parts.encode(errors="surrogateescape"), digest_size=LENGTH // 2).hexdigest()


def _parts(found: object, seen: Seen) -> Iterator[str]:
    """Yield texts that describe an object and what it refers to, each object once."""
    if found is None or isinstance(found, bool | int | float | complex | str | bytes):
        yield repr(found)
        return
    if id(found) in seen:
        yield "again"
        return
    seen[id(found)] = found
    match found:
        case types.FunctionType():
            yield from _function(found, seen)
        case type():
            yield from _class(found, seen)
        case types.ModuleType():
            yield found.__name__
            if is_users(str(vars(found).get("__file__") or "<")):  # built-in modules have no file
                yield of_module(found.__name__)
        case set() | frozenset():
            yield from sorted(map(repr, found))
        case _ if (held := _held(found)) is not None:
            yield type(found).__name__
            for item in held:
                yield from _parts(item, seen)
        case _:
            yield from _thing(found, seen)


def _held(found: object) -> Sequence[object] | None:
    """Return the content of an object that is a mere container; None for any other object."""
    match found:
        case list() | tuple():
            return found
        case Mapping():
            return [part for item in found.items() for part in item]
        case functools.partial():
            return [found.func, found.args, found.keywords]
        case types.MethodType():
            return [found.__func__, found.__self__]
        case staticmethod() | classmethod():
            return [found.__func__]
        case property():
            return [found.fget, found.fset]
    return None


def _function(found: types.FunctionType, seen: Seen) -> Iterator[str]:
    yield found.__qualname__
    if is_library(found.__code__.co_filename):
        yield found.__module__
        return
    cells = [cell.cell_contents for cell in found.__closure__ or () if cell != types.CellType()]
    yield from _parts((found.__defaults__, found.__kwdefaults__, cells), seen)
    names = dict.fromkeys(name for code in _codes(found.__code__) for name in code.co_names)
    for code in _codes(found.__code__):
        yield code.co_code.hex()
        yield from _parts([value for value in code.co_consts if not isinstance(value, types.CodeType)], {})
        yield repr(code.co_names)
    yield from _parts([found.__globals__[name] for name in names if name in found.__globals__], seen)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a function's code and that of the functions within it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _codes(value)


def _class(found: type, seen: Seen) -> Iterator[str]:
    yield found.__qualname__
    if _is_installed(found):
        yield found.__module__
        return
    yield from _parts(found.__bases__, seen)
    for name, value in vars(found).items():
        if name not in IGNORED:
            yield name
            yield from _parts(value, seen)


def _thing(found: object, seen: Seen) -> Iterator[str]:
    """Describe an object of any class by its class and its state."""
    yield from _parts(type(found), seen)
    try:
        yield hashlib.blake2b(pickle.dumps(found), digest_size=8).hexdigest()
    except Exception:  # an object of the user's may raise anything when it is pickled
        yield from _parts(vars(found), seen) if hasattr(found, "__dict__") else (uuid.uuid4().hex,)


def _is_installed(found: type) -> bool:
    """Return whether a class belongs to Python or to an installed package, so that its name says what it does."""
    module = sys.modules.get(found.__module__)
    if module is None or found.__module__ == "__main__":
        return False
    file = getattr(module, "__file__", None)
    if file is None:  # code executed outside of any module also names builtins as its module
        return vars(module).get(found.__name__, found) is found and not found.__flags__ & _OF_PYTHON_CODE
    return is_library(file)


_OF_PYTHON_CODE = 1 << 9
"""Flag of a class made by a class statement."""
