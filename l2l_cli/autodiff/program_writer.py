"""Recorded operations written as straight-line code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Call = tuple[OpOverload, Args, Kwargs, Any]
"""An operation, its arguments by position and by name, and its result."""

_aten = torch.ops.aten
_BY_ONE = {_aten.pow.Tensor_Scalar, _aten.mul.Scalar}  # no-ops with the number 1, as in the derivative of a square
_SAME = {_aten.detach.default, _aten.alias.default}
# Operations whose result depends on a tensor's shape and type, not on its values.
_FILLS = {_aten.ones_like.default, _aten.zeros_like.default, _aten.full_like.default, _aten.new_zeros.default}


class NotPure(Exception):
    """A function is not just a fixed list of operations on its inputs, and has to be called every time."""


class Stages(NamedTuple):
    """Programs of several stages; the first stage computes the values that the later ones share.

    Attributes:
        first: Map from the first stage's inputs to its outputs and the shared values.
        later: Maps from the shared values and a later stage's inputs to that stage's outputs.
        alone: Maps from the first stage's inputs and a later stage's inputs to that stage's outputs, for callers that
            do not keep the shared values.
    """

    first: Callable[..., tuple[list[Tensor], list[Any]]]
    later: list[Callable[..., list[Tensor]]]
    alone: list[Callable[..., list[Tensor]]]


class _Line(NamedTuple):
    """The variables that a line sets and reads, its text, and whether it changes a tensor in place."""

    sets: list[str]
    reads: list[str]
    text: str
    changes: bool = False


class ProgramWriter:
    """Writes recorded calls as functions with one line per operation."""

    def __init__(self, inputs: Sequence[Tensor], calls: list[Call]) -> None:
        self._names = {id(value): f"x{index}" for index, value in enumerate(inputs)}
        self._globals: dict[str, object] = {}  # the constants and operations that the lines use
        self._lines: list[_Line] = []
        self._variables = 0
        self._changed = _changed(calls)
        for call in calls:
            self._write(*call)

    def names(self, values: Iterable[Tensor]) -> list[str]:
        """Return the variables that hold tensors at the end."""
        return [self._name(value) for value in values]

    def program(self, inputs: Sequence[str], outputs: Sequence[str]) -> Callable[..., list[Tensor]]:
        """Return a function of the inputs; lines that no output needs are left out."""
        return self._compiled(inputs, self._needed(outputs), outputs, _listed(outputs))

    def stages(self, inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]]) -> Stages:
        """Return a function for each stage."""
        if self._changed is None:
            raise NotPure("it changes a tensor in place that others share")
        parts, shared = [], dict[str, None]()
        for given, results in zip(inputs[1:], outputs[1:], strict=True):
            dependent = set(given)  # on this stage's inputs
            for line in self._lines:
                if not dependent.isdisjoint(line.reads):
                    dependent.update(line.sets)
            lines = [line for line in self._needed(results) if not dependent.isdisjoint(line.sets)]
            read = [name for line in lines for name in line.reads] + list(results)
            needs = {name: None for name in read if name not in dependent and not name.startswith("c")}
            parts.append((given, lines, results, needs))
            shared |= needs
        later = []
        for given, lines, results, needs in parts:
            unpack = _Line([], [], f"{_listed(name if name in needs else '_' for name in shared)} = shared")
            later.append(self._compiled(["shared", *given], [unpack, *lines], results, _listed(results)))
        every = [*outputs[0], *shared]
        result = f"{_listed(outputs[0])}, {_listed(shared)}"
        first = self._compiled(inputs[0], self._needed(every), every, result)
        alone = [self.program([*inputs[0], *given], results) for given, _, results, _ in parts]
        return Stages(first, later, alone)

    def _needed(self, outputs: Iterable[str]) -> list[_Line]:
        needed, kept = set(outputs), []
        for line in reversed(self._lines):
            if line.changes or not needed.isdisjoint(line.sets):
                needed.update(line.reads)
                kept.append(line)
        return kept[::-1]

    def _compiled(
        self, inputs: Iterable[str], lines: Sequence[_Line], outputs: Iterable[str], result: str
    ) -> Callable[..., Any]:
        """Return a function that releases every tensor after its last use."""
        seen, text = set(outputs), [f"    return {result}"]
        for line in reversed(lines):
            last = {name for name in (*line.sets, *line.reads) if name.startswith("v")} - seen
            seen |= last
            text.append(f"    {line.text}" + (f"; del {', '.join(sorted(last))}" if last else ""))
        names: dict[str, Any] = dict(self._globals)
        exec("\n".join([f"def program({', '.join(inputs)}):", *reversed(text)]), names)
        program: Callable[..., Any] = names.pop("program")
        # Constants may be as large as activations; the builtins stay, since torch itself may import something.
        for name in names.keys() - {"__builtins__", *program.__code__.co_names}:
            del names[name]
        return program

    def _write(self, func: OpOverload, args: Args, kwargs: Kwargs, result: Any) -> None:
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        reads = self.names(tensors)
        mutable, replaceable = func._schema.is_mutable, self._changed is not None
        if replaceable and not mutable and _storages([result]).isdisjoint(self._changed or ()):
            if func in _FILLS or all(name.startswith("c") for name in reads):
                return  # a constant: named when it is used
            source = args[0] if tensors and args and isinstance(args[0], Tensor) else None
            if source is not None and isinstance(result, Tensor) and _same(func, args, result, source):
                self._names[id(result)] = self._name(source)
                return
        called = self._put("f", _unchanging(func) if mutable and replaceable else _plain(func, args, kwargs, result))
        text = ", ".join([self._text(value) for value in args] + [f"{k}={self._text(v)}" for k, v in kwargs.items()])
        parts = [result] if isinstance(result, Tensor) else list(result or ())
        in_place = mutable and not replaceable
        targets = [self._new(part, in_place) if isinstance(part, Tensor) else "_" for part in parts]
        target = f"{', '.join(targets)}{'' if isinstance(result, Tensor) else ','} = " if targets else ""
        sets = [name for name in targets if name != "_"]
        self._lines.append(_Line(sets, reads, f"{target}{called}({text})", in_place))

    def _new(self, value: Tensor, in_place: bool) -> str:
        """Return a new variable for a tensor, or "_" for a tensor that was changed in place and has a variable."""
        if in_place and id(value) in self._names:
            return "_"
        self._variables += 1
        self._names[id(value)] = f"v{self._variables}"
        return self._names[id(value)]

    def _name(self, value: Tensor) -> str:
        """Return the variable that holds a tensor; a tensor that no line defines is a constant."""
        if id(value) not in self._names:
            self._names[id(value)] = self._put("c", value.detach())
        return self._names[id(value)]

    def _put(self, prefix: str, value: object) -> str:
        name = f"{prefix}{len(self._globals)}"
        self._globals[name] = value
        return name

    def _text(self, value: object) -> str:
        if isinstance(value, Tensor):
            return self._name(value)
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(self._text(part) for part in value)}]"
        if isinstance(value, (bool, int, float, type(None))) and value == value and abs(value or 0) != float("inf"):
            return repr(value)
        return self._put("c", value)


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(names)}]"


def _storages(values: object) -> set[int]:
    """Return the identities of the storages that tensors lie in."""
    return {value.untyped_storage()._cdata for value in tree_leaves(values) if isinstance(value, Tensor)}


def _changed(calls: list[Call]) -> set[int] | None:
    """Return the storages that are changed in place; None unless a new tensor can replace every changed one.

    It can if the changed tensor is the only one in its storage and was made by a recorded operation.
    """
    changed, inside = set(), dict[int, set[int]]()
    for func, args, kwargs, result in calls:
        if func._schema.is_mutable:
            (storage,) = _storages([args[0]]) if args and isinstance(args[0], Tensor) else (0,)
            if result is not args[0] or inside.get(storage) != {id(result)} or _unchanging(func) is None:
                return None
            changed.add(storage)
        outside = _storages([args, kwargs]) - inside.keys()
        inside |= {storage: {0} for storage in outside}
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                inside.setdefault(value.untyped_storage()._cdata, set()).add(id(value))
    return changed


def _unchanging(func: OpOverload) -> OpOverload | None:
    """Return the out-of-place operator that computes the same; None if there is none."""
    name = func._schema.name.removeprefix("aten::")
    packet = getattr(_aten, name.removesuffix("_"), None) if name.endswith("_") else None
    return getattr(packet, func._overloadname, None)


def _plain(func: OpOverload, args: Args, kwargs: Kwargs, result: object) -> Callable[..., Any]:
    """Return torch's own function or method for an operator: the same code, at half the cost of the call."""
    if func._schema.is_mutable or not isinstance(result, Tensor):
        return func
    for owner in (torch, Tensor):
        candidate: Callable[..., Any] | None = getattr(owner, func._schema.name.removeprefix("aten::"), None)
        try:
            again = candidate(*args, **kwargs) if candidate is not None else None
        except TypeError:  # its arguments have another order
            continue
        if candidate and isinstance(again, Tensor) and again.stride() == result.stride() and torch.equal(again, result):
            return candidate
    return func


def _same(func: OpOverload, args: Args, result: Tensor, source: Tensor) -> bool:
    """Return whether an operation leaves its first argument as it is, with the same strides."""
    if func in _SAME:
        return True
    alike = result.shape == source.shape and result.stride() == source.stride() and result.dtype == source.dtype
    moved = result.data_ptr() != source.data_ptr() or not result.numel()
    return alike and (not moved or (func in _BY_ONE and args[1] == 1))
