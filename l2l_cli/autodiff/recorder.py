"""Tensor operations that are recorded once and replayed as straight-line code.

For a small model, batching over episodes and automatic differentiation take several times as long as the operations
that they call.  A program consists only of these operations, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from l2l_cli.autodiff.program_writer import Args, Call, Kwargs, NotPure, ProgramWriter, Stages
from l2l_cli.autodiff.pure import is_random

_aten = torch.ops.aten


def record(function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> Callable[..., list[Tensor]]:
    """Record what a function does with example inputs, as a program that does it with tensors of the same shapes.

    The function must be pure: numbers that it computes in Python, and other tensors that it reads, become constants.
    The program is tried on other inputs, to detect whether it wrongly treats something as a constant.

    Raises:
        NotPure: The function reads numbers out of tensors, draws random ones, or does something else on other inputs.
    """
    with torch.no_grad():
        with _Recorder() as recorder:
            outputs = function(*inputs)
        writer = ProgramWriter(inputs, recorder.calls)
        program = writer.program(writer.names(inputs), writer.names(outputs))
        del recorder, writer, outputs
        _try(function, program, inputs)
        return program


def record_stages(function: Callable[..., Sequence[Sequence[Tensor]]], *stages: Sequence[Tensor]) -> Stages:
    """Return programs that do, stage by stage, what a pure function does; see ``record``.

    Args:
        function: Map from all stages' inputs, one after the other, to the outputs of each stage.  A later stage's
            outputs may depend on its own inputs and on the first stage's only.
        stages: Example inputs of each stage.

    Raises:
        NotPure: As in ``record``; or the function changes a tensor in place that others share.
    """
    with torch.no_grad():
        inputs = [value for values in stages for value in values]
        with _Recorder() as recorder:
            outputs = function(*inputs)
        writer = ProgramWriter(inputs, recorder.calls)
        found = writer.stages([writer.names(values) for values in stages], [writer.names(values) for values in outputs])
        del recorder, writer, outputs
        sizes = [len(values) for values in stages]

        def program(*values: Tensor) -> list[Tensor]:
            first, *later = (values[sum(sizes[:k]) : sum(sizes[: k + 1])] for k in range(len(sizes)))
            results, shared = found.first(*first)
            parts = [later_one(shared, *own) for later_one, own in zip(found.later, later, strict=True)]
            return [value for part in (results, *parts) for value in part]

        _try(lambda *values: [value for part in function(*values) for value in part], program, inputs)
        return found


def _try(
    function: Callable[..., Sequence[Tensor]], program: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]
) -> None:
    """Compare a program with its function on other inputs, which are smaller and in reverse order.

    Raises:
        NotPure: They differ.
    """
    others = [_smaller(value.flip(list(range(value.dim())))) for value in inputs]
    try:
        expected = function(*(value.clone() for value in others))
    except Exception as error:  # inputs that the function refuses prove nothing, so it is called every time
        raise NotPure(str(error)) from error
    for found, value in zip(program(*others), expected, strict=True):
        size = float(value.nan_to_num(0.0, 0.0, 0.0).abs().max()) if value.numel() else 0.0
        if not torch.allclose(found, value, rtol=1e-3, atol=1e-5 * size, equal_nan=True):
            raise NotPure("it reads something that is not among its inputs")


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A record of every operation, its arguments and its result; all stay alive, so that identities stay unique."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # hiding from the compiler would import it, which takes a second

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> object:
        if is_random(func) or (torch.Tag.dynamic_output_shape in func.tags and not _has_fixed_shape(func, args)):
            raise NotPure(str(func))
        if func is _aten.native_batch_norm.default and args[3] is not None and args[5]:
            raise NotPure("running statistics are changed by an operation that does not say so")
        result = func(*args, **(kwargs or {}))
        if any(isinstance(value, (bool, int, float)) for value in tree_leaves(result)):
            raise NotPure(str(func))
        self.calls.append((func, args, kwargs or {}, result))
        return result


def _smaller(value: Tensor) -> Tensor:
    """Return a tensor times three quarters, or halved if it holds integers, such as positions or classes."""
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        return value if value.dtype == torch.bool else 0.75 * value
    return torch.where(value > 0, value // 2, value)


def _has_fixed_shape(func: OpOverload, args: Args) -> bool:
    """Return whether an operation indexes by positions, not by a mask, so that its result's shape is known."""
    masks = (torch.bool, torch.uint8)
    return func is _aten.index.Tensor and all(value is None or value.dtype not in masks for value in args[1])
