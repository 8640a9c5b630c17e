"""The outputs and the loss that a closure computes, as functions of its network's parameters.

A closure computes outputs and loss of one batch: ``def closure(): outputs = net(x); return outputs, loss_fn(outputs,
y)``.  All evaluations in one step use the random numbers that the first one drew, for example for dropout, and only the
first one updates buffers such as running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from l2l_cli.autodiff.layer_traces import observed
from l2l_cli.autodiff.linearize import Linearization, linearized
from l2l_cli.autodiff.pure import kept_draws, unfused
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Context, Params
from l2l_cli.models.model import ParameterType, Trace, parameter_types_of

Closure = Callable[[], Any]
"""Function that returns the outputs of a network, and the loss of these outputs, ()."""


class _Evaluation(NamedTuple):
    """Outputs (1, ...) and loss (1,) of one evaluation, and the outputs as the closure returned them."""

    outputs: Tensor
    loss: Tensor
    returned: Tensor


class _Caller(nn.Module):
    """A module whose forward pass is a closure, so that ``functional_call`` can replace the network's parameters."""

    def __init__(self, network: nn.Module, closure: Closure) -> None:
        super().__init__()
        self.network = network
        self._closure = closure

    def forward(self) -> object:
        """Call the closure."""
        found: object = self._closure()
        return found


class ClosureNetwork:
    """A network that a closure calls in one training step; the closure holds the batch, so inputs are ignored.

    Args:
        module: The network that the closure calls.
        fitted: Names of its parameters that are to be fitted.
        closure: Function of no arguments that returns the outputs of the network, a tensor with the examples along its
            first axis, and their loss, a scalar that depends on parameters only through these outputs.

    Raises:
        UsageError: The closure, when it is evaluated, returns something else.
    """

    def __init__(self, module: nn.Module, fitted: Collection[str], closure: Closure) -> None:
        self._module, self._fitted, self._caller = module, fitted, _Caller(module, closure)
        self._seen: list[_Evaluation] = []
        self._device = next(module.parameters()).device
        self._draws = torch.get_rng_state()
        self._gpu_draws = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return self._module

    @property
    def parameter_types(self) -> dict[str, ParameterType]:
        """The type of each parameter that is to be fitted, by name."""
        return parameter_types_of(self._module, self._fitted)

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Return the outputs (1, N, ...) for parameters (1, ...)."""
        del inputs
        return self._evaluated(params).outputs

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the linearization at these parameters."""
        return linearized(self, params, inputs)

    def trace(self, params: Params, inputs: Tensor) -> Trace:
        """Return the outputs with the inputs of each layer.

        Raises:
            Untraceable: See ``observe``.
        """
        shifts: Params = {}

        def shifted(name: str, result: Tensor) -> Tensor:
            shifts[name] = torch.zeros_like(result).unsqueeze(0).requires_grad_()
            return result + shifts[name][0]

        with torch.enable_grad():
            found = observed(self._module, params, lambda: self(params, inputs), shifted)
        layer_inputs = {name: value.unsqueeze(0) for name, value in found.layer_inputs.items()}
        return Trace(found.outputs, layer_inputs, shifts)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss (1,) of outputs that an evaluation returned, or of a copy of the first evaluation's."""
        del targets
        for one in self._seen:
            if outputs is one.outputs:
                return one.loss
        base = self._seen[0]
        known: Tensor = _Loss.apply(outputs, base.loss.detach(), self._slope(False)[None])  # type: ignore[no-untyped-call]
        return known

    def curvature(self, outputs: Tensor, targets: Tensor, u: Tensor) -> Tensor:
        """Return the loss's Hessian with respect to the first evaluation's outputs, times vectors u, (K, N, ...)."""
        del outputs, targets
        slope, at = self._slope(True), self._seen[0].returned
        if not slope.requires_grad:  # a loss that is linear in the outputs
            return torch.zeros_like(u)
        each = [torch.autograd.grad(slope, at, one, retain_graph=True, materialize_grads=True)[0] for one in u]
        return torch.stack(each)

    def _slope(self, create_graph: bool) -> Tensor:
        """Return the gradient of the first evaluation's loss with respect to its outputs."""
        base = self._seen[0]
        with torch.enable_grad():
            return torch.autograd.grad(base.loss, base.returned, create_graph=create_graph, retain_graph=True)[0]

    def _evaluated(self, params: Params) -> _Evaluation:
        given = {f"network.{name}": value[0] for name, value in params.items()}
        with unfused():
            if not self._seen:
                found = functional_call(self._caller, given, ())
            else:
                # Buffers are copied, so that running means are not updated again.
                given |= {f"network.{name}": value.clone() for name, value in self._module.named_buffers()}
                with kept_draws(self._device):
                    torch.set_rng_state(self._draws)
                    if self._gpu_draws is not None:
                        torch.cuda.set_rng_state(self._gpu_draws, self._device)
                    found = functional_call(self._caller, given, ())
        outputs, loss = _checked(found)
        if loss.requires_grad:
            _see_that_loss_is_of_outputs(outputs, loss, {id(value) for value in params.values()})
        self._seen.append(_Evaluation(outputs.unsqueeze(0), loss.reshape(1), outputs))
        return self._seen[-1]


class _Loss(torch.autograd.Function):
    """(outputs, loss, gradient) -> the loss, whose derivative with respect to the outputs is the gradient."""

    @staticmethod
    def forward(ctx: Context, outputs: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0] * grad, None, None


def _checked(found: object) -> tuple[Tensor, Tensor]:
    """Return the outputs and the loss that a closure returned.

    Raises:
        UsageError: It returned something else.
    """
    match found:
        case (Tensor() as outputs, Tensor() as loss) if loss.numel() == 1 and outputs.dim() > 0:
            return outputs, loss
    raise UsageError(
        "the closure must return the network's outputs and their loss, as in `outputs = net(x); return outputs, "
        f"loss_fn(outputs, y)`, without backward(); it returns {_described(found)}"
    )


def _described(found: object) -> str:
    parts = found if isinstance(found, tuple | list) else [found]
    each = [f"a tensor {tuple(one.shape)}" if isinstance(one, Tensor) else f"a {type(one).__name__}" for one in parts]
    return " and ".join(each) or "nothing"


def _see_that_loss_is_of_outputs(outputs: Tensor, loss: Tensor, params: set[int]) -> None:
    """Check that the loss depends on parameters only through the outputs, so that these carry all its curvature.

    Raises:
        UsageError: It does not depend on the outputs, or also depends on a parameter in another way.
    """
    waiting, known, reached, direct = [loss.grad_fn], {None, outputs.grad_fn}, False, False
    while waiting:
        node = waiting.pop()
        reached = reached or node is outputs.grad_fn
        if node in known:
            continue
        known.add(node)
        assert node is not None
        direct = direct or id(getattr(node, "variable", None)) in params
        waiting += [one for one, _ in node.next_functions]
    if not reached:
        raise UsageError("the loss must be computed from the outputs that the closure returns, and from no others")
    if direct:
        raise UsageError(
            "the loss depends on parameters other than through the outputs, as a penalty on weights does, and "
            "curvature products go only through the outputs; take it out of the loss"
        )
