"""The inputs of a tensorwise mixture's network: statistics of each tensor, the course of the loss, and the clock."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from l2l_cli.kernels.mixture_network import LEAST_POWER, LEAST_PRODUCT, LEAST_SIZE, RATIOS
from l2l_cli.optimizers.tensor_traits import Traits, means

FAST, SLOW = 0.8, 0.95
"""Decays of two means of the loss, whose ratio shows its slope."""

SEEN = 20
"""Number of inputs for each tensor."""

REMAINING = SEEN - 1
"""Index among these inputs of the logarithm of the share of the episode that remains."""

BOUND = 4.0
"""Bound to which the inputs are clipped, so that the network sees none far outside of those that it was trained on."""


def losses_after(before: Tensor, loss: Tensor) -> Tensor:
    """Return the means of the loss, (E, 3), updated with the loss of this step, (E,)."""
    # A loss of 0, as for hidden targets, says nothing, and neither does one that is not finite.
    shown, none_yet = ((loss != 0) & loss.isfinite())[:, None], (before[:, 2:] == 0)
    kept = loss.new_tensor([FAST, SLOW, 1.0])
    later = kept * before + (1.0 - kept) * loss[:, None]
    return torch.where(shown, torch.where(none_yet, loss[:, None], later), before)


def statistics_of(traits: Traits, own: Tensor, theta: Tensor) -> Tensor:
    """Return the mean squares of gradient and momenta, their agreement, and the mean square of θ, (E, 5, K).

    Args:
        traits: Traits of the tensors.
        own: Gradient and momenta in units of their own root mean square, (E, 3, P).
        theta: Parameters, (E, P).
    """
    products = torch.stack([*own.square().unbind(1), own[:, 0] * own[:, 2], theta.square()], 1)
    return means(products, traits.sizes)


def sight(traits: Traits, statistics: Tensor, losses: Tensor, clock: list[float]) -> Tensor:
    """Return the network's inputs for each tensor, (E, K, SEEN).

    Args:
        traits: Traits of the tensors.
        statistics: Statistics, as ``statistics_of`` returns them, (E, 5, K).
        losses: Means of the loss, as ``losses_after`` returns them, (E, 3).
        clock: Inputs for the time, as ``clock`` returns them.
    """
    power, agreement, size = torch.split(statistics, [3, 1, 1], 1)
    noise = power[:, 1:].clamp(min=LEAST_POWER).log() / 4.0 + 0.5
    cosine = agreement[:, 0] / (power[:, 0] * power[:, 2]).clamp(min=LEAST_PRODUCT).sqrt()
    fast, slow, first = losses.unbind(1)
    course = torch.stack([_log_ratio(fast, first) / 2.0 + 0.4, 3.0 * _log_ratio(fast, slow)], 1)
    every = torch.cat(
        [noise[:, 1].mean(1, keepdim=True), course, statistics.new_tensor(clock).expand(len(statistics), -1)], 1
    )
    each = torch.stack([*noise.unbind(1), cosine, (size[:, 0] + LEAST_SIZE).sqrt().log() / 4.0 + 0.5], 2)
    known = traits.known.to(statistics).expand(len(statistics), -1, -1)
    together = every[:, None].expand(-1, len(traits.sizes), -1)
    return torch.cat([known, each, together], 2).clamp(-BOUND, BOUND)


def clock(step: float, horizon: float) -> list[float]:
    """Return the network's inputs for the time, at a step counted from 1; a horizon of 0 is an unknown one."""
    told = horizon > 0
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


def _log_ratio(one: Tensor, other: Tensor) -> Tensor:
    """Return log(one / other), with the ratio clipped to [10⁻⁶, 10⁶]; 0 where there is nothing yet to divide by."""
    nothing = other == 0
    ratio = torch.where(nothing, 1.0, one / torch.where(nothing, 1.0, other))
    return ratio.clamp(*RATIOS).log()
