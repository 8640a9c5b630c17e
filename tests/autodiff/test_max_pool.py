"""Pooling that keeps no inputs, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import vmap

from l2l_cli.autodiff.max_pool import LeanPooling

WINDOWS = [{"kernel_size": 2}, {"kernel_size": 2, "ceil_mode": True}, {"kernel_size": 3, "stride": 2, "padding": 1}]


def products(call, inputs, w, v):
    """Answer, Jᵀ·w and J·v, the latter two as an optimizer's linearization asks for them."""
    at = inputs.clone().requires_grad_()
    outputs = call(at)
    w = w.clone().requires_grad_()
    (pulled,) = torch.autograd.grad(outputs, at, w, create_graph=True)
    (pushed,) = torch.autograd.grad(pulled, w, v)
    return outputs, pulled, pushed


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_answers_and_derivatives_are_torchs(windows, channels_last, batched, double):
    layer = nn.MaxPool2d(**windows)
    inputs, v = torch.randn(3, 5, 2, 7, 7), torch.randn(3, 5, 2, 7, 7)
    if not batched:
        inputs, v = inputs[0], v[0]
        if channels_last:
            inputs, v = (value.contiguous(memory_format=torch.channels_last) for value in (inputs, v))
    call = vmap(layer) if batched else layer
    w = torch.randn_like(call(inputs))
    wanted = products(call, inputs, w, v)
    with LeanPooling():
        found = products(call, inputs, w, v)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_the_places_alone_are_kept_and_returned_on_demand():
    inputs, held = torch.randn(5, 2, 8, 8, requires_grad=True), []
    with LeanPooling(), saved_tensors_hooks(lambda value: held.append(value) or value, lambda value: value):
        nn.MaxPool2d(2)(inputs * 1)
        _, places = nn.MaxPool2d(2, return_indices=True)(inputs.detach())
    assert [value.shape for value in held if value.shape == inputs.shape] == []
    assert any(torch.equal(value, places) for value in held)
