"""The compiled path of a learned first-order rule: recorded gradients, and steps that take them as data.

Reference: ``Descent.step`` under automatic differentiation (Andrychowicz et al. 2016, §2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.kernels.differentiable import differentiable
from l2l_cli.kernels.paths import Path
from l2l_cli.models.point import mean_squared_error
from l2l_cli.models.recorded_loss import Layout, RecordedLoss, in_turn
from l2l_cli.optimizers.compiled import CompiledSteps, Fitting, Unroll

Memory = TypeVar("Memory")
State = tuple[Params, Memory]
"""θ and the rule's memory: the fields of a ``DescentState``."""
Stepped = tuple[State[Memory], Tensor]


class _Part(NamedTuple):
    """Parameters whose coordinates lie side by side in θ, and the steps that move them."""

    params: Params
    steps: CompiledSteps[Any]
    size: int


class UnrollByType(Unroll[dict[str, Memory]]):
    """Makes compiled steps of several rules, each on its own type of a model's parameters.

    θ is one vector, in which the coordinates of a type are contiguous; the memory has an entry for each type that
    occurs.

    Args:
        fitting: Model and loss to fit.
        steps: Compiled steps of the rule of each type, in the order of φ.
        split: Function that sorts parameters by type; a type that does not occur is left out.
    """

    def __init__(
        self,
        fitting: Fitting,
        steps: Mapping[str, CompiledSteps[Memory]],
        split: Callable[[Params], Mapping[str, Params]],
    ) -> None:
        self.path: Path = next(iter(steps.values())).path
        self._steps = steps
        self._split = split
        self._visited = fitting.visited
        self._loss = RecordedLoss(fitting.model, fitting.loss)

    def step(self, params: Params, memory: dict[str, Memory], batch: Batch) -> tuple[State[dict[str, Memory]], Tensor]:
        """Return θ and the memory after one step, and the outputs (E, N, ...) before it."""
        parts = self._parts(params)
        layout, sizes = in_turn(_joined(parts)), [part.size for part in parts.values()]
        theta = layout.pack(_joined(parts))
        outputs, _, grad = self._loss.gradient(layout, theta, *batch[:2])(theta, *batch[:2])
        pieces = zip(parts.items(), torch.split(grad, sizes), torch.split(theta, sizes), strict=True)
        found = {name: part.steps.step(memory[name], *piece) for (name, part), *piece in pieces}
        return _state(params, layout, found), outputs

    def losses(self, params: Params, memory: dict[str, Memory], batches: Batches) -> Stepped[dict[str, Memory]]:
        """Return θ and the memory after T steps, as constants, and the losses (T, E), differentiable in φ."""
        phi = [value for steps in self._steps.values() for value in steps.phi]
        found: list[State[dict[str, Memory]]] = []

        def forward() -> tuple[Tensor]:
            state, _, losses = self._unrolled(params, memory, batches.at, batches.steps, batches)
            found.append(state)
            return (losses,)

        def windows() -> list[int]:
            return [steps.windows for steps in self._steps.values()]

        def backward(grad: Tensor) -> list[Tensor]:
            return self._backward(grad, params, _visits(grad, losses.detach()))

        (losses,) = differentiable(forward, backward, windows, phi)
        return found[0], losses

    def answers(
        self, params: Params, memory: dict[str, Memory], read: Callable[[int], Batch], steps: int
    ) -> Stepped[dict[str, Memory]]:
        """Return θ and the memory after T steps, and the outputs (T, E, N, ...), without any derivative."""
        state, outputs, _ = self._unrolled(params, memory, read, steps)
        return state, outputs

    def _unrolled(
        self,
        params: Params,
        memory: dict[str, Memory],
        read: Callable[[int], Batch],
        count: int,
        recorded: Batches | None = None,
    ) -> tuple[State[dict[str, Memory]], Tensor, Tensor]:
        """Make T steps; the buffers record them if all batches are also given together, as ``recorded``.

        Returns:
            θ and memory after them; the outputs (T, E, N, ...), which may be empty if recorded; the losses (T, E).
        """
        parts, record = self._parts(params), recorded is not None
        layout, sizes = in_turn(_joined(parts)), [part.size for part in parts.values()]
        theta = layout.pack(_joined(parts))
        steps = [part.steps for part in parts.values()]
        for (name, part), piece in zip(parts.items(), torch.split(theta, sizes), strict=True):
            part.steps.begin(memory[name], piece, count, record)
        outputs = None
        if self._loss.is_least_squares and len(steps) == 1:
            whole = recorded or _together([read(t) for t in range(count)])
            outputs, read = steps[0].least_squares(*whole[:2]), whole.at  # so that each batch is read only once
        if outputs is None:
            outputs, losses = self._one_by_one(layout, theta, steps, read, count, record)
        else:
            losses = mean_squared_error(outputs.flatten(0, 1), whole.targets.flatten(0, 1)).view(outputs.shape[:2])
        found = {name: part.steps.last() for name, part in parts.items()}
        return _state(params, layout, found), outputs, losses

    def _one_by_one(
        self,
        layout: Layout,
        theta: Tensor,
        steps: Sequence[CompiledSteps[Any]],
        read: Callable[[int], Batch],
        count: int,
        record: bool,
    ) -> tuple[Tensor, Tensor]:
        """Alternate the gradient's program and the steps; return the outputs, empty if ``record``, and the losses."""
        losses, outputs, sizes = [], [], [each.thetas[0].numel() for each in steps]
        for t in range(count):
            data = read(t)[:2]
            program = self._loss.gradient(layout, theta, *data)
            answer, loss, grad = program(_whole([each.thetas[t] for each in steps]), *data)
            losses.append(loss)
            if not record:  # an answer may be a view of θ, which the next step but one overwrites
                outputs.append(answer.clone())
            for each, piece in zip(steps, torch.split(grad, sizes), strict=True):
                each.advance(t, piece)
        return torch.stack(outputs) if outputs else theta.new_empty(0), torch.stack(losses)

    def _backward(self, grad_losses: Tensor, params: Params, rng: Generator) -> list[Tensor]:
        """Return the gradient of φ, in the order of the rules' parameters, from ∂objective/∂losses (T, E)."""
        groups, grad_phi = self._split(params), list[Tensor]()
        for name, steps in self._steps.items():
            if name in groups:
                grad_phi += steps.backward(grad_losses, groups[name], self._visited, rng)
            else:  # the model has no parameters of the type
                grad_phi += [torch.zeros_like(value) for value in steps.phi]
        return grad_phi

    def _parts(self, params: Params) -> dict[str, _Part]:
        return {
            name: _Part(group, self._steps[name], sum(value.numel() for value in group.values()))
            for name, group in self._split(params).items()
        }


