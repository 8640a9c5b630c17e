"""What an update rule can provide besides its definition: compiled paths, which equal it in value and meta-gradient.

A learner asks its rule (``Optimizer.compiled``) and gets an ``Unroll``, or the ``Path`` that ``Optimizer.step`` takes
and the reason why there is no compiled path.  A rule that takes gradients as data, coordinate by coordinate, need not
implement ``Unroll`` itself: it provides ``CompiledSteps`` (``FirstOrder.compiled_steps``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from torch import Generator, Tensor, nn

from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.kernels.paths import EVERY_PATH, Path, Paths
from l2l_cli.models.model import Model
from l2l_cli.models.point import Loss, SecondOrder

Memory = TypeVar("Memory")


class Fitting(NamedTuple):
    """The problem that a rule is to fit, as far as a compiled path must know it.

    Attributes:
        model: Network that is fitted.
        loss: Loss of the task.
        second_order: Whether meta-gradients flow through the gradients that the rule is shown; see ``Point``.
        hides_targets: Whether the task hides some of its targets.
        divided: Whether batches are divided over several processes.
        visited: Share of the blocks of coordinates that a backward pass visits, in (0, 1]; None visits all.
        paths: Paths that may be taken.
        limit: Largest norm of an episode's derivative with respect to θ at any step; None sets no limit.
    """

    model: Model
    loss: Loss
    second_order: SecondOrder = False
    hides_targets: bool = False
    divided: bool = False
    visited: float | None = None
    paths: Paths = EVERY_PATH
    limit: float | None = None

    def obstacle_for(self, rule: nn.Module) -> str:
        """Return ``obstacle``; if there is none, say whether φ has another number type than the network."""
        own = next((value.dtype for value in rule.parameters()), self.model.dtype)
        if self.obstacle or own == self.model.dtype:
            return self.obstacle
        return f"the network is {self.model.dtype} and the learned rule {own}, but the kernels need one type for both"

    @property
    def obstacle(self) -> str:
        """Why no path can take gradients as data and compute them in this process; empty if one can."""
        if self.divided:
            return "hardware.replicas divide the batch, but the kernels compute it in one process"
        if self.hides_targets:
            return "the task hides targets, but the kernels read the targets of every step"
        if self.second_order:
            return "second_order or gradient.rho differentiates the gradients too, which the kernels take as data"
        if self.limit is not None:
            return f"gradient.limit={self.limit:g} bounds derivatives at each step, but the kernels do not bound them"
        return ""


class Unroll(ABC, Generic[Memory]):
    """A compiled path through the steps of a rule on one model.

    Attributes:
        path: Name under which it is reported.
    """

    path: Path

    @abstractmethod
    def losses(self, params: Params, memory: Memory, batches: Batches) -> tuple[tuple[Params, Memory], Tensor]:
        """Return θ and the memory after T steps, as constants, and the losses (T, E), differentiable in φ."""

    def answers(
        self, params: Params, memory: Memory, read: Callable[[int], Batch], steps: int
    ) -> tuple[tuple[Params, Memory], Tensor] | None:
        """Return θ and the memory after T steps, and the outputs (T, E, N, ...), without any derivative.

        ``read`` gives the batch of each step, counted from 0.  A result of None leaves the work to single steps.
        """
        del params, memory, read, steps
        return None

    def step(self, params: Params, memory: Memory, batch: Batch) -> tuple[tuple[Params, Memory], Tensor] | None:
        """Return θ and the memory after one step, and the outputs (E, N, ...) before it, without any derivative.

        A result of None leaves the step to the rule itself.
        """
        del params, memory, batch
        return None


class CompiledSteps(ABC, Generic[Memory]):
    """Compiled steps of a rule that takes gradients as data, on C coordinates in one vector.

    A window consists of ``begin``, then ``advance`` for each step or ``least_squares`` for all of them, then ``last``
    and ``backward``; its numbers stay in buffers until the next window begins.

    Attributes:
        path: Name under which they are reported.
        windows: Number of windows so far.
        thetas: Coordinates before and after every step of the window, T + 1 of (C,).
    """

    path: Path
    windows: int
    thetas: Sequence[Tensor]

    @property
    @abstractmethod
    def phi(self) -> Sequence[Tensor]:
        """The rule's parameters, in the order of ``parameters()``."""

    @abstractmethod
    def step(self, memory: Memory, grad: Tensor, theta: Tensor) -> tuple[Tensor, Memory]:
        """Return the coordinates (C,) and the memory after one step on ∇ (C,), without recording it."""

    @abstractmethod
    def begin(self, memory: Memory, theta: Tensor, steps: int, record: bool = True) -> None:
        """Begin a window of T steps with the current φ, a memory and coordinates (C,).

        Without ``record`` no ``backward`` may follow, and ``thetas[t]`` is valid until step t + 1 has been made.
        """

    @abstractmethod
    def advance(self, t: int, grad: Tensor) -> None:
        """Make step t with gradient ∇_t (C,)."""

    def least_squares(self, matrix: Tensor, targets: Tensor) -> Tensor | None:
        """Make all steps on the mean of ‖Wθ − y‖² over the residuals, and return Wθ_t, (T, E, N).

        A result of None means that nothing has been done, and leaves the steps to ``advance``.

        Args:
            matrix: W, (T, E, N, P).
            targets: y, (T, E, N).
        """
        del matrix, targets
        return None

    @abstractmethod
    def last(self) -> tuple[Tensor, Memory]:
        """Return the coordinates (C,) and the memory after the last step, independent of the buffers."""

    @abstractmethod
    def backward(self, grad_losses: Tensor, params: Params, visited: float | None, rng: Generator) -> list[Tensor]:
        """Return the gradient of φ.

        Args:
            grad_losses: ∂objective/∂losses, (T, E).
            params: Parameters whose coordinates follow one another in the vector, for their shapes.
            visited: Share of the blocks of coordinates to visit; None visits all.
            rng: Generator that draws the blocks.
        """
