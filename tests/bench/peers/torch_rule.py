"""What the two PyTorch peers share: the learned rule as a module, the optimizees as modules, and Adam on φ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.bench.peers.problem import Array, Problem

States = list[tuple[Tensor, Tensor]]
"""h and c of each layer, (H, C)."""


class Rule(nn.Module):
    """The coordinatewise LSTM, on all coordinates of a problem as one batch.

    Coordinates come last and each layer makes one product: of the arrangements tried (rows of coordinates, two
    products, ``lstm_cell``, tanh by a sigmoid), the fastest in PyTorch.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.phi = nn.ParameterList(nn.Parameter(torch.from_numpy(value.copy())) for value in problem.phi)
        self.layers = problem.layers
        self.hidden = problem.hidden
        self.log_scale = problem.log_scale
        self.output_scale = problem.output_scale

    def initial(self, params: Sequence[Tensor]) -> States:
        """Return zero states."""
        zero = params[0].new_zeros(self.hidden, sum(value.numel() for value in params))
        return [(zero, zero)] * self.layers

    def forward(self, gradients: Sequence[Tensor], states: States) -> tuple[list[Tensor], States]:
        """Return the displacements, shaped as the gradients, and the next states."""
        below = self._features(torch.cat([value.flatten() for value in gradients]))
        after: States = []
        for layer, (hidden, cell) in enumerate(states):
            into, own, bias = self.phi[3 * layer : 3 * layer + 3]
            gates = torch.addmm(bias[:, None], torch.cat([into, own], 1), torch.cat([below, hidden]))
            i, f, g, o = gates.chunk(4)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            below = torch.sigmoid(o) * torch.tanh(cell)
            after.append((below, cell))
        moves = self.output_scale * torch.addmm(self.phi[-1][:, None], self.phi[-2], below).squeeze(0)
        pieces = moves.split([value.numel() for value in gradients])
        return [piece.view_as(value) for piece, value in zip(pieces, gradients, strict=True)], after

    def _features(self, flat: Tensor) -> Tensor:
        if not self.log_scale:
            return flat[None]
        size, p = flat.abs(), self.log_scale
        large = size >= torch.exp(flat.new_tensor(-p))
        magnitude = torch.where(large, size.log() / p, -1.0)
        return torch.stack([magnitude, torch.where(large, flat.sign(), torch.exp(flat.new_tensor(p)) * flat)])


class PlainRule(Rule):
    """The same as most would write it, by torch's own cell: coordinates are rows, two products a layer."""

    def initial(self, params: Sequence[Tensor]) -> States:
        """Return zero states, (C, H) each."""
        zero = params[0].new_zeros(sum(value.numel() for value in params), self.hidden)
        return [(zero, zero)] * self.layers

    def forward(self, gradients: Sequence[Tensor], states: States) -> tuple[list[Tensor], States]:
        """Return the displacements, shaped as the gradients, and the next states."""
        below = self._features(torch.cat([value.flatten() for value in gradients])).T
        after: States = []
        for layer, state in enumerate(states):
            into, own, bias = self.phi[3 * layer : 3 * layer + 3]
            below, cell = torch.lstm_cell(below, state, into, own, bias, torch.zeros_like(bias))
            after.append((below, cell))
        moves = self.output_scale * F.linear(below, self.phi[-2], self.phi[-1]).squeeze(1)
        pieces = moves.split([value.numel() for value in gradients])
        return [piece.view_as(value) for piece, value in zip(pieces, gradients, strict=True)], after


class Optimizee(nn.Module):
    """The E functions that are minimised; ``forward`` returns their losses, (E,)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.names = [f"theta{index}" for index in range(len(problem.theta))]
        # Parameters of the module itself: higher cannot patch a ParameterList.
        for name, value in zip(self.names, problem.theta, strict=True):
            self.register_parameter(name, nn.Parameter(torch.from_numpy(value.copy())))
        self.is_quadratic = problem.is_quadratic

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each episode on inputs (E, N, ...) and targets (E, N)."""
        theta = [getattr(self, name) for name in self.names]
        if self.is_quadratic:
            return (torch.bmm(inputs, theta[0][:, :, None]).squeeze(2) - targets).square().mean(1)
        hidden = torch.sigmoid(torch.baddbmm(theta[1][:, None], inputs, theta[0].transpose(1, 2)))
        outputs = torch.baddbmm(theta[3][:, None], hidden, theta[2].transpose(1, 2))
        return F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(1)


class MetaStep:
    """A contender made of a meta-loss in φ; what remains is automatic differentiation and Adam."""

    def __init__(self, problem: Problem, plain: bool = False) -> None:
        torch.set_num_threads(1)
        self.rule = PlainRule(problem) if plain else Rule(problem)
        self.optimizee = Optimizee(problem)
        self.inputs = torch.from_numpy(problem.inputs)
        self.targets = torch.from_numpy(problem.targets)
        self.adam = torch.optim.Adam(self.rule.parameters(), lr=problem.lr, fused=True)

    def meta_loss(self) -> Tensor:
        """Return the mean of the losses over steps and episodes."""
        raise NotImplementedError

    def gradient(self) -> tuple[float, list[Array]]:
        """Return the meta-loss and its gradient."""
        loss = self.meta_loss()
        return float(loss.detach()), [g.numpy() for g in torch.autograd.grad(loss, list(self.rule.phi))]

    def meta_step(self) -> None:
        """Move φ once."""
        self.adam.zero_grad()
        self.meta_loss().backward()
        self.adam.step()
