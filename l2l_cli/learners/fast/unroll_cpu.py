"""The fast path through a learned optimizer's steps: recorded gradients, compiled cells, an adjoint known beforehand.

With the gradient that the rule is shown stopped, ∂objective/∂g_t = Σ_{s>t} ∂objective/∂ℓ_s · ∇_s, and all ∇_s have been
computed on the way: back-propagation needs no second pass through the optimizee, and goes coordinate by coordinate.
Reference: ``Descent.step`` under automatic differentiation (Andrychowicz et al. 2016, §2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Generator, Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.kernels.blocks import BLOCK, fill
from l2l_cli.kernels.memory_pool import Arena, Recycler
from l2l_cli.kernels.unroll import Unroll, apply
from l2l_cli.kernels.weights import Mode, Presentation, Weights
from l2l_cli.learners.fast.block_sampling import all_that_matter, sample
from l2l_cli.learners.fast.recorded_loss import Surface
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM, LSTMStates
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.optimizers.preprocess import Identity, LogAndSign
from l2l_cli.tasks.base import Task

State = tuple[Params, Any]
"""θ and what the rule remembers: the fields of a ``DescentState``."""

CompiledRule = CoordinatewiseLSTM | PerType
"""Rules that kernels can run: one LSTM, or one for each type of parameter."""


def can_compile(rule: Optimizer[Any]) -> TypeGuard[CompiledRule]:
    """Say whether kernels can run a rule; a subclass may do what they do not."""
    if isinstance(rule, PerType):
        return all(type(part) is CoordinatewiseLSTM for part in rule.rules.values())
    return type(rule) is CoordinatewiseLSTM


class FastDescent:
    """Steps a coordinatewise LSTM, or one for each type of parameter, on a task's model by compiled code.

    θ is one vector, in which the coordinates of a type, a part, lie side by side; a single LSTM has one part.

    Args:
        task: Whose model is fitted.
        rule: The learned rule, one that ``can_compile`` accepts.
        share: Of the blocks of coordinates, which the backward pass visits; None is all.
        arenas: Memory to use, by part, of another task's unrolls.
    """

    def __init__(
        self, task: Task, rule: CompiledRule, share: float | None = None, arenas: dict[str, Arena] | None = None
    ) -> None:
        self.rule = rule
        self._share = share
        rules = rule.rules if isinstance(rule, PerType) else {"": rule}
        self.arenas = arenas if arenas is not None else {kind: Arena() for kind in rules}
        self._parts = {
            kind: _Part(part, self.arenas[kind]) for kind, part in rules.items() if isinstance(part, CoordinatewiseLSTM)
        }
        self.surface = Surface(task.model, task.loss)

    def step(self, params: Params, memory: Any, batch: Batch) -> tuple[State, Tensor]:
        """Return what is known after one step, and the answer (E, N, ...) before it."""
        groups = self._groups(params)
        like, sizes = _joined(groups), [_size(group) for group in groups.values()]
        flat = torch.cat([value.flatten() for value in like.values()])
        outputs, _, grad = self.surface(like, flat, *batch[:2])
        pieces = zip(groups, torch.split(grad, sizes), torch.split(flat, sizes), strict=True)
        found = {kind: self._parts[kind].step(self._memory(memory, kind), *piece) for kind, *piece in pieces}
        return self._state(params, like, found), outputs

    def losses(self, params: Params, memory: Any, batches: Batches) -> tuple[State, Tensor]:
        """Return what is known after T steps, and their losses (T, E), differentiable in φ; the state is constant."""
        found: list[Any] = []
        losses = _Losses.apply(self, params, memory, batches, found, *self.rule.parameters())  # type: ignore[no-untyped-call]
        return (found[0], found[1]), losses

    def unroll(self, params: Params, memory: Any, batches: Batches) -> tuple[State, Tensor]:
        """Run T steps, kept in the buffers, and return what is known after them, and the losses (T, E)."""
        groups, losses = self._groups(params), []
        like, sizes = _joined(groups), [_size(group) for group in groups.values()]
        flat = torch.cat([value.flatten() for value in like.values()])
        parts = [self._parts[kind] for kind in groups]
        for kind, piece in zip(groups, torch.split(flat, sizes), strict=True):
            self._parts[kind].begin(self._memory(memory, kind), piece, batches.steps)
        data = list(zip(batches.inputs.unbind(), batches.targets.unbind(), strict=True))
        surface = self.surface.program(like, flat, *data[0])
        for t, batch in enumerate(data):
            _, loss, grad = surface(_whole([part.thetas[t] for part in parts]), *batch[:2])
            losses.append(loss)
            for part, piece in zip(parts, torch.split(grad, sizes), strict=True):
                part.advance(t, piece)
        found = {kind: self._parts[kind].last() for kind in groups}
        return self._state(params, like, found), torch.stack(losses)

    def backward(self, grad_losses: Tensor, params: Params) -> list[Tensor]:
        """Return the gradient of φ, in the order of the rule's parameters, from ∂objective/∂losses (T, E)."""
        groups, found = self._groups(params), []
        # Drawn by what is differentiated: a resumed run draws the same without anything to remember.
        rng = generator(0, "visits", grad_losses.numpy().tobytes().hex())
        for kind, part in self._parts.items():
            if kind in groups:
                found += part.backward(grad_losses, groups[kind], self._share, rng)
            else:  # the model has no parameters of the type
                found += [torch.zeros_like(value) for value in part.rule.parameters()]
        return found

    @property
    def turns(self) -> list[int]:
        """How often each part's memory was taken up: it holds the last unroll alone."""
        return [arena.turns for arena in self.arenas.values()]

    def _groups(self, params: Params) -> dict[str, Params]:
        """Return θ by part."""
        return self.rule.split(params) if isinstance(self.rule, PerType) else {"": params}

    def _memory(self, memory: Any, kind: str) -> LSTMStates:
        """Return what a part remembers."""
        found: LSTMStates = memory[kind] if isinstance(self.rule, PerType) else memory
        return found

    def _state(self, params: Params, like: Params, found: dict[str, tuple[Tensor, LSTMStates]]) -> State:
        """Return θ, named and in order as before, and the rule's memory, from those of the parts."""
        moved = shaped(_whole([flat for flat, _ in found.values()]), like)
        memory = {kind: states for kind, (_, states) in found.items()}
        return {name: moved[name] for name in params}, memory if isinstance(self.rule, PerType) else memory[""]


