"""K-FAC: natural gradients with the curvature of each layer as a Kronecker product."""

from __future__ import annotations

from typing import NamedTuple, get_args

import torch
from torch import Tensor

from l2l_cli.autodiff.layer_traces import Fisher
from l2l_cli.core.random import generator
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import per_episode
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer, decayed, fraction, positive, zeros
from l2l_cli.optimizers.factors import Factors, averaged, blank, inverted, measure, times

EARLY = 3
"""Number of first batches that are always observed and inverted (Martens and Grosse 2015, algorithm 2)."""


class KFacMemory(NamedTuple):
    """Running means of the factors, their damped inverses as last computed, and the decayed sum of past steps.

    ``seen`` is the number of batches in each episode's means, ``evaluations`` that of extra backward passes, (E,) both;
    ``steps`` counts all steps, () on the CPU.
    """

    factors: Factors
    inverses: Factors
    velocity: Params
    seen: Tensor
    evaluations: Tensor
    steps: Tensor


class KFac(Optimizer[KFacMemory]):
    """v ← momentum · v + F⁻¹ · g;  θ ← θ − lr · v, with F = A ⊗ G for each layer and a diagonal for normalisations.

    F approximates the generalised Gauss–Newton matrix of the loss, which for cross-entropy of logits and for squared
    errors is the Fisher matrix.  A batch without any curvature, such as one whose targets are hidden, leaves F
    unchanged.  No meta-gradient flows through a step.

    F treats a convolution's gradients at different positions as uncorrelated.  In a network without normalisation they
    are correlated: on CIFAR-10 the true curvature along the step was 30 to 200 times F's, so that with a fixed damping
    alone most learning rates diverge, which ``norm`` prevents.

    Source: Martens and Grosse 2015, algorithm 2 with block-diagonal F; Grosse and Martens 2016 for convolutions.
    Defaults are those of Chen and Lu 2018 (their code: rate, damping, decay) and of the library that they used
    (TensorFlow's, 2018: momentum 0.9, no bound on the norm, and one random vector per example).

    Deviation: rate, damping and momentum are fixed, as in that library, while Martens and Grosse adapt them (§6.4,
    §6.5, §7).  F is estimated with random signs times a root of the curvature, not with sampled targets; its
    expectation is the same.

    Args:
        lr: Learning rate.
        damping: Damping λ, added to F by factored Tikhonov damping.
        decay: Decay of the factors' running means; at the t-th batch at most 1 − 1/t, so that they begin as plain
            means.
        momentum: Decay of the velocity.
        observe: Number of steps between batches whose curvature enters the means; 1 takes every batch.
        every: Number of steps between inversions of the factors; until three batches have been observed, both are done
            at every step.
        norm: Largest lr²·gᵀF⁻¹g of a step; longer steps are shortened to it, and null sets no bound (Ba, Grosse and
            Martens 2017, §5).
        fisher: Curvature that is estimated: "sampled" takes one random vector per example and one backward pass,
            "exact" one for each output, "empirical" the gradient at the targets.  "sampled" is the default, since it is
            the cheapest curvature, and the running means smooth its noise.
    """

    work = 2.5

    def __init__(
        self,
        lr: float = 0.1,
        damping: float = 1e-3,
        decay: float = 0.9,
        momentum: float = 0.9,
        observe: int = 1,
        every: int = 1,
        norm: float | None = None,
        fisher: Fisher = "sampled",
    ) -> None:
        super().__init__()
        positive(lr=lr, damping=damping, observe=observe, every=every, **({} if norm is None else {"norm": norm}))
        fraction(decay=decay, momentum=momentum)
        if fisher not in get_args(Fisher):
            raise ValueError(f"fisher must be one of {', '.join(get_args(Fisher))}, not {fisher!r}")
        self.lr, self.damping, self.decay, self.momentum = lr, damping, decay, momentum
        self.observe, self.every, self.norm, self.fisher = observe, every, norm, fisher

    def init(self, params: Params) -> KFacMemory:
        """Start from zero factors, at rest."""
        value = next(iter(params.values()))
        none = value.new_zeros(len(value))
        steps = torch.zeros((), dtype=torch.float64, device="cpu")  # reading it does not wait for a GPU
        return KFacMemory(blank(params), blank(params), zeros(params), none, none.clone(), steps)

    @torch.no_grad()
    def step(self, point: Point, memory: KFacMemory) -> tuple[Params, KFacMemory]:
        """Update the means and inverses if they are due, then move."""
        steps = int(memory.steps)
        observed, every = (steps % interval == 0 for interval in (self.observe, self.every))
        # Reading ``seen`` waits for the device, so it is read only where something depends on it.
        early = steps < EARLY or (not (observed and every) and bool((memory.seen < EARLY).any()))
        if early or observed:
            memory = self._observed(point, memory, steps)
        if early or every:
            memory = memory._replace(inverses=inverted(memory.factors, self.damping))
        natural = self._bounded(times(memory.inverses, point.grad), point.grad)
        velocity = decayed(memory.velocity, natural, self.momentum, 1.0)
        params = {name: value - self.lr * velocity[name] for name, value in point.params.items()}
        return params, memory._replace(velocity=velocity, steps=memory.steps + 1)

    def _observed(self, point: Point, memory: KFacMemory, steps: int) -> KFacMemory:
        """Return the memory with the batch's curvature in the means of the episodes where it has any."""
        layers = point.layers(generator(steps, "kfac"), self.fisher)
        fresh = measure(layers, point.params, point.unreached)
        curved = torch.stack([value.flatten(1).any(1) for value in (fresh.outputs | fresh.diagonal).values()]).any(0)
        seen = memory.seen + curved
        share = (1.0 / seen.clamp(min=1.0)).clamp(min=1.0 - self.decay) * curved
        evaluations = memory.evaluations + len(next(iter(layers.values())).gradients)
        return memory._replace(factors=averaged(memory.factors, fresh, share), seen=seen, evaluations=evaluations)

    def extra_evaluations(self, memory: KFacMemory) -> Tensor:
        """Return the number of backward passes for the curvature, (E,)."""
        return memory.evaluations

    def _bounded(self, natural: Params, grad: Params) -> Params:
        """Shorten each episode's natural gradient to the largest norm of a step."""
        if self.norm is None:
            return natural
        square = torch.stack([(natural[name] * value).flatten(1).sum(1) for name, value in grad.items()]).sum(0)
        factor = (self.norm / (self.lr**2 * square.clamp(min=torch.finfo(square.dtype).tiny))).sqrt().clamp(max=1.0)
        return {name: per_episode(factor, value) * value for name, value in natural.items()}
