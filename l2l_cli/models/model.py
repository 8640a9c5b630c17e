"""A network as a function of its parameters, for E sets of parameters side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator
from functools import cached_property, partial
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.func import vmap

from l2l_cli.autodiff.chain import Chain, segments, side_by_side, trained
from l2l_cli.autodiff.layer_traces import observe
from l2l_cli.autodiff.linearize import Linearization
from l2l_cli.autodiff.pure import Habits, NetworkFunction, kept_draws, pure
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import normal, uniform
from l2l_cli.core.types import Params
from l2l_cli.models.fittable import check
from l2l_cli.models.manner import Calls, Manner, accepts, habits_of

Draw = Callable[[str, tuple[int, ...], Generator], Tensor]
"""(name, shape, rng) -> initial values of one parameter, of that shape."""

Initializer = Draw | Callable[[str, tuple[int, ...], Generator], Tensor | None]
"""(name, shape, rng) -> initial values of one parameter, of that shape; None stands for the module's own values."""

ParameterType = Literal["conv_weight", "conv_bias", "dense_weight", "dense_bias", "norm_scale", "norm_offset"]
"""The types of parameters: of convolutions, of normalisations, and of all other modules."""


class Trace(NamedTuple):
    """Outputs (E, N, ...), the inputs of each module with parameters, and the zeros added to its outputs."""

    outputs: Tensor
    inputs: Params
    shifts: Params


