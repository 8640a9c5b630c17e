"""A network as a chain of segments, of which only one at a time needs its activations in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from l2l_cli.autodiff.linearize import Linearization, Linearizer
from l2l_cli.autodiff.pure import NetworkFunction
from l2l_cli.core.types import Params

_INPUTS = ""
"""The name of a segment's inputs among its parameters."""


def segments(module: nn.Module) -> list[nn.Module]:
    """Split an ``nn.Sequential`` into consecutive parts; parameters keep their names.

    A layer that contains others, such as a residual block, is one part; so is each run of plain layers between two of
    them.  Layers without trained parameters join the part that follows.  Any other module, and one whose parts would
    share parameters, is a single part.
    """
    if type(module) is not nn.Sequential:
        return [module]
    groups: list[dict[str, nn.Module]] = [{}]
    ends = False
    for name, child in module.named_children():
        composed = next(child.children(), None) is not None
        if (composed or ends) and any(trained(part) for part in groups[-1].values()):
            groups.append({})
        groups[-1][name] = child
        ends = composed
    parts = [nn.Sequential() for _ in groups]
    for part, group in zip(parts, groups, strict=True):
        for name, child in group.items():
            part.add_module(name, child)
    shares = sum(len(list(part.parameters())) for part in parts) > len(list(module.parameters()))
    return [module] if shares else list(parts)


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of a module that are not frozen, each under the first of its names."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


class Segment:
    """A part of a network, which sees only its own parameters; ``names`` are their names in the whole network."""

    def __init__(self, names: Sequence[str], function: NetworkFunction) -> None:
        self.names = names
        self._function = function
        self._first = Linearizer(function)
        self._later = Linearizer(self._of_all)

    def linearize(self, params: Params, inputs: Tensor, begins: bool, recompute: bool) -> Linearization:
        """Return its linearization; unless it is the network's first part, the inputs count as one more parameter."""
        params = {name: params[name] for name in self.names}
        if begins:
            return self._first(params, inputs, recompute)
        return self._later({**params, _INPUTS: inputs}, inputs.new_empty(0), recompute)

    def __call__(self, params: Params, inputs: Tensor, recompute: bool, draws: bool) -> Tensor:
        """Return the outputs; with ``recompute``, only the inputs are kept for the backward pass.

        ``draws`` says whether random numbers are drawn, which the recomputation must then repeat.
        """

        def outputs_of(inputs: Tensor, *values: Tensor) -> Tensor:
            return self._function(dict(zip(self.names, values, strict=True)), inputs)

        values = [params[name] for name in self.names]
        if not recompute:
            return outputs_of(inputs, *values)
        outputs: Tensor = checkpoint(outputs_of, inputs, *values, use_reentrant=False, preserve_rng_state=draws)
        return outputs

    def _of_all(self, params: Params, inputs: Tensor) -> Tensor:
        del inputs  # they are among the parameters
        return self._function({name: params[name] for name in self.names}, params[_INPUTS])


class Chain:
    """A network as consecutive segments.

    Args:
        parts: Modules, as ``segments`` returns them.
        function_of: Map from a module to its function of parameters and inputs.
        recompute: Whether only the inputs of each segment are kept, and its activations recomputed when a gradient or a
            product needs them: this saves memory, and takes at most one more forward pass for each.
            ``torch.func.vjp`` refuses such a gradient.
        draws: Whether the network draws random numbers.
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        function_of: Callable[[nn.Module], NetworkFunction],
        recompute: bool,
        draws: bool = False,
    ) -> None:
        self._segments = [Segment(list(trained(part)), function_of(part)) for part in parts]
        self._recompute, self._draws = recompute, draws

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        for segment in self._segments:
            inputs = segment(params, inputs, self._recompute and torch.is_grad_enabled(), self._draws)
        return inputs

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the outputs and the products with their Jacobian."""
        parts: list[Linearization] = []
        recompute = self._recompute and not self._draws  # products must use the same random numbers as the outputs
        for segment in self._segments:
            parts.append(segment.linearize(params, inputs, begins=not parts, recompute=recompute))
            inputs = parts[-1].outputs

        def push(v: Params) -> Tensor:
            moved = None
            for part in parts:
                moved = part.push(v if moved is None else {**v, _INPUTS: moved})
            assert moved is not None
            return moved

        def pull(u: Tensor) -> Params:
            products: Params = {}
            for part in reversed(parts):
                products |= part.pull(u)
                u = products.pop(_INPUTS, u)
            return {name: products[name] for name in params}

        return Linearization(inputs, push, pull)


def side_by_side(each: Sequence[Linearization]) -> Linearization:
    """Return one linearization with parameters and outputs (E, ...) from those of E networks."""
    if len(each) == 1:  # nothing is copied
        (only,) = each
        return Linearization(
            only.outputs[None],
            lambda v: only.push({name: value[0] for name, value in v.items()})[None],
            lambda u: {name: value[None] for name, value in only.pull(u[0]).items()},
        )

    def push(v: Params) -> Tensor:
        return torch.stack([at.push({name: value[e] for name, value in v.items()}) for e, at in enumerate(each)])

    def pull(u: Tensor) -> Params:
        products = [at.pull(part) for at, part in zip(each, u, strict=True)]
        return {name: torch.stack([product[name] for product in products]) for name in products[0]}

    return Linearization(torch.stack([at.outputs for at in each]), push, pull)
