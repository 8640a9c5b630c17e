"""A learned schedule and a learned mixture of hand-made directions, for each parameter tensor.

Names: c → ``_coefficients``; m̂ → momenta; v̂ → second moments; r → the root of a tensor's mean v̂.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.kernels.mixture_network import DIRECTIONS, TensorInputs, TensorNetwork
from l2l_cli.kernels.mixture_passes import After, Decays, MixturePasses
from l2l_cli.kernels.paths import EVERY_PATH, Paths
from l2l_cli.kernels.tensor_parts import Coordinates
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.tensor_sight import (
    BOUND,
    FAST,
    REMAINING,
    SEEN,
    SLOW,
    clock,
    losses_after,
    sight,
    statistics_of,
)
from l2l_cli.optimizers.tensor_traits import Traits, means, traits_of, traits_of_shapes

Directions = Literal["all", "own", "tensor", "adam"]

DECAYS, SQUARE = (0.9, 0.98), 0.98
"""Decays of the two momenta, and of the second moments."""

START = 0.03
"""Learning rate of the rule before meta-training, when it is close to Adam."""

LARGEST = 1e15
"""Bound to which gradients are clipped: sums of squares of larger ones overflow float32."""

TINY = 1e-30
"""Number that is added to second moments, so that their root has a derivative at 0."""

RATES = (-12.0, 6.0)
"""Smallest and largest logarithm of the learned factor on the rate."""


class MixtureMemory(NamedTuple):
    """What the rule remembers: three numbers for each coordinate, and a few for the whole network.

    Attributes:
        momenta: Decayed means of gradients, (E, 2, P).
        second: Decayed mean of their squares, (E, P).
        losses: A fast and a slow mean of the loss, and the first loss, (E, 3); 0 before there is any.
        steps: Steps so far, ().
        horizon: Number of steps of the episode, (); 0 if it is not given.
    """

    momenta: Tensor
    second: Tensor
    losses: Tensor
    steps: Tensor
    horizon: Tensor


class TensorwiseMixture(Optimizer[MixtureMemory]):
    """θ ← θ − Σ c · d over six directions d, with coefficients c that a small network infers for each tensor.

    The directions are the gradient and two momenta, each in units of the coordinate's own root mean square √v̂, as in
    Adam, and in units of its tensor's, r, as in normalised gradient descent.  The network never sees a coordinate.  Its
    inputs are the tensor's traits (vector or matrix, first or last layer, fan-in, number of layers), statistics of the
    tensor (signal-to-noise ratio of the momenta, agreement of gradient and momentum, size of θ), the course of the
    loss, and the clock.  So a coordinate costs some forty operations, and the rule is insensitive to the scale of the
    loss.

    Source: the rule is ours.  Wang et al. 2019 (HyperAdam) mix Adam-like directions by a learned network for each
    coordinate, and Metz et al. 2022 (VeLO) let a network for each tensor control what happens to its coordinates.

    Args:
        hidden: Units of each of the network's two layers.
        blind: Whether the number of steps of an episode is hidden from the rule.  If not, and with ``skip``, its rate
            before meta-training falls towards zero as the square root of the share of the steps that remain.
        directions: Directions that are mixed: "all" six; "own", the three in units of each coordinate's root mean
            square; "tensor", the three in units of the tensor's; or "adam", only the faster momentum in units of each
            coordinate's.
        skip: Whether the network has a linear skip connection past its layers.
        through_statistics: Whether meta-gradients flow through the network's inputs.  If not, these count as constants,
            and the meta-gradient differs from finite differences.
        initial_seed: Seed of the initial weights.
        paths: Paths that steps without derivatives may take.

    Raises:
        ValueError: An argument is out of range.
    """

    takes_gradients: ClassVar[bool] = True

    def __init__(
        self,
        hidden: int = 16,
        blind: bool = False,
        directions: Directions = "all",
        skip: bool = True,
        through_statistics: bool = False,
        initial_seed: int = 0,
        *,
        paths: Paths = EVERY_PATH,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {hidden}")
        if directions not in get_args(Directions):
            raise ValueError(f"directions must be one of {', '.join(get_args(Directions))}, not {directions!r}")
        self.blind, self.directions = blind, directions
        self.through_statistics = through_statistics
        self._compiled, self._passes = paths.compiled, MixturePasses()
        self.layers = nn.ModuleList([nn.Linear(SEEN, hidden), nn.Linear(hidden, hidden)])
        self.head = nn.Linear(hidden, 1 + DIRECTIONS)
        self.skip = nn.Linear(SEEN, 1 + DIRECTIONS, bias=False) if skip else None
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
                self.skip.weight[0, REMAINING] = 0.5

    @property
    def is_told(self) -> bool:
        """Whether the rule plans for the end of an episode."""
        return not self.blind

    def init(self, params: Params) -> MixtureMemory:
        """Start from zero moments, without a horizon."""
        return self.begin(params, 0)

    def begin(self, params: Params, steps: int) -> MixtureMemory:
        """Start from zero moments, and note the horizon."""
        episodes, like = len(next(iter(params.values()))), self.head.weight
        size = sum(value[0].numel() for value in params.values())
        # float64 on the CPU: counts are exact, and reading them does not wait for a GPU.
        zero = torch.zeros((), dtype=torch.float64, device="cpu")
        momenta, second = like.new_zeros(episodes, 2, size), like.new_zeros(episodes, size)
        return MixtureMemory(momenta, second, like.new_zeros(episodes, 3), zero, zero + steps)

    def step(self, point: Point, memory: MixtureMemory) -> tuple[Params, MixtureMemory]:
        """Move along the mixture of each tensor."""
        traits, dtype = traits_of(point.params), self.head.weight.dtype
        if self._takes_kernels(next(iter(point.params.values()))):
            return self._step_compiled(point, memory)
        gradient = stacked(point.grad).to(dtype).clamp(-LARGEST, LARGEST)
        theta, memory = stacked(point.params), self._remember(memory, gradient, point.loss.to(dtype))
        steps = memory.steps.item()
        corrections = gradient.new_tensor([1.0 - decay**steps for decay in DECAYS])[:, None]
        momenta = torch.cat([gradient[:, None], memory.momenta / corrections], 1)  # (E, 3, P)
        second = memory.second / (1.0 - SQUARE**steps) + TINY
        inverse = _inverse_root(second)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.through_statistics):
            seen = self._seen(traits, statistics_of(traits, momenta * inverse[:, None], theta.to(dtype)), memory)
        mixture = self._coefficients(seen)
        per_tensor = mixture[..., 3:] * _inverse_root(means(second, traits.sizes))[..., None]
        weights = torch.stack([mixture[..., :3], per_tensor], 2)  # (E, K, 2, 3)
        parts = zip(weights.unbind(1), torch.split(momenta, traits.sizes, 2), strict=True)
        own, shared = torch.cat([torch.bmm(weight, part) for weight, part in parts], 2).unbind(1)
        moved = theta - (own * inverse + shared).to(theta.dtype)
        return unstacked(moved, point.params), memory

    def _takes_kernels(self, value: Tensor) -> bool:
        """Whether the kernels can make a step: on a CPU, without derivatives, for parameters of φ's type."""
        known = value.device.type == "cpu" and value.dtype == self.head.weight.dtype
        return self._compiled and known and not torch.is_grad_enabled()

    def _step_compiled(self, point: Point, memory: MixtureMemory) -> tuple[Params, MixtureMemory]:
        """Do what ``step`` does in two passes over the coordinates."""
        traits = traits_of(point.params)
        gradient, theta = (_side_by_side(values).detach().contiguous() for values in (point.grad, point.params))
        after, weights, numbers, memory = self._first_pass(traits, gradient, theta, point.loss, memory)
        moved = self._passes.move(traits.sizes, gradient, theta, after, weights, numbers)
        return unstacked(moved, point.params), memory

    def step_in_place(
        self,
        params: Sequence[Tensor],
        gradient: Sequence[Tensor],
        loss: Callable[[], Tensor],
        memory: MixtureMemory,
        rate: float,
    ) -> MixtureMemory | None:
        """Move the parameters of one network in place, by ``rate`` times the displacement; see ``Optimizer``."""
        tensors = [*params, *gradient]
        if not all(value.is_contiguous() and value.numel() for value in tensors):
            return None
        kinds = {(value.dtype, value.device.type) for value in tensors}
        if len(kinds) > 1 or not self._takes_kernels(tensors[0]):
            return None
        traits = traits_of_shapes(tuple(tuple(value.shape) for value in params))
        after, weights, numbers, memory = self._first_pass(traits, gradient, params, loss(), memory, in_place=True)
        self._passes.move_in_place(after, rate * weights, numbers)
        return memory

    def _first_pass(
        self,
        traits: Traits,
        gradient: Coordinates,
        theta: Coordinates,
        loss: Tensor,
        memory: MixtureMemory,
        in_place: bool = False,
    ) -> tuple[After, Tensor, Decays, MixtureMemory]:
        """Return the moments, the coefficients of the move, the numbers of this step, and the memory after it."""
        steps = memory.steps.item() + 1
        corrections = [1.0 / (1.0 - decay**steps) for decay in (*DECAYS, SQUARE)]
        numbers = Decays(DECAYS, SQUARE, corrections, TINY, LARGEST)
        before = memory.momenta, memory.second
        after = self._passes.remember(traits.sizes, gradient, theta, *before, numbers, in_place=in_place)
        times = clock(steps, 0.0 if self.blind else memory.horizon.item())
        layers = [value for layer in (*self.layers, self.head) for value in (layer.weight, layer.bias)]
        path = [] if self.skip is None else [self.skip.weight]
        mixed = _MIXED[self.directions]
        network = TensorNetwork([*layers, *path], self.head.in_features, START, RATES, (FAST, SLOW), mixed)
        means_of_loss, shown = memory.losses.to(torch.float64, copy=True).numpy(), loss.detach().double().numpy()
        seen = TensorInputs(traits.known.numpy(), after.means, means_of_loss, shown, np.array(times))
        weights, losses = network.coefficients(seen, BOUND), torch.from_numpy(means_of_loss).to(memory.losses.dtype)
        memory = MixtureMemory(after.momenta, after.second, losses, memory.steps + 1, memory.horizon)
        return after, torch.from_numpy(weights).to(memory.second.dtype), numbers, memory

    def _remember(self, memory: MixtureMemory, gradient: Tensor, loss: Tensor) -> MixtureMemory:
        """Return the memory updated with this gradient (E, P) and loss (E,)."""
        decays = gradient.new_tensor(DECAYS)[:, None]
        return MixtureMemory(
            decays * memory.momenta + (1.0 - decays) * gradient[:, None],
            SQUARE * memory.second + (1.0 - SQUARE) * gradient.square(),
            losses_after(memory.losses, loss if self.through_statistics else loss.detach()),
            memory.steps + 1,
            memory.horizon,
        )

    def _seen(self, traits: Traits, statistics: Tensor, memory: MixtureMemory) -> Tensor:
        """Return the network's inputs for each tensor, (E, K, SEEN), given a memory that includes this step."""
        step, horizon = memory.steps.item(), 0.0 if self.blind else memory.horizon.item()
        return sight(traits, statistics, memory.losses, clock(step, horizon))

    def _coefficients(self, seen: Tensor) -> Tensor:
        """Return the coefficients of the six directions of each tensor, (E, K, 6)."""
        inner = seen
        for layer in self.layers:
            inner = layer(inner).tanh()
        answer = self.head(inner)
        if self.skip is not None:
            answer = answer + self.skip(seen)
        rate = START * (3.0 * answer[..., :1]).clamp(*RATES).exp()
        base, mask = (answer.new_tensor(row) for row in _MIXED[self.directions])
        mixed: Tensor = rate * mask * (base + answer[..., 1:])
        return mixed


_MIXED: dict[str, tuple[list[float], list[float]]] = {
    "all": ([0, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]),
    "own": ([0, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]),
    "tensor": ([0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 1]),
    "adam": ([0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]),
}
"""Coefficients to which the network's are added, and the mask of those that count, by ``directions``."""


def _side_by_side(params: Params) -> Tensor:
    """Return ``stacked(params)``, without a copy if there is only one tensor."""
    if len(params) > 1:
        return stacked(params)
    value = next(iter(params.values()))
    return value.reshape(len(value), -1)


def _inverse_root(value: Tensor) -> Tensor:
    """Return 1 / √value, in two steps: the derivative of ``rsqrt`` takes value^(−3/2), which overflows at TINY."""
    return value.sqrt().reciprocal()
