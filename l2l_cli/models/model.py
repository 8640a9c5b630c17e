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
from l2l_cli.autodiff.layer_traces import observe
from l2l_cli.autodiff.linearize import Linearization, NetworkFunction
from l2l_cli.core.random import normal, uniform
from l2l_cli.core.types import Params

Initializer = Callable[[str, tuple[int, ...], Generator], Tensor]
"""(name, shape, rng) -> initial values of one parameter, of that shape."""

ParameterType = Literal["conv_weight", "conv_bias", "dense_weight", "dense_bias", "norm_scale", "norm_offset"]
"""The types of parameters: a convolution's, a normalisation's, and those of all other modules."""


class Trace(NamedTuple):
    """Outputs (E, N, ...), the inputs of each module with parameters, and the zeros added to its outputs."""

    outputs: Tensor
    inputs: Params
    shifts: Params


class Model:
    """A module as a function of its parameters.  This is the only place of the project that uses ``vmap``.

    Args:
        module: The network, whose own parameters serve only as a template of names, shapes and dtypes.
        initializer: Function that draws θ_0, one parameter at a time.
        in_turn: Whether one episode is computed after another.  "cpu" does so on a CPU only, where the activations of a
            large network are then still in the cache when they are needed; True does so everywhere, for networks each
            of which fills a GPU, or that ``vmap`` refuses.
        recompute: Whether only the inputs of each of the network's ``segments`` are kept, and the rest is computed
            again for gradients and Jacobian products: less memory, and at most one forward pass more for each.
            ``torch.func.vjp`` refuses such a network.
    """

    def __init__(
        self,
        module: nn.Module,
        initializer: Initializer,
        in_turn: bool | Literal["cpu"] = False,
        recompute: bool = False,
    ) -> None:
        self._module = module.requires_grad_(False)
        self.initializer, self.in_turn, self.recompute = initializer, in_turn, recompute
        parts = segments(module)
        self._one = Chain(parts, _function_of, recompute)
        self._side_by_side = Chain(parts, lambda part: vmap(_function_of(part)), recompute)
        self._observe = vmap(lambda params, inputs, shifts: observe(module, params, inputs, shifts))
        self._layer_shapes: dict[torch.Size, dict[str, torch.Size]] = {}  # outputs', by the inputs' shape

    @property
    def module(self) -> nn.Module:
        """The network itself, by which kernels recognise it; its parameters mean nothing."""
        return self._module

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter of one model, by name."""
        return {name: tuple(value.shape) for name, value in self._module.named_parameters()}

    @cached_property
    def parameter_types(self) -> dict[str, ParameterType]:
        """The type of each parameter, by name; a normalisation's parameters are called scale and offset."""
        return {
            f"{path}.{name}" if path else name: _parameter_type(module, name)
            for path, module in self._module.named_modules()
            for name, _ in module.named_parameters(recurse=False)
        }

    @property
    def size(self) -> int:
        """The number of parameters of one model."""
        return sum(value.numel() for value in self._module.parameters())

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Return about how many multiplications a forward pass takes for one example of a shape, for the time left."""
        counted = 0

        def count(module: nn.Module, _: object, output: object) -> None:
            nonlocal counted
            positions = output.shape[2:].numel() if isinstance(output, Tensor) and isinstance(module, nn.Conv2d) else 1
            counted += positions * sum(value.numel() for value in module.parameters(recurse=False))

        modules = [module for module in self._module.modules() if any(True for _ in module.parameters(recurse=False))]
        hooks = [module.register_forward_hook(count) for module in modules]
        try:
            self._module(torch.zeros(2, *inputs, device="cpu"))  # two, for networks that normalise by the batch
        finally:
            for hook in hooks:
                hook.remove()
        return counted

    def init(self, episodes: int, rng: Generator) -> Params:
        """Draw θ_0 for each of E episodes; tensors are (E, ...)."""
        return {name: self.initializer(name, (episodes, *shape), rng) for name, shape in self.shapes.items()}

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Return the outputs (E, N, ...) for inputs (E, N, ...) and parameters (E, ...)."""
        if self._goes_in_turn(inputs):
            return torch.stack([self._one(*pair) for pair in zip(_each(params), inputs, strict=True)])
        return self._side_by_side(params, inputs)

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the linearization at these parameters, detached from all graphs."""
        constants = {name: value.detach() for name, value in params.items()}
        if self._goes_in_turn(inputs):
            return side_by_side([self._one.linearize(*pair) for pair in zip(_each(constants), inputs, strict=True)])
        return self._side_by_side.linearize(constants, inputs)

    def trace(self, params: Params, inputs: Tensor) -> Trace:
        """Return the outputs as a call does, with the inputs of each layer.

        Raises:
            UsageError: A module with parameters is called twice in a pass.
        """
        if inputs.shape[1:] not in self._layer_shapes:
            with torch.no_grad():
                layers = observe(self._module, _of(params, 0), inputs[0], {}).layer_outputs
            self._layer_shapes[inputs.shape[1:]] = {name: value.shape for name, value in layers.items()}
        shapes = self._layer_shapes[inputs.shape[1:]]
        shifts = {name: inputs.new_zeros(len(inputs), *shape).requires_grad_() for name, shape in shapes.items()}
        if not self._goes_in_turn(inputs):
            outputs, layer_inputs, _ = self._observe(params, inputs, shifts)
            return Trace(outputs, layer_inputs, shifts)
        each = [observe(self._module, _of(params, e), inputs[e], _of(shifts, e)) for e in range(len(inputs))]
        layer_inputs = {name: torch.stack([one.layer_inputs[name] for one in each]) for name in shapes}
        return Trace(torch.stack([one.outputs for one in each]), layer_inputs, shifts)

    def _goes_in_turn(self, inputs: Tensor) -> bool:
        return self.in_turn is True or self.in_turn == inputs.device.type


def _parameter_type(module: nn.Module, name: str) -> ParameterType:
    if name in ("scale", "offset"):
        return "norm_scale" if name == "scale" else "norm_offset"
    if isinstance(module, nn.Conv2d):
        return "conv_bias" if name == "bias" else "conv_weight"
    return "dense_bias" if name.endswith("bias") else "dense_weight"


def _function_of(module: nn.Module) -> NetworkFunction:
    """Return a module as a function of its parameters and inputs."""
    return lambda params, inputs: functional_call(module, params, (inputs,))


def _each(params: Params) -> Iterator[Params]:
    """Yield the parameters of one episode after another."""
    for values in zip(*(value.unbind() for value in params.values()), strict=True):
        yield dict(zip(params, values, strict=True))


def _of(params: Params, episode: int) -> Params:
    """Return the parameters of one episode."""
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
