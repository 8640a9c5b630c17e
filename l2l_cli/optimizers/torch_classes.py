"""Torch optimizers on the parameters of one network: making them from options, stepping them, and packing them."""

from __future__ import annotations

import inspect
import io
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from l2l_cli.core.errors import L2LError, UsageError, did_you_mean
from l2l_cli.core.plain_text import in_one_line

Closure = Callable[[], Any]
"""Function that sets the gradients at the current parameters, and returns the loss, ()."""

LONGEST = 300
"""Number of characters of an optimizer's own message that are passed on."""


class Recipe(NamedTuple):
    """A class and the options that it is called with; ``key`` is the configuration key of the options, for messages."""

    kind: type[torch.optim.Optimizer]
    options: Mapping[str, Any]
    key: str

    def __call__(self, params: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Return an optimizer of the class.

        Raises:
            UsageError: The class has no such option, lacks one that it needs, or refuses the options or the parameters.
        """
        known = _parameters_of(self.kind)
        options = self._as_the_class_takes_them(known)
        for name in options:
            if name not in known:
                has = ", ".join(known) or "none"
                raise UsageError(
                    f"{self.key}.{name}: {self.kind.__name__} has no such option{did_you_mean(name, known)} "
                    f"(it has {has})"
                )
        needed = [name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in options]
        if needed:
            raise UsageError(
                f"{self.key}: {self.kind.__name__} needs {', '.join(needed)}; give it, as in {self.key}.{needed[0]}=…"
            )
        try:
            return self.kind(list(params), **options)
        except Exception as error:  # a third-party class may raise anything
            shapes = ", ".join(dict.fromkeys(str(tuple(value.shape)) for value in params))
            raise UsageError(
                f"{self.key}: {self.kind.__name__} refuses the options {options} on parameters of shapes {shapes}: "
                f"{_said(error)}{self._cure(params, options)}"
            ) from error

    def _cure(self, params: Sequence[nn.Parameter], options: Mapping[str, Any]) -> str:
        """Return advice for a class that takes only matrices; empty if it refuses something else."""
        matrices = [value for value in params if value.dim() == 2]
        if not matrices or len(matrices) == len(params):
            return ""
        try:
            self.kind(matrices, **options)
        except Exception:  # it refuses something else, which the message says already
            return ""
        return "; it takes only matrices, and learner.others=torch.optim.AdamW takes the rest"

    def _as_the_class_takes_them(self, known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
        """Return the options, with beta1, beta2, … as entries of ``betas``, and lists as tuples if the default is."""
        options = dict(self.options)
        numbered = [name for name in options if re.fullmatch(r"beta\d", name) and name not in known]
        loose = {name: options.pop(name) for name in numbered if "betas" in known}
        if loose:
            betas = list(options.get("betas", known["betas"].default))
            for name, value in loose.items():
                if not 1 <= int(name[4:]) <= len(betas):
                    raise UsageError(f"{self.key}.{name}: {self.kind.__name__} has {len(betas)} betas")
                betas[int(name[4:]) - 1] = value
            options["betas"] = betas
        return {
            name: tuple(value) if isinstance(value, list) and name in known and _is_tuple(known[name]) else value
            for name, value in options.items()
        }


def _parameters_of(kind: type[torch.optim.Optimizer]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a class besides the parameters; if it passes ``**kwargs`` on, its bases' options too."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__[: kind.__mro__.index(torch.optim.Optimizer)]:
        parameters = list(inspect.signature(base).parameters.values())[1:]
        named = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        found = {one.name: one for one in named if base is kind or one.default is not one.empty} | found
        if all(one.kind != one.VAR_KEYWORD for one in parameters):
            break
    return found


def _is_tuple(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.default, tuple)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {in_one_line(str(error), LONGEST)}"


class Fit(NamedTuple):
    """The parameters of one network by name, and the optimizers, each of which moves its share of them."""

    params: dict[str, nn.Parameter]
    optimizers: list[torch.optim.Optimizer]

    @classmethod
    def unpacked(cls, packed: bytes) -> Self:
        """Return a ``Fit`` from what ``packed`` returned in this process."""
        params, contents = torch.load(io.BytesIO(packed), weights_only=False)
        _intern_keys(contents)
        optimizers = []
        for kind, content in contents:  # an optimizer's own pickling leaves out what subclasses add
            optimizer = kind.__new__(kind)
            optimizer.__dict__.update(content)
            functions = {name: _FUNCTIONS[one.key] for name, one in content.items() if isinstance(one, _Function)}
            optimizer.__dict__.update(functions)
            optimizers.append(optimizer)
        return cls(params, optimizers)

    def packed(self) -> bytes:
        """Return the parameters and everything that the optimizers hold, as bytes.

        Raises:
            UsageError: An optimizer holds something that cannot be copied.
        """
        target = io.BytesIO()
        contents = [(type(one), {name: _named(value) for name, value in vars(one).items()}) for one in self.optimizers]
        try:
            torch.save((self.params, contents), target)
        except Exception as error:  # a third-party class may hold anything
            names = ", ".join(type(one).__name__ for one in self.optimizers)
            raise UsageError(f"learner.optimizer: {names} cannot be copied: {_said(error)}") from error
        return target.getvalue()

    def switch(self, mode: str) -> None:
        """Call the optimizers' ``train`` or ``eval``, as Schedule-Free requires."""
        for optimizer in self.optimizers:
            if is_switched(type(optimizer)):
                getattr(optimizer, mode)()

    def scale_rates(self, factor: float) -> None:
        """Set every learning rate to a multiple of its initial value."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group.setdefault("initial_lr", group["lr"])

    def set_gradients(self, grads: Mapping[str, Tensor | None]) -> None:
        """Set the gradient of each parameter; None stands for one that the loss does not depend on."""
        for name, value in self.params.items():
            value.grad = grads[name]

    def stand_at(self, params: Mapping[str, Tensor]) -> bool:
        """Return whether these are the current parameters."""
        pairs = ((value, params[name]) for name, value in self.params.items())
        return all(torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True) for one, other in pairs)

    def step(self, closure: Closure) -> None:
        """Let every optimizer make a step; if one fails at non-finite numbers, the parameters become NaN.

        If there are several, those that do not need the closure take the gradients as they are, since the closure would
        recompute them after the first optimizer has moved its parameters.

        Raises:
            UsageError: One of them fails at finite numbers.
        """
        for optimizer in self.optimizers:
            takes = list(inspect.signature(optimizer.step).parameters.values())[:1]
            asks = takes and (len(self.optimizers) == 1 or takes[0].default is inspect.Parameter.empty)
            try:
                optimizer.step(closure) if asks else optimizer.step()
            except L2LError:
                raise
            except Exception as error:  # a third-party class may raise anything
                if self._is_finite():
                    name = type(optimizer).__name__
                    raise UsageError(f"learner.optimizer: {name} fails in its step: {_said(error)}") from error
                for value in self.params.values():
                    value.fill_(math.nan)

    def _is_finite(self) -> bool:
        """Return whether the parameters, their gradients and the optimizers' states are all finite."""
        grads = [value.grad for value in self.params.values() if value.grad is not None]
        remembered = [dict(state) for optimizer in self.optimizers for state in optimizer.state.values()]
        values = [*self.params.values(), *grads, *(one for state in remembered for one in state.values())]
        return all(bool(one.isfinite().all()) for one in values if isinstance(one, Tensor))


class _Function(NamedTuple):
    """Placeholder for a function that an optimizer holds, such as a lambda: it never changes, and cannot be packed."""

    key: int


_FUNCTIONS: dict[int, Any] = {}
"""Functions by the key of their placeholder."""


def _named(value: object) -> object:
    """Return a placeholder for a function that refers only to its arguments and module; anything else as it is."""
    if not inspect.isfunction(value) or value.__closure__:
        return value
    _FUNCTIONS[id(value)] = value
    return _Function(id(value))


def _intern_keys(content: object) -> None:
    """Intern the keys of all dictionaries, so that equal contents are packed to equal bytes."""
    match content:
        case dict():
            entries = {sys.intern(key) if type(key) is str else key: value for key, value in content.items()}
            content.clear()
            content.update(entries)
            for value in entries.values():
                _intern_keys(value)
        case list() | tuple():
            for value in content:
                _intern_keys(value)


def is_switched(kind: type[torch.optim.Optimizer]) -> bool:
    """Return whether a class switches between parameters for training and for evaluation, as Schedule-Free does."""
    return callable(getattr(kind, "train", None)) and callable(getattr(kind, "eval", None))
