"""Refusals of a user's class, which name its file and line and what to write instead."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten
from types import FrameType
from typing import Any, NoReturn

from torch import Tensor
from torch.overrides import TorchFunctionMode

from l2l_cli.core.errors import L2LError, UsageError
from l2l_cli.core.places import PACKAGE, is_ours, is_users, place_of, shown_place, where_raised

LONGEST = 300
"""Largest number of characters of an error of the user's code that are shown."""


class ContractError(UsageError):
    """A user's class breaks its contract."""


def is_foreign(owner: object) -> bool:
    """Return whether a class, or that of an object, is defined outside of this program and of torch."""
    kind = owner if inspect.isclass(owner) else type(owner)
    return kind.__module__.split(".")[0] not in (PACKAGE, "torch", "builtins", "numpy", "functools", "collections")


def refuse(owner: object, method: str, problem: str, cure: str) -> NoReturn:
    """Refuse an object's class.

    Args:
        owner: Object, or class.
        method: Name of the method at fault; empty for the class itself.
        problem: Predicate of which the class or its method is the subject.
        cure: Clause that says what to write instead.

    Raises:
        ContractError: Always.
    """
    raise ContractError(f"{_name_of(owner, method)} ({place_of(owner, method)}) {problem}; {cure}")


def _name_of(owner: object, method: str) -> str:
    if inspect.isfunction(owner):
        return owner.__qualname__
    name = owner.__name__ if inspect.isclass(owner) else type(owner).__name__
    return f"{name}.{method}" if method else name


@contextmanager
def calling(owner: object, method: str, cure: str = "") -> Iterator[None]:
    """Turn any error that a user's method raises into one sentence that names the line of the user's code.

    Raises:
        ContractError: The method raises.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # a check is not a run: what causes a warning here is refused, or warned about later
            yield
    except L2LError:
        raise
    except Exception as error:  # users' code may raise anything
        place = where_raised(error.__traceback__) or place_of(owner, method)
        message = shorten(str(error), LONGEST)
        raise ContractError(
            f"{_name_of(owner, method)} fails at {place}: {type(error).__name__}: {message}{cure}"
        ) from error


DRAWS = frozenset(
    "rand randn randint randperm normal bernoulli multinomial poisson rand_like randn_like randint_like dropout "
    "dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout rrelu gumbel_softmax normal_ "
    "uniform_ bernoulli_ exponential_ random_ log_normal_ cauchy_ geometric_".split()
)
"""Functions of torch that draw from its global generator, unless they are given another."""

CUTS = frozenset("detach detach_ item tolist numpy __float__ __int__ __bool__ __array__ new_tensor tensor data".split())
"""Functions of torch whose result carries no gradient back to their argument."""


class LineWatch(TorchFunctionMode):
    """Notes the lines of the user's code that call certain functions of torch.

    Attributes:
        places: Calls, as in "item at my/rule.py:12", each listed once.
    """

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self._names = names
        self.places: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note a call, and make it."""
        given = kwargs or {}
        name = "data" if func == Tensor.data.__get__ else getattr(func, "__name__", "")  # type: ignore[attr-defined]
        if name in self._names and given.get("generator") is None and (place := _users_line(sys._getframe(1))):
            note = f"{name.strip('_')} at {place}"
            self.places += [] if note in self.places else [note]
        return func(*args, **given)


def _users_line(frame: FrameType | None) -> str | None:
    """Return the line that has called torch, if it is the user's."""
    while frame is not None and not is_users(file := frame.f_code.co_filename):
        # A module's dropout is seeded, and this program's own calls are allowed.
        if is_ours(file) or os.path.basename(file) == "dropout.py":
            return None
        frame = frame.f_back
    return None if frame is None else shown_place(frame.f_code.co_filename, frame.f_lineno)