def _visits(grad_losses: Tensor, losses: Tensor) -> Generator:
    """Return the generator of the blocks that a window's backward pass visits.

    It is seeded by the window's own numbers, so that a resumed run draws the same blocks without storing a generator's
    state: by ∂objective/∂losses and, where that is one number, which other windows have too, also by the losses.
    """
    is_mean = bool((grad_losses == grad_losses.flatten()[0]).all())
    own = [grad_losses, losses] if is_mean else [grad_losses]
    return generator(0, "visits", b"".join(values.numpy().tobytes() for values in own).hex())


class UnrollOfOne(Unroll[Memory]):
    """Makes compiled steps of one rule on all parameters of a task's model.

    Args:
        fitting: Model and loss to fit.
        steps: The rule's compiled steps.
    """

    def __init__(self, fitting: Fitting, steps: CompiledSteps[Memory]) -> None:
        self.path = steps.path
        self._unroll = UnrollByType(fitting, {"": steps}, lambda params: {"": params})

    def step(self, params: Params, memory: Memory, batch: Batch) -> tuple[State[Memory], Tensor]:
        """Return θ and the memory after one step, and the outputs (E, N, ...) before it."""
        (params, memories), outputs = self._unroll.step(params, {"": memory}, batch)
        return (params, memories[""]), outputs

    def answers(
        self, params: Params, memory: Memory, read: Callable[[int], Batch], steps: int
    ) -> tuple[State[Memory], Tensor]:
        """Return θ and the memory after T steps, and the outputs (T, E, N, ...), without any derivative."""
        (params, memories), outputs = self._unroll.answers(params, {"": memory}, read, steps)
        return (params, memories[""]), outputs

    def losses(self, params: Params, memory: Memory, batches: Batches) -> tuple[State[Memory], Tensor]:
        """Return θ and the memory after T steps, as constants, and the losses (T, E), differentiable in φ."""
        (params, memories), losses = self._unroll.losses(params, {"": memory}, batches)
        return (params, memories[""]), losses


def _joined(parts: Mapping[str, _Part]) -> Params:
    """Return the parameters of all parts, part after part."""
    return {name: value for part in parts.values() for name, value in part.params.items()}


def _state(
    params: Params, layout: Layout, found: Mapping[str, tuple[Tensor, Memory]]
) -> tuple[Params, dict[str, Memory]]:
    """Return θ, named and ordered as before, and the memory, from the coordinates and memories of the parts."""
    moved = layout.unpack(_whole([theta for theta, _ in found.values()]))
    return {name: moved[name] for name in params}, {name: memory for name, (_, memory) in found.items()}


def _together(batches: Sequence[Batch]) -> Batches:
    """Return several batches, whose targets are all shown, as one ``Batches``."""
    return Batches(*(torch.stack(values) for values in zip(*(batch[:2] for batch in batches), strict=True)))


def _whole(pieces: Sequence[Tensor]) -> Tensor:
    """Concatenate vectors, without a copy if there is only one."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))