class Model:
    """A module as a function of its parameters.  This is the only place in the project that uses ``vmap``.

    Parameters that are frozen (``requires_grad=False``) when the module is given are not part of θ: they keep the
    module's values.  All others have one type, float32 or float64, to which inputs with a fractional part are cast.

    A call uses the module's mode at that time, training or evaluation.  It never changes the module: what ``forward``
    sets, such as a counter or a buffer, is forgotten when it returns.  So batch normalisation in training mode
    normalises by the current batch, and never collects running statistics; in evaluation mode it uses those that the
    module came with.  Random numbers that ``forward`` draws, such as dropout masks, come from torch's global generator,
    separately for each episode.

    Args:
        module: The network.  Parameters keep their names and shapes, and shared ones stay shared.
        initializer: Function that draws θ₀, one parameter at a time; where it returns None, every episode starts from
            the module's own values of that parameter.  Without an initializer this holds for all parameters: the
            network is fine-tuned.
        in_turn: Whether episodes are computed one after another.  "cpu" does so on a CPU only, where the activations of
            a large network are then still in the cache when they are needed; True does so everywhere, for networks that
            fill a GPU on their own.  Networks that ``vmap`` refuses, such as recurrent ones, are always computed so.
        recompute: Whether only the inputs of each of the network's ``segments`` are kept, and the rest is recomputed
            for gradients and Jacobian products: this saves memory, and takes at most one more forward pass for each.
            ``torch.func.vjp`` refuses such a network.

    Raises:
        UsageError: The network's parameters cannot be fitted; see ``check``.
    """

    def __init__(
        self,
        module: nn.Module,
        initializer: Initializer | None = None,
        in_turn: bool | Literal["cpu"] = False,
        recompute: bool = False,
    ) -> None:
        self._module, self._fitted = module, trained(module)
        check(module, self._fitted)
        self.initializer, self.in_turn, self.recompute = initializer, in_turn, recompute
        self._parts = segments(module)
        self._calls: dict[Habits, Calls] = {}
        # By shape and type of the inputs: how to call the network, and zeros shaped as its layers' outputs.
        self._manners: dict[tuple[torch.Size, torch.dtype], Manner] = {}
        self._layers: dict[tuple[torch.Size, torch.dtype], Params] = {}

    @property
    def module(self) -> nn.Module:
        """The network itself, by which kernels recognise it; of its parameters' values, only frozen ones are used."""
        return self._module

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter of one model, by name."""
        return {name: tuple(value.shape) for name, value in self._fitted.items()}

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters, and of the inputs unless these are whole numbers."""
        for value in self._fitted.values():
            return value.dtype
        return torch.get_default_dtype()

    @cached_property
    def parameter_types(self) -> dict[str, ParameterType]:
        """The type of each parameter, by name; a normalisation's parameters are called scale and offset."""
        return parameter_types_of(self._module, self._fitted)

    @property
    def size(self) -> int:
        """The number of parameters of one model."""
        return sum(value.numel() for value in self._fitted.values())

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Return roughly how many multiplications a forward pass on one example of a shape takes, to estimate times."""
        for dtype in (self.dtype, torch.long):
            try:
                return self._counted(inputs, dtype)
            except Exception:  # zeros may not be valid inputs, and an estimate must not end a run
                continue
        return sum(value.numel() for value in self._module.parameters())

    @torch.no_grad()
    def _counted(self, inputs: tuple[int, ...], dtype: torch.dtype) -> int:
        counted = 0

        def count(module: nn.Module, _: object, output: object) -> None:
            nonlocal counted
            positions = output.shape[2:].numel() if isinstance(output, Tensor) and isinstance(module, nn.Conv2d) else 1
            counted += positions * sum(value.numel() for value in module.parameters(recurse=False))

        modules = [module for module in self._module.modules() if any(True for _ in module.parameters(recurse=False))]
        hooks = [module.register_forward_hook(count) for module in modules]
        given = torch.zeros(2, *inputs, dtype=dtype, device="cpu")  # two, for networks that normalise by the batch
        try:
            with kept_draws(given.device):
                pure(self._module, Habits(remembers=True))({}, given)
        finally:
            for hook in hooks:
                hook.remove()
        return counted

    def init(self, episodes: int, rng: Generator) -> Params:
        """Draw θ₀ for each of E episodes; tensors are (E, ...).

        Raises:
            UsageError: There are no parameters to fit, or the initializer returns values of another shape.
        """
        if not self._fitted:
            raise UsageError(
                f"{type(self._module).__name__} has no parameters to fit: all are frozen, or there are none; leave "
                "requires_grad on for those that are to be fitted in an episode"
            )
        return {name: self._start(name, value.detach(), episodes, rng) for name, value in self._fitted.items()}

    def _start(self, name: str, own: Tensor, episodes: int, rng: Generator) -> Tensor:
        shape = (episodes, *own.shape)
        drawn = self.initializer(name, shape, rng) if self.initializer is not None else None
        if drawn is None:
            return own.expand(shape).clone()
        if drawn.shape != shape:
            raise UsageError(
                f"the initializer returns a tensor of shape {tuple(drawn.shape)} for {name}; it must be {shape}"
            )
        return drawn.to(own.dtype)

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Return the outputs (E, N, ...) for inputs (E, N, ...) and parameters (E, ...)."""
        params, inputs, manner = self._given(params, inputs)
        if manner.in_turn:
            each = zip(_each(params), inputs, strict=True)
            return torch.stack([manner.calls.one(*pair) for pair in each])
        return manner.calls.side_by_side(params, inputs)

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the linearization at these parameters, detached from all graphs."""
        params, inputs, manner = self._given(params, inputs)
        constants = {name: value.detach() for name, value in params.items()}
        if manner.in_turn:
            each = zip(_each(constants), inputs, strict=True)
            return side_by_side([manner.calls.one.linearize(*pair) for pair in each])
        return manner.calls.side_by_side.linearize(constants, inputs)

    def trace(self, params: Params, inputs: Tensor) -> Trace:
        """Return the outputs as a call does, with the inputs of each layer.

        Raises:
            Untraceable: See ``observe``.
        """
        params, inputs, manner = self._given(params, inputs)
        key, calls = (inputs.shape[1:], inputs.dtype), manner.calls
        if key not in self._layers:
            with torch.no_grad(), kept_draws(inputs.device):
                layers = calls.observe(_of(params, 0), inputs[0], {}).layer_outputs
            self._layers[key] = {name: value.new_zeros(()).expand_as(value) for name, value in layers.items()}
        zeros = self._layers[key].items()
        shifts = {name: value.new_zeros(len(inputs), *value.shape).requires_grad_() for name, value in zeros}
        if not manner.in_turn:
            outputs, layer_inputs, _ = calls.observe_side_by_side(params, inputs, shifts)
            return Trace(outputs, layer_inputs, shifts)
        each = [calls.observe(_of(params, e), inputs[e], _of(shifts, e)) for e in range(len(inputs))]
        layer_inputs = {name: torch.stack([one.layer_inputs[name] for one in each]) for name in shifts}
        return Trace(torch.stack([one.outputs for one in each]), layer_inputs, shifts)

    def manner(self, params: Params, inputs: Tensor) -> Manner:
        """Return how the network is called for parameters (E, ...) and inputs (E, N, ...) like these."""
        return self._given(params, inputs)[2]

    def _given(self, params: Params, inputs: Tensor) -> tuple[Params, Tensor, Manner]:
        """Return parameters and inputs as the network takes them, and how it is called."""
        dtype = self.dtype
        if inputs.dtype != dtype and inputs.is_floating_point():
            inputs = inputs.to(dtype)
        if next(iter(params.values())).dtype != dtype:
            params = {name: value.to(dtype) for name, value in params.items()}
        key = inputs.shape[1:], inputs.dtype
        if key not in self._manners:
            with kept_draws(inputs.device):
                self._manners[key] = self._found(params, inputs)
        return params, inputs, self._manners[key]

    def _found(self, params: Params, inputs: Tensor) -> Manner:
        """Find out how the network is called."""
        habits = habits_of(self._module, self._parts, params, inputs, self.recompute)
        if habits not in self._calls:
            self._calls[habits] = self._calls_of(habits)
        calls, apart = self._calls[habits], self.in_turn is True or self.in_turn == inputs.device.type
        return Manner(apart or not accepts(calls.side_by_side, params, inputs), habits.draws, calls)

    def _calls_of(self, habits: Habits) -> Calls:
        def function_of(part: nn.Module) -> NetworkFunction:
            return pure(part, habits)

        def together(part: nn.Module) -> NetworkFunction:
            return vmap(function_of(part), randomness="different")

        one, all_ = (Chain(self._parts, each, self.recompute, habits.draws) for each in (function_of, together))
        watched = partial(observe, self._module, habits=habits)
        return Calls(one, all_, watched, vmap(watched, randomness="different"))


def parameter_types_of(network: nn.Module, fitted: Container[str]) -> dict[str, ParameterType]:
    """Return the type of each of a network's parameters that is among the ``fitted``, by name."""
    return {
        f"{path}.{name}" if path else name: _parameter_type(module, name)
        for path, module in network.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if (f"{path}.{name}" if path else name) in fitted
    }


def _parameter_type(module: nn.Module, name: str) -> ParameterType:
    if name in ("scale", "offset"):
        return "norm_scale" if name == "scale" else "norm_offset"
    if isinstance(module, nn.Conv2d):
        return "conv_bias" if name == "bias" else "conv_weight"
    return "dense_bias" if name.endswith("bias") else "dense_weight"


def _each(params: Params) -> Iterator[Params]:
    """Yield the parameters of one episode after another."""
    for values in zip(*(value.unbind() for value in params.values()), strict=True):
        yield dict(zip(params, values, strict=True))


def _of(params: Params, episode: int) -> Params:
    """Return the parameters of one episode."""
    return {name: value[episode] for name, value in params.items()}


def gaussian(sigma: float) -> Draw:
    """Return an initializer that draws every parameter from N(0, σ²).

    Raises:
        ValueError: σ is negative.
    """
    if sigma < 0:
        raise ValueError(f"start is a standard deviation and must be at least 0, not {sigma}")

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
