"""Tensor operations recorded once and replayed as a straight line.

Between two operations of a small model, batching over episodes and automatic differentiation spend several times what
the operations themselves take.  A program is what is left: the operations, in order, without what chose them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_Call = tuple[Any, tuple[Any, ...], dict[str, Any], Any]
"""An operation, its arguments by position and by name, and what came of it."""

_aten = torch.ops.aten
_POWER = _aten.pow.Tensor_Scalar  # to the first in the derivative of a square
_SAME = {_aten.detach.default, _aten.alias.default}
# Operations whose result depends on a tensor's shape and type, and not on its values.
_FILLS = {_aten.ones_like.default, _aten.zeros_like.default, _aten.full_like.default, _aten.new_zeros.default}


class NotPure(Exception):
    """What a function does depends on the numbers that it is given."""


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
        return _Writer(inputs, recorder.calls).program(outputs)


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


class _Writer:
    """Turns what was recorded into a function of one line an operation."""

    def __init__(self, inputs: tuple[Tensor, ...], calls: list[_Call]) -> None:
        self._inputs = inputs
        self._names = {id(value): f"x{index}" for index, value in enumerate(inputs)}
        self._room: dict[str, Any] = {}  # the constants and operations that the lines use
        self._lines: list[tuple[str, list[str], str]] = []  # what is defined, what is used, how
        changed = any(func._schema.is_mutable for func, *_ in calls)
        for call in calls:
            self._write(*call, foldable=not changed)

    def program(self, outputs: tuple[Tensor, ...]) -> Callable[..., list[Tensor]]:
        """Return the function; lines that nothing needs are left out."""
        found = [self._name(value) for value in outputs]
        needed, kept = {_variable(name) for name in found}, []
        for target, used, line in reversed(self._lines):
            if not target or target in needed:
                needed |= {_variable(name) for name in used}
                kept.append(f"    {line}")
        arguments = ", ".join(f"x{index}" for index in range(len(self._inputs)))
        text = "\n".join([f"def program({arguments}):", *reversed(kept), f"    return [{', '.join(found)}]"])
        exec(text, self._room)
        program: Callable[..., list[Tensor]] = self._room["program"]
        return program

    def _write(self, func: Any, args: Any, kwargs: Any, result: Any, foldable: bool) -> None:
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        names = [self._name(value) for value in tensors]
        if foldable and (func in _FILLS or all(name.startswith("c") for name in names)):
            return  # a constant: named when it is used
        source = args[0] if tensors and args and isinstance(args[0], Tensor) else None
        same = func in _SAME or (func is _POWER and args[1] == 1)
        if foldable and source is not None and isinstance(result, Tensor) and (same or _alike(result, source)):
            self._names[id(result)] = self._name(source)
            return
        target = f"v{len(self._names)}"
        if isinstance(result, Tensor):
            self._names.setdefault(id(result), target)
            target = self._names[id(result)]
        else:  # a list, of which some may be missing
            self._names |= {id(part): f"{target}[{k}]" for k, part in enumerate(result) if isinstance(part, Tensor)}
        call = self._put("f", _plain(func, args, kwargs, result))
        text = ", ".join([self._text(value) for value in args] + [f"{k}={self._text(v)}" for k, v in kwargs.items()])
        self._lines.append(("" if func._schema.is_mutable else target, names, f"{target} = {call}({text})"))

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


def _variable(name: str) -> str:
    return name.partition("[")[0]


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


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same view of the same memory."""
    return (
        one.data_ptr() == other.data_ptr()
        and one.shape == other.shape
        and one.stride() == other.stride()
        and one.dtype == other.dtype
        and one.numel() > 0
    )
