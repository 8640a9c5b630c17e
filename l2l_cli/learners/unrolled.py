"""The fast path through a learned optimizer's steps: recorded gradients, compiled cells, an adjoint known beforehand.

With the gradient that the rule is shown stopped, ∂objective/∂g_t = Σ_{s>t} ∂objective/∂ℓ_s · ∇_s, and all ∇_s have been
computed on the way: back-propagation needs no second pass through the optimizee, and goes coordinate by coordinate.
Reference: ``Descent.step`` under automatic differentiation (Andrychowicz et al. 2016, §2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.blocks import fill
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.kernels.recycle import Recycler
from l2l_cli.kernels.unroll import Unroll, apply
from l2l_cli.kernels.weights import Mode, Presentation, Weights
from l2l_cli.learners.surface import Surface
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM, LSTMStates
from l2l_cli.optimizers.preprocess import Identity, LogAndSign
from l2l_cli.tasks.base import Task

State = tuple[Params, LSTMStates]
"""θ and what the rule remembers: the fields of a ``DescentState``."""


class FastDescent:
    """Steps a coordinatewise LSTM on a task's model by compiled code.

    Args:
        task: Whose model is fitted.
        rule: The learned rule.
    """

    def __init__(self, task: Task, rule: CoordinatewiseLSTM) -> None:
        self.rule = rule
        self.surface = Surface(task.model, task.loss)
        self.buffers = Unroll()
        self.recycler = Recycler()
        self.number = 0  # of unrolls so far: the buffers hold the last one alone

    def step(self, params: Params, memory: LSTMStates, batch: Batch) -> tuple[State, Tensor]:
        """Return what is known after one step, and the answer (E, N, ...) before it."""
        flat = torch.cat([value.flatten() for value in params.values()])
        outputs, _, grad = self.surface(params, flat, *batch)
        weights = weights_of(self.rule)
        features = self.rule.preprocess(grad) if weights.presentation.mode == Mode.GIVEN else None
        hidden, cell, flat = apply(weights, grad, features, (memory.hidden, memory.cell), flat, self.recycler)
        return (shaped(flat, params), LSTMStates(hidden, cell)), outputs

    def losses(self, params: Params, memory: LSTMStates, batches: Batches) -> tuple[State, Tensor]:
        """Return what is known after T steps, and their losses (T, E), differentiable in φ; the state is constant."""
        found: list[Any] = []
        losses = _Losses.apply(self, params, memory, batches, found, *self.rule.parameters())  # type: ignore[no-untyped-call]
        return (found[0], found[1]), losses

    def unroll(self, params: Params, memory: LSTMStates, batches: Batches) -> tuple[State, Tensor]:
        """Run T steps, kept in the buffers, and return what is known after them, and the losses (T, E)."""
        self.number += 1
        weights, buffers, losses = weights_of(self.rule), self.buffers, []
        flat = torch.cat([value.flatten() for value in params.values()])
        count = flat.numel()
        buffers.begin(weights, (memory.hidden, memory.cell), flat, batches.steps)
        thetas, gradients = buffers.params[:, :count].unbind(), buffers.gradients[:, :count].unbind()
        data = list(zip(batches.inputs.unbind(), batches.targets.unbind(), strict=True))
        surface = self.surface.program(params, flat, *data[0])
        for t, batch in enumerate(data):
            _, loss, grad = surface(thetas[t], *batch)
            losses.append(loss)
            gradients[t].copy_(grad)
            if weights.presentation.mode == Mode.GIVEN:
                fill(buffers.features[t], self.rule.preprocess(grad))
            buffers.advance(t)
        after = LSTMStates(buffers.hidden[-1].clone(), buffers.cell[-1].clone())
        return (shaped(thetas[-1].clone(), params), after), torch.stack(losses)

    def backward(self, grad_losses: Tensor, params: Params) -> list[Tensor]:
        """Return the gradient of φ, in the order of the rule's parameters, from ∂objective/∂losses (T, E)."""
        adjoint, gradients, start = self.buffers.adjoint, self.buffers.gradients, 0
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
        return self.buffers.backward()


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
        memory: LSTMStates,
        batches: Batches,
        found: list[Any],
        *phi: Tensor,
    ) -> Tensor:
        del phi
        state, losses = fast.unroll(params, memory, batches)
        found += state
        ctx.fast, ctx.params, ctx.number = fast, params, fast.number
        return losses

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> Any:
        if ctx.number != ctx.fast.number:
            raise RuntimeError("another window was unrolled since: differentiate one before the next is begun")
        return (None, None, None, None, None, *ctx.fast.backward(grad_losses, ctx.params))
