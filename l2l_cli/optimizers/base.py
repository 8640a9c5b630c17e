"""The interface of update rules, which map a point on a loss surface to the next parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from l2l_cli.core.episodes import Pieces
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import flattened, unflattened
from l2l_cli.kernels.paths import REFERENCE, Path
from l2l_cli.models.point import Point
from l2l_cli.optimizers.compiled import CompiledSteps, Fitting, Unroll
from l2l_cli.optimizers.fast.unroll_cpu import UnrollOfOne

Memory = TypeVar("Memory")


class Optimizer(nn.Module, ABC, Generic[Memory]):
    """An update rule; its ``parameters()`` are φ if it is learned, and empty if it is hand-made.

    Attributes:
        work: Cost of a step in units of a gradient on the same batch, for estimates of the remaining time.
        may_rest: Whether tasks may leave a part of φ unused, such as that for a parameter type that their model lacks.
        takes_gradients: Whether it needs only the parameters, the gradient and the loss of a point.
    """

    work: float = 1.0
    may_rest: ClassVar[bool] = False
    takes_gradients: ClassVar[bool] = False

    @abstractmethod
    def init(self, params: Params) -> Memory:
        """Return the memory before the first step, for parameters (E, ...)."""

    @property
    def is_told(self) -> bool:
        """Whether the rule plans for the end of an episode; then ``begin`` notes its length in the memory."""
        return False

    def begin(self, params: Params, steps: int) -> Memory:
        """Return the memory before the first of ``steps`` steps: ``init``'s, unless the rule plans for the end."""
        del steps
        return self.init(params)

    @abstractmethod
    def step(self, point: Point, memory: Memory) -> tuple[Params, Memory]:
        """Return the next parameters and memory."""

    def step_in_place(
        self,
        params: Sequence[Tensor],
        gradient: Sequence[Tensor],
        loss: Callable[[], Tensor],
        memory: Memory,
        rate: float,
    ) -> Memory | None:
        """Move the parameters of one network in place and return the memory; return None if the rule cannot.

        Args:
            params: Parameters, whose version counters in torch stay as they are.
            gradient: Gradient, shaped as the parameters.
            loss: Function that returns the loss, (1,).
            memory: Memory of the rule before the step, which may be overwritten.
            rate: Factor on the displacement.
        """
        del params, gradient, loss, memory, rate
        return None

    def pieces(self, params: Params) -> Pieces:
        """Return the sizes of an episode's pieces along those axes of the memory on which it is not contiguous.

        Such is an axis over the coordinates of several parameters (1, ...), one parameter after the other.  Keys are ""
        for all of the memory, or ".name" for the tensors under that name.
        """
        del params
        return {}

    def compiled(self, fitting: Fitting) -> Unroll[Memory] | Path:
        """Return a compiled path through the rule's steps, or that of ``step`` with the reason why there is none."""
        del fitting
        return REFERENCE

    def extra_evaluations(self, memory: Memory) -> Tensor | None:
        """Return the evaluations of each episode beyond one gradient per step, (E,); None if there are none.

        An evaluation is one of the loss, of a gradient or of a Hessian product, on a step's batch.
        """
        del memory
        return None


class FirstOrder(Optimizer[Memory], ABC):
    """A rule that needs only the gradient."""

    takes_gradients: ClassVar[bool] = True

    @abstractmethod
    def update(self, grad: Params, memory: Memory) -> tuple[Params, Memory]:
        """Return the displacement to be added to the parameters, and the next memory."""

    def step(self, point: Point, memory: Memory) -> tuple[Params, Memory]:
        """Move by the displacement."""
        grad = point.grad
        own = next(self.parameters(), None) if self._modules or self._parameters else None
        kind = next(iter(grad.values())).dtype
        if own is None or own.dtype == kind:
            displacement, memory = self.update(grad, memory)
        else:  # a learned rule sees gradients in the type of its φ, whatever the type of the network
            displacement, memory = self.update(_in_type(grad, own.dtype), memory)
            displacement = _in_type(displacement, kind)
        return added(point.params, displacement), memory

    def compiled_steps(self) -> CompiledSteps[Memory] | Path:
        """Return compiled steps that equal ``update`` and take gradients as data, or the reason why there are none."""
        return REFERENCE

    def step_compiled(self, grad: Params, params: Params, memory: Memory) -> tuple[Params, Memory] | None:
        """Return the next parameters and memory by ``compiled_steps``, without any derivative; None if there are none.

        All tensors have φ's type and are on its device.
        """
        steps = self.compiled_steps()
        if isinstance(steps, Path):
            return None
        theta, memory = steps.step(memory, flattened(grad), flattened(params))
        return unflattened(theta, params), memory

    def compiled(self, fitting: Fitting) -> Unroll[Memory] | Path:
        """Return the path by ``compiled_steps``, if gradients can be taken as data."""
        if not fitting.paths.compiled:
            return REFERENCE
        steps = self.compiled_steps()
        if isinstance(steps, Path):
            return steps
        why_not = fitting.obstacle_for(self)
        return Path(why_not=why_not) if why_not else UnrollOfOne(fitting, steps)


def positive(**values: float) -> None:
    """Refuse hyper-parameters that are not above zero.

    Raises:
        ValueError: A value is not above zero; the message names it.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value}")


def fraction(**values: float) -> None:
    """Refuse decay rates outside [0, 1).

    Raises:
        ValueError: A value is outside; the message names it.
    """
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), not {value}")


def zeros(params: Params) -> Params:
    """Return zeros shaped as the parameters."""
    return {name: value.new_zeros(value.shape) for name, value in params.items()}


def added(params: Params, displacement: Params) -> Params:
    """Return params + displacement."""
    return {name: value + displacement[name] for name, value in params.items()}


def _in_type(params: Params, dtype: torch.dtype) -> Params:
    return {name: value.to(dtype) for name, value in params.items()}


def decayed(old: Params, new: Params, decay: float, gain: float) -> Params:
    """Return decay · old + gain · new."""
    return {name: decay * value + gain * new[name] for name, value in old.items()}


def scaled(params: Params, factor: float | Tensor) -> Params:
    """Return factor · params."""
    return {name: factor * value for name, value in params.items()}
