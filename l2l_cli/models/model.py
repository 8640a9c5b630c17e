"""A network as a function of its parameters, for E sets of parameters side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap

from l2l_cli.autodiff.chain import Chain, segments, side_by_side
from l2l_cli.autodiff.layer_traces import watch
from l2l_cli.autodiff.linearize import Answer, Linearization
from l2l_cli.core.random import normal, uniform
from l2l_cli.core.types import Params

Initializer = Callable[[str, tuple[int, ...], Generator], Tensor]
"""Draws one parameter: (name, shape, rng) -> tensor of that shape."""


Kind = Literal["conv_weight", "conv_bias", "dense_weight", "dense_bias", "norm_scale", "norm_offset"]
"""Of a parameter: of a convolution, of a normalisation, or of anything else."""


class Trace(NamedTuple):
    """Answers (E, N, ...), what each module with parameters was given, and the zeros added to what it returned."""

    outputs: Tensor
    inputs: Params
    shifts: Params


class Model:
    """A module whose parameters are an argument.  The only place of the project that uses ``vmap``.

    Args:
        module: The network; its own parameters serve as a template of names, shapes and dtypes alone.
        initializer: Draws θ_0, one parameter at a time.
        in_turn: Compute one episode after another.  "cpu": on a CPU alone, where what a large network passes from
            layer to layer is then still in the cache when it is needed; True: everywhere, for networks that fill a
            GPU one by one, or that ``vmap`` refuses.
        recompute: Keep of a network what enters each of its ``segments``, and compute the rest again for gradients and
            Jacobian products: less memory, at most one forward pass more for each.  ``torch.func.vjp`` refuses then.
    """

    def __init__(
        self,
        module: nn.Module,
        initializer: Initializer,
        in_turn: bool | Literal["cpu"] = False,
        recompute: bool = False,
    ) -> None:
        self._module = module.requires_grad_(False)
        self.initializer = initializer
        self.in_turn = in_turn
        self.recompute = recompute
        parts = segments(module)
        self._one = Chain(parts, _called, recompute)
        self._side_by_side = Chain(parts, lambda part: vmap(_called(part)), recompute)
        self._watched = vmap(lambda params, inputs, shifts: watch(module, params, inputs, shifts))
        self._returned: dict[torch.Size, dict[str, torch.Size]] = {}  # shapes, by the inputs' shape

    @property
    def module(self) -> nn.Module:
        """The network itself, for kernels that ask whether they know it; its parameters mean nothing."""
        return self._module

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter of one model, by name."""
        return {name: tuple(value.shape) for name, value in self._module.named_parameters()}

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each parameter, by name; a normalisation's own are called scale and offset."""
        return {
            f"{path}.{name}" if path else name: _kind(module, name)
            for path, module in self._module.named_modules()
            for name, _ in module.named_parameters(recurse=False)
        }

    @property
    def size(self) -> int:
        """The number of parameters of one model."""
        return sum(value.numel() for value in self._module.parameters())

    def init(self, episodes: int, rng: Generator) -> Params:
        """Draw θ_0 for each of E episodes; tensors are (E, ...)."""
        return {name: self.initializer(name, (episodes, *shape), rng) for name, shape in self.shapes.items()}

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Answer inputs (E, N, ...) with parameters (E, ...); outputs are (E, N, ...)."""
        if self._goes_in_turn(inputs):
            return torch.stack([self._one(*pair) for pair in zip(_each(params), inputs, strict=True)])
        return self._side_by_side(params, inputs)

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Answer, and keep what products with the Jacobian at these parameters need; detached from all graphs."""
        at = {name: value.detach() for name, value in params.items()}
        if self._goes_in_turn(inputs):
            return side_by_side([self._one.linearize(*pair) for pair in zip(_each(at), inputs, strict=True)])
        return self._side_by_side.linearize(at, inputs)

    def trace(self, params: Params, inputs: Tensor) -> Trace:
        """Answer as a call does, and look into the pass; see ``watch`` for what is seen and what is refused."""
        if inputs.shape[1:] not in self._returned:
            with torch.no_grad():
                seen = watch(self._module, _of(params, 0), inputs[0], {})
            self._returned[inputs.shape[1:]] = {name: value.shape for name, value in seen.returned.items()}
        shapes = self._returned[inputs.shape[1:]]
        shifts = {name: inputs.new_zeros(len(inputs), *shape).requires_grad_() for name, shape in shapes.items()}
        if not self._goes_in_turn(inputs):
            outputs, given, _ = self._watched(params, inputs, shifts)
            return Trace(outputs, given, shifts)
        each = [watch(self._module, _of(params, e), inputs[e], _of(shifts, e)) for e in range(len(inputs))]
        given = {name: torch.stack([seen.given[name] for seen in each]) for name in shapes}
        return Trace(torch.stack([seen.outputs for seen in each]), given, shifts)

    def _goes_in_turn(self, inputs: Tensor) -> bool:
        return self.in_turn is True or self.in_turn == inputs.device.type


def _kind(module: nn.Module, name: str) -> Kind:
    if name in ("scale", "offset"):
        return "norm_scale" if name == "scale" else "norm_offset"
    if isinstance(module, nn.Conv2d):
        return "conv_bias" if name == "bias" else "conv_weight"
    return "dense_bias" if name.endswith("bias") else "dense_weight"


def _called(module: nn.Module) -> Answer:
    """Return a module as a function of its parameters."""
    return lambda params, inputs: functional_call(module, params, (inputs,))


def _each(params: Params) -> Iterator[Params]:
    """Return each episode's own parameters in turn."""
    for values in zip(*(value.unbind() for value in params.values()), strict=True):
        yield dict(zip(params, values, strict=True))


def _of(params: Params, episode: int) -> Params:
    """Return one episode's own parameters."""
    return {name: value[episode] for name, value in params.items()}


def gaussian(sigma: float) -> Initializer:
    """Return an initializer that draws every parameter from N(0, σ²).

    Raises:
        ValueError: σ is negative.
    """
    if sigma < 0:
        raise ValueError(f"start must not be negative, being a standard deviation, not {sigma}")

    def draw(name: str, shape: tuple[int, ...], rng: Generator) -> Tensor:
        del name
        return normal(shape, rng, sigma)

    return draw


def glorot(name: str, shape: tuple[int, ...], rng: Generator) -> Tensor:
    """Draw matrices (E, out, in) from U(±√(6 / (in + out))) and set biases (E, out) to zero.

    Source: Glorot and Bengio 2010, eq. 16.
    """
    del name
    if len(shape) < 3:
        return torch.zeros(shape)
    bound = math.sqrt(6.0 / (shape[1] + math.prod(shape[2:])))
    return uniform(shape, -bound, bound, rng)
