"""A learned schedule and a learned mixture of hand-made directions, for each parameter tensor.

Names: c → ``_coefficients``; m̂ → momenta; v̂ → second moments; r → the root of a tensor's mean v̂.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer, positive
from l2l_cli.optimizers.tensor_traits import Traits, means, traits_of

Directions = Literal["all", "own", "tensor", "adam"]

DECAYS, SQUARE = (0.9, 0.98), 0.98
"""Decays of the two momenta, and of the second moments."""

FAST, SLOW = 0.8, 0.95
"""Decays of two means of the loss, whose ratio is its slope."""

SEEN, MIXED = 20, 6
"""Numbers that the network sees of a tensor, and directions that it mixes."""

LARGEST = 1e18
"""Size to which gradients are cut: the square of a larger one is no float32."""

TINY = 1e-30
"""Number that is added to second moments, whose root is to have a derivative at 0."""

BOUND = 4.0
"""Size to which what the network sees is cut, so that it is never far from what it was trained on."""

RATES = (-12.0, 6.0)
"""Least and largest logarithm of the learned factor on the rate."""


class MixtureMemory(NamedTuple):
    """What the rule remembers: three numbers a coordinate, and some of the whole.

    Attributes:
        momenta: Decayed means of gradients, (E, 2, P).
        second: Decayed mean of their squares, (E, P).
        losses: A fast and a slow mean of the loss, and the first loss, (E, 3); 0 before there is any.
        steps: Steps so far, ().
        horizon: Steps that the episode has; 0 if nobody has said, ().
    """

    momenta: Tensor
    second: Tensor
    losses: Tensor
    steps: Tensor
    horizon: Tensor


class TensorwiseMixture(Optimizer[MixtureMemory]):
    """θ ← θ − Σ c · d over six directions d, with coefficients c that a small network infers for each tensor.

    The directions are the gradient and two momenta, each in units of the coordinate's own root mean square √v̂, as in
    Adam, and of its tensor's, r, as in normalised gradient descent.  The network never sees a coordinate: it sees what
    kind of tensor it is (vector or matrix, first or last layer, fan-in, number of layers), statistics of the tensor
    (ratio of signal to noise of the momenta, agreement of gradient and momentum, size of θ), the course of the loss,
    and the clock.  So a coordinate costs some forty operations, and the rule is indifferent to the scale of the loss.

    Source: the rule is ours.  Wang et al. 2019 (HyperAdam) mix Adam-like directions by a learned network for each
    coordinate, and Metz et al. 2022 (VeLO) let a network for each tensor rule what happens to its coordinates.

    Args:
        hidden: Units of each of the network's two layers.
        start: Rate of the rule before meta-training, which then is close to Adam.
        blind: Whether it is not told how many steps an episode has.  If it is told, it starts with a rate that falls to
            zero as the root of what is left.
        directions: Directions that are mixed: "all" six, the three in units of each coordinate's "own" root mean
            square, the three in those of the "tensor", or "adam": the faster momentum in its own units alone.
        skip: Whether the network has a linear path beside its layers.
        through_statistics: Whether meta-gradients flow through what the network sees.  If not, it counts as data, and
            the derivative is not that of finite differences.
        initial_seed: Seed of the initial weights.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        hidden: int = 16,
        start: float = 0.03,
        blind: bool = False,
        directions: Directions = "all",
        skip: bool = True,
        through_statistics: bool = False,
        initial_seed: int = 0,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {hidden}")
        if directions not in get_args(Directions):
            raise ValueError(f"directions must be one of {', '.join(get_args(Directions))}, not {directions!r}")
        positive(start=start)
        self.start, self.blind, self.directions = start, blind, directions
        self.through_statistics = through_statistics
        self.layers = nn.ModuleList([nn.Linear(SEEN, hidden), nn.Linear(hidden, hidden)])
        self.head = nn.Linear(hidden, 1 + MIXED)
        self.skip = nn.Linear(SEEN, 1 + MIXED, bias=False) if skip else None
        self._reset(initial_seed)

    @torch.no_grad()
    def _reset(self, seed: int) -> None:
        rng = generator(seed, "tensorwise_mixture")
        for layer in (*self.layers, self.head):
            bound = layer.in_features**-0.5
            for value in layer.parameters():
                value.copy_(uniform(tuple(value.shape), -bound, bound, rng))
        self.head.weight.mul_(0.1)
        self.head.bias.zero_()
        if self.skip is not None:
            self.skip.weight.zero_()
            if not self.blind:
                self.skip.weight[0, _REMAINING] = 0.5

    @property
    def is_told(self) -> bool:
        """Whether it plans for the end of an episode."""
        return not self.blind

    def init(self, params: Params) -> MixtureMemory:
        """Start from zero moments, without a horizon."""
        return self.begin(params, 0)

    def begin(self, params: Params, steps: int) -> MixtureMemory:
        """Start from zero moments, and note the horizon."""
        episodes, like = len(next(iter(params.values()))), self.head.weight
        size = sum(value[0].numel() for value in params.values())
        # float64 on the CPU: counts are exact, and reading them waits for no GPU.
        zero = torch.zeros((), dtype=torch.float64, device="cpu")
        momenta, second = like.new_zeros(episodes, 2, size), like.new_zeros(episodes, size)
        return MixtureMemory(momenta, second, like.new_zeros(episodes, 3), zero, zero + steps)

    def step(self, point: Point, memory: MixtureMemory) -> tuple[Params, MixtureMemory]:
        """Move along the mixture of each tensor."""
        traits, dtype = traits_of(point.params), self.head.weight.dtype
        gradient = stacked(point.grad).to(dtype).clamp(-LARGEST, LARGEST)
        theta, memory = stacked(point.params), self._remember(memory, gradient, point.loss.to(dtype))
        steps = memory.steps.item()
        corrections = gradient.new_tensor([1.0 - decay**steps for decay in DECAYS])[:, None]
        momenta = torch.cat([gradient[:, None], memory.momenta / corrections], 1)  # (E, 3, P)
        second = memory.second / (1.0 - SQUARE**steps) + TINY
        inverse = _inverse_root(second)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.through_statistics):
            seen = self._seen(traits, momenta * inverse[:, None], theta.to(dtype), memory)
        mixture = self._coefficients(seen)
        per_tensor = mixture[..., 3:] * _inverse_root(means(second, traits.sizes))[..., None]
        weights = torch.stack([mixture[..., :3], per_tensor], 2)  # (E, K, 2, 3)
        parts = zip(weights.unbind(1), torch.split(momenta, traits.sizes, 2), strict=True)
        own, shared = torch.cat([torch.bmm(weight, part) for weight, part in parts], 2).unbind(1)
        moved = theta - (own * inverse + shared).to(theta.dtype)
        return unstacked(moved, point.params), memory

    def _remember(self, memory: MixtureMemory, gradient: Tensor, loss: Tensor) -> MixtureMemory:
        """Return the memory that holds this gradient (E, P) and loss (E,) too."""
        decays = gradient.new_tensor(DECAYS)[:, None]
        if not self.through_statistics:
            loss = loss.detach()
        before = memory.losses
        # A hidden target's loss is 0, and says nothing; nor does one that is not finite.
        shown, none_yet = ((loss != 0) & loss.isfinite())[:, None], (before[:, 2:] == 0)
        kept = loss.new_tensor([FAST, SLOW, 1.0])
        later = kept * before + (1.0 - kept) * loss[:, None]
        losses = torch.where(shown, torch.where(none_yet, loss[:, None], later), before)
        return MixtureMemory(
            decays * memory.momenta + (1.0 - decays) * gradient[:, None],
            SQUARE * memory.second + (1.0 - SQUARE) * gradient.square(),
            losses,
            memory.steps + 1,
            memory.horizon,
        )

    def _seen(self, traits: Traits, own: Tensor, theta: Tensor, memory: MixtureMemory) -> Tensor:
        """Return what the network sees of each tensor, (E, K, SEEN).

        Args:
            traits: What is known of the tensors.
            own: Gradient and momenta in units of their own root mean square, (E, 3, P).
            theta: Parameters, (E, P).
            memory: Memory that holds this step.
        """
        products = torch.stack([*own.square().unbind(1), own[:, 0] * own[:, 2], theta.square()], 1)
        power, agreement, size = torch.split(means(products, traits.sizes), [3, 1, 1], 1)
        noise = power[:, 1:].clamp(min=1e-5).log() / 4.0 + 0.5
        cosine = agreement[:, 0] / (power[:, 0] * power[:, 2]).clamp(min=1e-12).sqrt()
        fast, slow, first = memory.losses.unbind(1)
        course = torch.stack([_log_ratio(fast, first) / 2.0 + 0.4, 3.0 * _log_ratio(fast, slow)], 1)
        clock = own.new_tensor(self._clock(memory.steps.item(), memory.horizon.item()))
        every = torch.cat([noise[:, 1].mean(1, keepdim=True), course, clock.expand(len(own), -1)], 1)
        each = torch.stack([*noise.unbind(1), cosine, (size[:, 0] + 1e-8).sqrt().log() / 4.0 + 0.5], 2)
        known = traits.known.to(own).expand(len(own), -1, -1)
        together = every[:, None].expand(-1, len(traits.sizes), -1)
        return torch.cat([known, each, together], 2).clamp(-BOUND, BOUND)

    def _clock(self, step: float, horizon: float) -> list[float]:
        """Return what the network sees of the time at a step, counted from 1."""
        told = horizon > 0 and not self.blind
        done = min(1.0, (step - 1) / horizon) if told else 0.0
        return [
            math.tanh(step / 10),
            math.tanh(step / 30) - 0.5,
            math.tanh(step / 100) - 0.3,
            math.tanh(step / 300),
            math.log(step) / 4 - 0.7,
            done,
            math.log(horizon / 100) / 3 if told else 0.0,
            math.log(1.03 - done) / 3,
        ]

    def _coefficients(self, seen: Tensor) -> Tensor:
        """Return the coefficients of the six directions of each tensor, (E, K, 6)."""
        inner = seen
        for layer in self.layers:
            inner = layer(inner).tanh()
        answer = self.head(inner)
        if self.skip is not None:
            answer = answer + self.skip(seen)
        rate = self.start * (3.0 * answer[..., :1]).clamp(*RATES).exp()
        base, mask = (answer.new_tensor(row) for row in _MIXED[self.directions])
        mixed: Tensor = rate * mask * (base + answer[..., 1:])
        return mixed


_REMAINING = SEEN - 1
"""Place of the logarithm of what is left among what the network sees."""

_MIXED: dict[str, tuple[list[float], list[float]]] = {
    "all": ([0, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]),
    "own": ([0, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]),
    "tensor": ([0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 1]),
    "adam": ([0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]),
}
"""Coefficients to which the network's are added, and the mask of those that count, by ``directions``."""


def _inverse_root(value: Tensor) -> Tensor:
    """Return 1 / √value.  In two steps: the derivative of ``rsqrt`` takes value^(−3/2), which is no float32 at TINY."""
    return value.sqrt().reciprocal()


def _log_ratio(one: Tensor, other: Tensor) -> Tensor:
    """Return log(one / other) within the bounds of what may be seen; 0 where there is nothing yet to divide by."""
    nothing = other == 0
    ratio = torch.where(nothing, 1.0, one / torch.where(nothing, 1.0, other))
    return ratio.clamp(1e-6, 1e6).log()
