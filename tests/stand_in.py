"""A device that is not the CPU, where there is none: torch's *meta* device, made to refuse what a GPU refuses.

It knows shapes and no values, and lets many operations pass that mix devices.  Here every operation is looked at: a
mixture raises, and a question for values, for which a program waits for a GPU, gets an answer and is remembered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PACKAGE = Path(__file__).resolve().parents[1] / "l2l_cli"
aten = torch.ops.aten

COPIES = (aten.copy_.default, aten._to_copy.default)
"""Operations whose tensors may lie on two devices."""


class MixedDevices(Exception):
    """An operation has met tensors of two devices, none of which is a single number."""


class StandIn(TorchDispatchMode):
    """Refuses mixtures, and answers questions for values as if every number were one.

    Attributes:
        waits: Files of the package that asked for values, and their functions, in turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, or answer it."""
        del types
        kwargs = kwargs or {}
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        devices = {value.device.type for value in tensors if value.dim()}
        if len(devices) > 1 and func not in COPIES:
            raise MixedDevices(f"{func} in {asker()} mixes {' and '.join(sorted(devices))}")
        if "meta" not in {value.device.type for value in tensors} or func not in ANSWERS:
            return func(*args, **kwargs)
        found = ANSWERS[func](func, *args, **kwargs)
        self.waits += [asker()] if found.waits else []
        return found.value


class Answer:
    """What an operation returns, and whether a GPU would have been waited for."""

    def __init__(self, value: Any, waits: bool = True) -> None:
        self.value, self.waits = value, waits


def _number(func: Any, value: Tensor) -> Answer:
    return Answer(torch.ones((), dtype=value.dtype, device="cpu").item())


def _places(func: Any, value: Tensor) -> Answer:
    return Answer(torch.ones(value.shape, device="cpu").nonzero().to("meta"))


def _chosen(func: Any, value: Tensor, indices: Any) -> Answer:
    """Take a mask for one that chooses everything."""
    masks = [index is not None and index.dtype == torch.bool for index in indices]
    whole: list[Tensor | None] = []
    for index, is_mask in zip(indices, masks, strict=True):
        whole += torch.ones(index.shape, device="cpu").nonzero().to("meta").unbind(1) if is_mask else [index]
    return Answer(func(value, whole), waits=any(masks))


def _copied(func: Any, value: Tensor, **kwargs: Any) -> Answer:
    device = kwargs.get("device")
    if device is None or torch.device(device).type == "meta":
        return Answer(func(value, **kwargs), waits=False)
    return Answer(torch.ones(value.shape, dtype=kwargs.get("dtype") or value.dtype, device=device))


ANSWERS: dict[Any, Callable[..., Answer]] = {
    aten._local_scalar_dense.default: _number,
    aten.equal.default: lambda func, one, other: Answer(True),
    aten.allclose.default: lambda func, one, other, *bounds, **named: Answer(True),
    aten.nonzero.default: _places,
    aten.index.Tensor: _chosen,
    aten._to_copy.default: _copied,
}


def asker() -> str:
    """Return the innermost function of the package that is running, as file.function."""
    frame = sys._getframe(1)
    while frame is not None and PACKAGE not in Path(frame.f_code.co_filename).parents:
        frame = frame.f_back  # type: ignore[assignment]
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}" if frame else "nowhere"


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Make it torch's default device."""
    torch.set_default_device("meta")
    try:
        with StandIn() as mode:
            yield mode
    finally:
        torch.set_default_device("cpu")
