"""Recorded programs against the functions that they were recorded from."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from l2l_cli.autodiff.program_writer import NotPure
from l2l_cli.autodiff.recorder import record, record_stages


def gradient_of(module, loss):
    """Loss and gradient of several copies of a module side by side, as a learner asks for them."""
    names = [name for name, _ in module.named_parameters()]

    def run(*values):
        *params, inputs, targets = values
        params = [value.detach().requires_grad_() for value in params]
        with torch.enable_grad():
            call = vmap(lambda own, inputs: functional_call(module, own, (inputs,)))
            losses = loss(call(dict(zip(names, params, strict=True)), inputs), targets)
            total = losses.sum()
        return losses.detach(), *torch.autograd.grad(total, params)

    return run


def mean_square(outputs, targets):
    return (outputs - targets).square().flatten(1).mean(1)


MODULES = {
    "mlp": (nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 2)), (5, 4), (5, 2)),
    "convolution": (
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)),
        (5, 1, 6, 6),
        (5, 2),
    ),
    "normalised": (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2)), (5, 4), (5, 2)),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_program_does_what_the_function_does_to_other_numbers(name):
    module, inputs, targets = MODULES[name]
    run = gradient_of(module, mean_square)
    rng = torch.Generator().manual_seed(0)

    def draw():
        shapes = [tuple(value.shape) for value in module.parameters()] + [inputs, targets]
        return [torch.randn(3, *shape, generator=rng) for shape in shapes]

    program = record(run, *draw())
    for _ in range(2):
        values = draw()
        for found, expected in zip(program(*values), run(*values), strict=True):
            torch.testing.assert_close(found, expected)


def test_what_never_changes_is_computed_once():
    program = record(lambda x: (x * (torch.ones_like(x) * 3).exp(),), torch.randn(4))
    assert len(program.__code__.co_names) == 2  # one operation and one constant
    torch.testing.assert_close(program(torch.ones(4))[0], torch.full((4,), 3.0).exp())


def test_a_program_holds_nothing_but_what_it_reads():
    large = torch.rand(1000)
    program = record(lambda x: (x + 1, (large * x.sum()).sum())[:1], torch.randn(4))
    tensors = [value for value in program.__globals__.values() if isinstance(value, torch.Tensor)]
    assert all(value.numel() < 1000 for value in tensors)
    assert "__builtins__" in program.__globals__  # an operation may import


def test_changes_in_place_are_made_every_time():
    def count(x):
        total = torch.zeros_like(x)
        total.add_(x)
        return total, total + 1

    program = record(count, torch.ones(3))
    for value in (1.0, 2.0):
        found = program(torch.full((3,), value))
        assert [part.tolist() for part in found] == [[value] * 3, [value + 1] * 3]


def test_several_results_and_constants_of_the_function():
    order = torch.tensor([2, 0, 1])

    def sort(x):
        values, places = x.sort()
        first, *_ = x.unbind()
        return values[order], places, first

    program = record(sort, torch.randn(3))
    x = torch.tensor([3.0, 1.0, 2.0])
    assert [part.tolist() for part in program(x)] == [[3.0, 1.0, 2.0], [1, 2, 0], 3.0]


def test_a_function_that_looks_at_numbers_is_refused():
    with pytest.raises(NotPure):
        record(lambda x: (x if x.sum() > 0 else -x,), torch.randn(3))


def test_later_stages_repeat_nothing_that_the_first_can_do():
    calls = []

    def work(x, v, u):
        calls.append(x)
        bent = x.exp()
        return (x + 1,), (bent * v, x.sin() + v), (bent + u,)

    x, v, u = torch.rand(3), torch.rand(3), torch.rand(3)
    stages = record_stages(work, [x], [v], [u])
    for _ in range(2):
        x, v, u = torch.rand(3), torch.rand(3), torch.rand(3)
        outputs, kept = stages.first(x)
        assert len(kept) == 2  # the exponential and the sine
        found = outputs, stages.later[0](kept, v), stages.later[1](kept, u)
        for one, other in zip(found, work(x, v, u), strict=True):
            torch.testing.assert_close(tuple(one), other)
    assert len(calls) == 4  # recorded, tried on other numbers, and compared here


def test_stages_hold_no_change_in_place():
    """A change of a tensor that nobody else sees is a new tensor; any other is refused."""

    def alone(x, v):
        total = x * 2
        total.add_(1)
        share = v.exp().div_(4)
        return (total,), (share.mul_(total),)

    stages = record_stages(alone, [torch.rand(3)], [torch.rand(3)])
    x, v = torch.rand(3), torch.rand(3)
    (total,), kept = stages.first(x)
    for _ in range(2):
        torch.testing.assert_close(stages.later[0](kept, v)[0], v.exp() / 4 * (2 * x + 1))
    torch.testing.assert_close(total, 2 * x + 1)

    def seen(x, v):
        product = x * v
        first = product[0]
        product.add_(1)
        return (x.exp(),), (first,)

    for work in (seen, lambda x, v: ((x.exp(),), (v.add_(x),))):
        with pytest.raises(NotPure, match="in place"):
            record_stages(work, [torch.rand(3)], [torch.rand(3)])