class _Part:
    """The coordinates that one LSTM moves, and the buffers of their steps.

    Attributes:
        rule: The LSTM.
        thetas: The coordinates before and after every step, T + 1 of (C,).
    """

    thetas: Sequence[Tensor]

    def __init__(self, rule: CoordinatewiseLSTM, arena: Arena) -> None:
        self.rule = rule
        self._buffers = Unroll(arena)
        self._recycler = Recycler()

    def step(self, memory: LSTMStates, grad: Tensor, flat: Tensor) -> tuple[Tensor, LSTMStates]:
        """Return the coordinates (C,) and the memory after one step, of which nothing is kept."""
        weights, features, seen = weights_of(self.rule), None, memory.seen
        if weights.presentation.mode == Mode.GIVEN:
            features, seen = self.rule.preprocess.show(grad, seen)
        hidden, cell, after = apply(weights, grad, features, (memory.hidden, memory.cell), flat, self._recycler)
        return after, LSTMStates(hidden, cell, seen)

    def begin(self, memory: LSTMStates, flat: Tensor, steps: int) -> None:
        """Take up φ, a memory and coordinates (C,)."""
        weights, buffers, count = weights_of(self.rule), self._buffers, flat.numel()
        buffers.begin(weights, (memory.hidden, memory.cell), flat, steps)
        self._given, self._seen = weights.presentation.mode == Mode.GIVEN, memory.seen
        self.thetas = buffers.params[:, :count].unbind()
        self._gradients = buffers.gradients[:, :count].unbind()

    def advance(self, t: int, grad: Tensor) -> None:
        """Make step t, shown ∇_t (C,)."""
        self._gradients[t].copy_(grad)
        if self._given:
            features, self._seen = self.rule.preprocess.show(grad, self._seen)
            fill(self._buffers.features[t], features)
        self._buffers.advance(t)

    def last(self) -> tuple[Tensor, LSTMStates]:
        """Return the coordinates (C,) and the memory after the last step, apart from the buffers."""
        states = LSTMStates(self._buffers.hidden[-1].clone(), self._buffers.cell[-1].clone(), self._seen)
        return self.thetas[-1].clone(), states

    def backward(self, grad_losses: Tensor, params: Params, share: float | None, rng: Generator) -> list[Tensor]:
        """Return the gradient of the LSTM's φ; ``params`` are the part's, for their shapes."""
        adjoint, gradients, start = self._buffers.adjoint, self._buffers.gradients, 0
        steps, episodes = grad_losses.shape
        for value in params.values():
            stop = start + value.numel()
            # Each coordinate belongs to one episode: weigh its gradients by ∂objective/∂(that episode's loss).
            shown = gradients[1:, start:stop].view(steps - 1, episodes, -1)
            adjoint[:-1, start:stop] = (shown * grad_losses[1:, :, None]).flatten(1)
            start = stop
        adjoint[-1] = 0.0
        for t in range(steps - 2, 0, -1):  # a move shows in all later losses
            adjoint[t - 1] += adjoint[t]
        visits = all_that_matter(adjoint) if share is None else sample(adjoint, share, rng)
        adjoint.view(steps, -1, BLOCK)[:, visits.blocks] *= visits.factors[:, None]
        return self._buffers.backward(visits.blocks)


