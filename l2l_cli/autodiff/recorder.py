"""Tensor operations recorded once and replayed as a straight line.

Between two operations of a small model, batching over episodes and automatic differentiation spend several times what
the operations themselves take.  A program is what is left: the operations, in order, without what chose them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_Call = tuple[Any, tuple[Any, ...], dict[str, Any], Any]
"""An operation, its arguments by position and by name, and what came of it."""

_aten = torch.ops.aten
_BY_ONE = {_aten.pow.Tensor_Scalar, _aten.mul.Scalar}  # change nothing, as in the derivative of a square
_SAME = {_aten.detach.default, _aten.alias.default}
# Operations whose result depends on a tensor's shape and type, and not on its values.
_FILLS = {_aten.ones_like.default, _aten.zeros_like.default, _aten.full_like.default, _aten.new_zeros.default}


class NotPure(Exception):
    """What a function does depends on the numbers that it is given."""


class Stages(NamedTuple):
    """Programs of which the first computes what the later ones share.

    Attributes:
        first: Its inputs -> its outputs, and what it leaves the others.
        later: What the first left, and their own inputs -> their outputs; each as often as wanted.
        alone: The first's inputs, and their own -> the later ones' outputs, for callers that keep nothing.
    """

    first: Callable[..., tuple[list[Tensor], list[Any]]]
    later: list[Callable[..., list[Tensor]]]
    alone: list[Callable[..., list[Tensor]]]


def record(function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> Callable[..., list[Tensor]]:
    """Return a program that does to tensors of the same shapes what a function does to these.

    The function must be pure: what it computes in Python, or reads from other tensors, is taken as constant.

    Args:
        function: Tensors to tensors.
        inputs: An example of what it will be given.

    Raises:
        NotPure: The function takes numbers out of tensors.
    """
    with torch.no_grad():
        with _Recorder() as recorder:
            outputs = function(*inputs)
        writer = _Writer(inputs, recorder.calls)
        return writer.program(writer.names(inputs), writer.names(outputs))


T = TypeVar("T")


def if_pure(attempt: Callable[[], T]) -> T | None:
    """Return what an attempt to record returns; None if what a function does depends on the numbers it is given."""
    try:
        return attempt()
    except NotPure:
        return None


def record_stages(function: Callable[..., Sequence[Sequence[Tensor]]], *stages: Sequence[Tensor]) -> Stages:
    """Return programs that do stage by stage what a pure function does; see ``record``.

    Args:
        function: All stages' inputs, one after the other, to the outputs of each stage.  A later stage's outputs may
            depend on its own inputs and on the first stage's, and on no other's.
        stages: An example of what each stage will be given.

    Raises:
        NotPure: The function takes numbers out of tensors, or changes in place what others see.
    """
    with torch.no_grad():
        inputs = [value for values in stages for value in values]
        with _Recorder() as recorder:
            outputs = function(*inputs)
        writer = _Writer(inputs, recorder.calls)
        return writer.stages([writer.names(values) for values in stages], [writer.names(values) for values in outputs])


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation with its arguments and result; they stay alive, so that identities stay unique."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Call] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # hiding from the compiler would import it, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(value, (bool, int, float)) for value in tree_leaves(result)):
            raise NotPure(str(func))
        self.calls.append((func, args, kwargs or {}, result))
        return result


class _Line(NamedTuple):
    """The variables that a line sets, those that it reads, its text; whether it changes a tensor in place."""

    sets: list[str]
    reads: list[str]
    text: str
    changes: bool = False


class _Writer:
    """Turns what was recorded into functions of one line an operation."""

    def __init__(self, inputs: Sequence[Tensor], calls: list[_Call]) -> None:
        self._names = {id(value): f"x{index}" for index, value in enumerate(inputs)}
        self._room: dict[str, Any] = {}  # the constants and operations that the lines use
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
        program: Callable[..., list[Tensor]] = self._compiled(inputs, self._needed(outputs), outputs, _listed(outputs))
        return program

    def stages(self, inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]]) -> Stages:
        """Return a function for each stage."""
        if self._changed is None:
            raise NotPure("it changes in place what others see")
        parts, kept = [], dict[str, None]()
        for own, wanted in zip(inputs[1:], outputs[1:], strict=True):
            moved = set(own)  # depends on this stage's inputs
            for line in self._lines:
                if not moved.isdisjoint(line.reads):
                    moved.update(line.sets)
            lines = [line for line in self._needed(wanted) if not moved.isdisjoint(line.sets)]
            seen = [name for line in lines for name in line.reads] + list(wanted)
            needs = {name: None for name in seen if name not in moved and not name.startswith("c")}
            parts.append((own, lines, wanted, needs))
            kept |= needs
        later = []
        for own, lines, wanted, needs in parts:
            unpack = _Line([], [], f"{_listed(name if name in needs else '_' for name in kept)} = kept")
            later.append(self._compiled(["kept", *own], [unpack, *lines], wanted, _listed(wanted)))
        found = [*outputs[0], *kept]
        result = f"{_listed(outputs[0])}, {_listed(kept)}"
        alone = [self.program([*inputs[0], *own], wanted) for own, wanted in zip(inputs[1:], outputs[1:], strict=True)]
        return Stages(self._compiled(inputs[0], self._needed(found), found, result), later, alone)

    def _needed(self, outputs: Iterable[str]) -> list[_Line]:
        needed, kept = set(outputs), []
        for line in reversed(self._lines):
            if line.changes or not needed.isdisjoint(line.sets):
                needed.update(line.reads)
                kept.append(line)
        return kept[::-1]

    def _compiled(self, inputs: Iterable[str], lines: Sequence[_Line], outputs: Iterable[str], result: str) -> Any:
        """Return a function that lets go of every tensor after its last use."""
        seen, text = set(outputs), [f"    return {result}"]
        for line in reversed(lines):
            last = {name for name in (*line.sets, *line.reads) if name.startswith("v")} - seen
            seen |= last
            text.append(f"    {line.text}" + (f"; del {', '.join(sorted(last))}" if last else ""))
        room = dict(self._room)
        exec("\n".join([f"def program({', '.join(inputs)}):", *reversed(text)]), room)
        program = room.pop("program")
        # Constants may be as large as activations; torch itself may import something, which takes the builtins.
        for name in room.keys() - {"__builtins__", *program.__code__.co_names}:
            del room[name]
        return program

    def _write(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        reads = self.names(tensors)
        mutable, own = func._schema.is_mutable, self._changed is not None
        if own and not mutable and _places([result]).isdisjoint(self._changed or ()):
            if func in _FILLS or all(name.startswith("c") for name in reads):
                return  # a constant: named when it is used
            source = args[0] if tensors and args and isinstance(args[0], Tensor) else None
            if source is not None and isinstance(result, Tensor) and _same(func, args, result, source):
                self._names[id(result)] = self._name(source)
                return
        called = self._put("f", _unchanging(func) if mutable and own else _plain(func, args, kwargs, result))
        text = ", ".join([self._text(value) for value in args] + [f"{k}={self._text(v)}" for k, v in kwargs.items()])
        parts = [result] if isinstance(result, Tensor) else list(result or ())
        stay = mutable and not own
        targets = [self._new(part, stay) if isinstance(part, Tensor) else "_" for part in parts]
        target = f"{', '.join(targets)}{'' if isinstance(result, Tensor) else ','} = " if targets else ""
        sets = [name for name in targets if name != "_"]
        self._lines.append(_Line(sets, reads, f"{target}{called}({text})", stay))

    def _new(self, value: Tensor, stay: bool) -> str:
        """Return a new variable for a tensor; none if it has one that is to stay."""
        if stay and id(value) in self._names:
            return "_"
        self._variables += 1
        self._names[id(value)] = f"v{self._variables}"
        return self._names[id(value)]

    def _name(self, value: Tensor) -> str:
        """Return the variable that holds a tensor; a tensor that no line defines is a constant."""
        if id(value) not in self._names:
            self._names[id(value)] = self._put("c", value.detach())
        return self._names[id(value)]

    def _put(self, kind: str, value: Any) -> str:
        name = f"{kind}{len(self._room)}"
        self._room[name] = value
        return name

    def _text(self, value: Any) -> str:
        if isinstance(value, Tensor):
            return self._name(value)
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(self._text(part) for part in value)}]"
        if isinstance(value, (bool, int, float, type(None))) and value == value and abs(value or 0) != float("inf"):
            return repr(value)
        return self._put("c", value)


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(names)}]"


def _places(values: Any) -> set[int]:
    """Return the memories that tensors lie in."""
    return {value.untyped_storage()._cdata for value in tree_leaves(values) if isinstance(value, Tensor)}


def _changed(calls: list[_Call]) -> set[int] | None:
    """Return the memories that are changed in place; None unless a new result can stand for every change.

    It can where the changed tensor is the only one in its memory, and was made by an operation of the record.
    """
    changed, inside = set(), dict[int, set[int]]()
    for func, args, kwargs, result in calls:
        if func._schema.is_mutable:
            (place,) = _places([args[0]]) if args and isinstance(args[0], Tensor) else (0,)
            if result is not args[0] or inside.get(place) != {id(result)} or _unchanging(func) is None:
                return None
            changed.add(place)
        outside = _places([args, kwargs]) - inside.keys()
        inside |= {place: {0} for place in outside}
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                inside.setdefault(value.untyped_storage()._cdata, set()).add(id(value))
    return changed


def _unchanging(func: Any) -> Any:
    """Return the operator that gives a new tensor where this one changes its first argument; None if there is none."""
    name = func._schema.name.removeprefix("aten::")
    packet = getattr(_aten, name.removesuffix("_"), None) if name.endswith("_") else None
    return getattr(packet, func._overloadname, None)


def _plain(func: Any, args: Any, kwargs: Any, result: Any) -> Any:
    """Return torch's own function or method for an operator: the same code, at half the cost of the call."""
    if func._schema.is_mutable or not isinstance(result, Tensor):
        return func
    for home in (torch, Tensor):
        found = getattr(home, func._schema.name.removeprefix("aten::"), None)
        try:
            again = found(*args, **kwargs) if found is not None else None
        except TypeError:  # another order of arguments
            continue
        if isinstance(again, Tensor) and again.stride() == result.stride() and torch.equal(again, result):
            return found
    return func


def _same(func: Any, args: Any, result: Tensor, source: Tensor) -> bool:
    """Whether an operation leaves its first argument as it is, laid out as it was."""
    if func in _SAME:
        return True
    alike = result.shape == source.shape and result.stride() == source.stride() and result.dtype == source.dtype
    moved = result.data_ptr() != source.data_ptr() or not result.numel()
    return alike and (not moved or (func in _BY_ONE and args[1] == 1))
