"""Building of objects from ``_target_`` nodes, whose arguments are checked before a class is called."""

from __future__ import annotations

import copy
import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from l2l_cli.config.classes import find_class, find_object
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.nodes import CLASS_KEYS, Entries, Node
from l2l_cli.core.reference import Reference


class Builder:
    """Calls a node's ``_target_`` with its other entries as arguments, nested nodes first.

    A class's typed ``__init__`` is its schema: names and types are checked before the call, and a ValueError about a
    value's range is reported under the node's path.

    Short keys: an entry that a node's class does not take goes to the one node directly inside it whose class does.  So
    ``hidden`` next to ``network`` means ``network.hidden``, on the command line, in ``vary`` and in ``evaluation``.

    Args:
        trust: Packages besides l2l_cli whose classes may be called; None allows any class, for what the user typed.
        offered: Objects passed to every class with a parameter of that name; the configuration cannot set them.
    """

    def __init__(self, trust: Sequence[str] | None = None, **offered: object) -> None:
        self.trust = trust
        self.offered = offered

    def offering(self, **offered: object) -> Builder:
        """Return a builder that trusts the same packages and offers further objects."""
        return Builder(self.trust, **(self.offered | offered))

    def __call__(self, node: Node, path: str, **given: object) -> Any:
        """Build a node.

        Args:
            node: Mapping with a ``_target_``, the dotted path of a class.
            path: Key of the node in the configuration, for messages.
            given: Further arguments for this node's class, which must have these parameters.

        Raises:
            UsageError: The target, an argument's name, type or value is wrong, or the target is not trusted.
        """
        if "_target_" not in node:
            raise UsageError(f"{path} has no _target_: name the class, as in {path}._target_=package.module.Class")
        target = find_class(str(node["_target_"]), path, self.trust)
        parameters = inspect.signature(target).parameters
        given = {name: value for name, value in self.offered.items() if name in parameters} | given
        entries = self._handed_down(node, target, [name for name in parameters if name not in given], path)
        hints = typing.get_type_hints(target.__init__)
        arguments = {name: self._argument(name, value, hints.get(name), path) for name, value in entries.items()}
        _check(target, arguments, given, path)
        try:
            return target(**arguments, **given)
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from error

    def _argument(self, name: str, value: object, hint: object, path: str) -> object:
        """Return a node's object; the class or object that a name refers to, if the parameter takes one; or the value.

        Raises:
            UsageError: See ``__call__``.
        """
        if isinstance(value, Mapping) and "_target_" in value:
            return self(value, f"{path}.{name}")
        if isinstance(value, str) and Reference in (hint, *typing.get_args(hint)):
            return Reference(value, find_object(value, path, self.trust, name))
        kinds = [one for one in (hint, *typing.get_args(hint)) if typing.get_origin(one) is type]
        if name not in CLASS_KEYS or not isinstance(value, str) or not kinds:
            return value
        found, base = find_class(value, path, self.trust, name), typing.get_args(kinds[0])[0]
        if not issubclass(found, base):
            raise UsageError(f"{path}.{name}: {value} is not a subclass of {base.__name__}; name one that is")
        return found

    def _handed_down(self, node: Node, target: type[Any], settable: Sequence[str], path: str) -> Entries:
        """Return a node's entries, with those that its class does not take moved into the inner node whose class does.

        Raises:
            UsageError: No class takes an entry, several do, or it is given twice.
        """
        entries = {name: value for name, value in node.items() if name != "_target_"}
        inner = {}
        for name in [name for name, value in entries.items() if _is_node(value)]:
            part = find_class(str(entries[name]["_target_"]), f"{path}.{name}", self.trust)
            inner[name] = [key for key in inspect.signature(part).parameters if key not in self.offered]
        for key in [key for key in entries if key not in settable]:
            takers = [name for name, keys in inner.items() if key in keys]
            if not takers:
                known = [*settable, *(name for keys in inner.values() for name in keys)]
                has = [", ".join(settable) or "none", *(f"{name}: {', '.join(keys)}" for name, keys in inner.items())]
                raise UsageError(
                    f"{path}.{key}: {target.__name__} has no such argument{did_you_mean(key, known)} "
                    f"(it has {'; '.join(has)}); if a file sets it, take it out: ~{path}.{key}"
                )
            if len(takers) > 1:
                raise UsageError(f"{path}.{key} could belong to {' or '.join(takers)}: write {path}.{takers[0]}.{key}")
            if key in entries[takers[0]]:
                raise UsageError(f"{path}.{key} and {path}.{takers[0]}.{key} are the same: leave one of them out")
            entries[takers[0]] = {**entries[takers[0]], key: entries.pop(key)}
        return entries


build = Builder()
"""Builder for what the user typed, which may name any class."""


def changed(node: Node, changes: Node, path: str) -> Entries:
    """Return a copy of a node with some of its entries changed; ``build`` checks their names and values.

    Args:
        node: Mapping with a ``_target_``.
        changes: New values by key relative to the node, as in ``rule.lr``; a mapping without a ``_target_`` changes the
            entries that it names and keeps the others.
        path: Key of the node in the configuration, for messages.

    Raises:
        UsageError: A dotted key leads through a value that is not a mapping.
    """
    result = copy.deepcopy(dict(node))
    for key, value in changes.items():
        place, (*parents, last) = result, str(key).split(".")
        for depth, parent in enumerate(parents, 1):
            if not isinstance(place.get(parent), dict):
                known = [name for name, entry in place.items() if isinstance(entry, dict)]
                raise UsageError(
                    f"there is nothing at {'.'.join([path, *parents[:depth]])} to set {key!r} in"
                    f"{did_you_mean(parent, known)} (it has {', '.join(name for name in place if name != '_target_')})"
                )
            place = place[parent]
        if isinstance(value, Mapping) and "_target_" not in value and isinstance(place.get(last), dict):
            value = changed(place[last], value, f"{path}.{key}")
        place[last] = copy.deepcopy(value)
    return result


def _is_node(value: object) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _check(target: type[Any], arguments: Node, given: Node, path: str) -> None:
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__)
    for name in [name for name in parameters if name not in given]:
        if parameters[name].default is inspect.Parameter.empty and name not in arguments:
            raise UsageError(f"{path}.{name} is missing: {target.__name__} needs it")
    for name, value in arguments.items():
        if name in hints:
            _check_type(value, hints[name], f"{path}.{name}")


def _check_type(value: object, hint: object, path: str) -> None:
    # Strict: "3" is not accepted as a number, nor true as a count; an integer is accepted as a float.
    if isinstance(value, list) and _takes_tuple(hint):
        value = tuple(value)  # YAML has no tuples
    config = ConfigDict(arbitrary_types_allowed=True, strict=True)
    try:
        TypeAdapter(_erased(hint), config=config).validate_python(value)
    except ValidationError as error:
        wanted = getattr(hint, "__name__", None) or str(hint)
        wanted = str(hint) if typing.get_origin(hint) else wanted
        reason = error.errors()[0]["msg"].lower()
        raise UsageError(f"{path} must be of type {wanted}, not {value!r} ({reason})") from error


def _erased(hint: object) -> Any:
    """Return a type hint without the parameters of our generic classes, which cannot be checked."""
    origin = typing.get_origin(hint)
    return origin if inspect.isclass(origin) and issubclass(origin, typing.Generic) else hint


def _takes_tuple(hint: object) -> bool:
    return any(kind is tuple or typing.get_origin(kind) is tuple for kind in (hint, *typing.get_args(hint)))