def _joined(groups: dict[str, Params]) -> Params:
    """Return the parameters of all parts, part after part."""
    return {name: value for group in groups.values() for name, value in group.items()}


def _size(params: Params) -> int:
    return sum(value.numel() for value in params.values())


def _whole(pieces: Sequence[Tensor]) -> Tensor:
    """Return vectors as one, without a copy if there is but one."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


def weights_of(rule: CoordinatewiseLSTM) -> Weights:
    """Return φ, and what kernels can do of the pre-processing."""
    presentation = Presentation(Mode.GIVEN, 0.0)
    if type(rule.preprocess) is Identity:
        presentation = Presentation(Mode.IDENTITY, rule.preprocess.scale)
    elif type(rule.preprocess) is LogAndSign and rule.preprocess.p <= 80:  # e^−80 is a normal number
        presentation = Presentation(Mode.LOG_AND_SIGN, rule.preprocess.p)
    *cells, head, bias = rule.parameters()
    layers = [cells[k : k + 3] for k in range(0, len(cells), 3)]
    return Weights(layers, (head, bias), rule.output_scale, presentation)


def shaped(flat: Tensor, like: Params) -> Params:
    """Return the parameters, named and shaped as others, that a vector (C,) holds in turn."""
    pieces = torch.split(flat, [value.numel() for value in like.values()])
    return {name: piece.view_as(like[name]) for name, piece in zip(like, pieces, strict=True)}


class _Losses(torch.autograd.Function):
    """Losses as a function of φ."""

    @staticmethod
    def forward(
        ctx: Any,
        fast: FastDescent,
        params: Params,
        memory: Any,
        batches: Batches,
        found: list[Any],
        *phi: Tensor,
    ) -> Tensor:
        del phi
        state, losses = fast.unroll(params, memory, batches)
        found += state
        ctx.fast, ctx.params, ctx.turns = fast, params, fast.turns
        return losses

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> Any:
        if ctx.turns != ctx.fast.turns:
            raise RuntimeError("another window was unrolled since: differentiate one before the next is begun")
        return (None, None, None, None, None, *ctx.fast.backward(grad_losses, ctx.params))
