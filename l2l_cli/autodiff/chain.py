"""A network as a chain of segments, so that the inside of one at a time need be in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from l2l_cli.autodiff.linearize import Answer, Linearization, Linearizer
from l2l_cli.core.types import Params

_PASSED = ""
"""The name that what a segment is given has among its parameters."""


def segments(module: nn.Module) -> list[nn.Module]:
    """Split an ``nn.Sequential`` into parts that follow one another; parameters keep their names.

    A module that consists of others is a part, as a residual block is; so are the plain layers between two of them.
    Plain layers before which nothing has parameters belong to the part that follows.  Anything else is one part.
    """
    if type(module) is not nn.Sequential:
        return [module]
    groups: list[dict[str, nn.Module]] = [{}]
    ends = False
    for name, child in module._modules.items():
        assert child is not None  # by what a Sequential accepts
        composed = next(child.children(), None) is not None
        if (composed or ends) and any(next(part.parameters(), None) is not None for part in groups[-1].values()):
            groups.append({})
        groups[-1][name] = child
        ends = composed
    parts = [nn.Sequential() for _ in groups]
    for part, group in zip(parts, groups, strict=True):
        for name, child in group.items():
            part.add_module(name, child)
    shares = sum(len(list(part.parameters())) for part in parts) > len(list(module.parameters()))
    return [module] if shares else list(parts)


class Segment:
    """A part of a network, which sees its own parameters alone.

    Args:
        names: Of its parameters in the whole network's.
        answer: (parameters, inputs) -> outputs.
    """

    def __init__(self, names: Sequence[str], answer: Answer) -> None:
        self.names = names
        self._answer = answer
        self._first = Linearizer(answer)
        self._later = Linearizer(self._answer_passed)

    def linearize(self, params: Params, inputs: Tensor, begins: bool, recompute: bool) -> Linearization:
        """Answer; but for the segment with which a network begins, the inputs count as one more parameter."""
        own = {name: params[name] for name in self.names}
        if begins:
            return self._first(own, inputs, recompute)
        return self._later({**own, _PASSED: inputs}, inputs.new_empty(0), recompute)

    def __call__(self, params: Params, inputs: Tensor, recompute: bool) -> Tensor:
        """Answer, and keep for the backward pass what it needs, or the inputs alone."""

        def answer(inputs: Tensor, *values: Tensor) -> Tensor:
            return self._answer(dict(zip(self.names, values, strict=True)), inputs)

        values = [params[name] for name in self.names]
        if not recompute:
            return answer(inputs, *values)
        outputs: Tensor = checkpoint(answer, inputs, *values, use_reentrant=False, preserve_rng_state=False)
        return outputs

    def _answer_passed(self, params: Params, inputs: Tensor) -> Tensor:
        del inputs  # what is differentiated is among the parameters
        return self._answer({name: params[name] for name in self.names}, params[_PASSED])


class Chain:
    """Segments one after the other.

    Args:
        parts: See ``segments``.
        answering: A part -> it as a function of its parameters and its inputs.
        recompute: Keep what enters each segment, and compute its inside again when a gradient or a product needs it:
            less memory, at most one forward pass more for each.  ``torch.func.vjp`` refuses such a gradient.
    """

    def __init__(self, parts: Sequence[nn.Module], answering: Callable[[nn.Module], Answer], recompute: bool) -> None:
        self._segments = [Segment([name for name, _ in part.named_parameters()], answering(part)) for part in parts]
        self._recompute = recompute

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Answer inputs."""
        for segment in self._segments:
            inputs = segment(params, inputs, self._recompute and torch.is_grad_enabled())
        return inputs

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Answer, and keep what products with the Jacobian need."""
        parts: list[Linearization] = []
        for segment in self._segments:
            parts.append(segment.linearize(params, inputs, begins=not parts, recompute=self._recompute))
            inputs = parts[-1].outputs

        def push(v: Params) -> Tensor:
            moved = None
            for part in parts:
                moved = part.push(v if moved is None else {**v, _PASSED: moved})
            assert moved is not None
            return moved

        def pull(u: Tensor) -> Params:
            found: Params = {}
            for part in reversed(parts):
                found |= part.pull(u)
                u = found.pop(_PASSED, u)
            return {name: found[name] for name in params}

        return Linearization(inputs, push, pull)


def side_by_side(each: Sequence[Linearization]) -> Linearization:
    """Return the first-order change of E networks, parameters (E, ...), of those of each one."""
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
        found = [at.pull(part) for at, part in zip(each, u, strict=True)]
        return {name: torch.stack([one[name] for one in found]) for name in found[0]}

    return Linearization(torch.stack([at.outputs for at in each]), push, pull)
