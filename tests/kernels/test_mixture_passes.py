"""The passes of a tensorwise mixture against the reference, and what they leave alone."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.tree import flatten
from l2l_cli.kernels.mixture_passes import SUMMED, After, Decays, MixturePasses
from l2l_cli.kernels.paths import Paths
from l2l_cli.kernels.tensor_parts import PART
from l2l_cli.optimizers.tensorwise_mixture import TensorwiseMixture
from tests.optimizers.test_tensorwise_mixture import E, frozen, noise, start, trained

SHAPES = {"one": (), "few": (7,), "odd": (3, SUMMED), "parts": (PART + 5,), "filter": (4, 3, 2, 2)}


def both(**options):
    """The rule by either path; both have the same φ."""
    fast, plain = (trained(paths=Paths(compiled), **options) for compiled in (True, False))
    return fast, plain


def walked(rule, params, grads):
    """θ and the memory after gradients, by a rule that is asked as ``Descent`` asks it."""
    memory = rule.begin(params, 50)
    loss = torch.ones(len(next(iter(params.values()))))
    for grad in grads:
        params, memory = stepped(rule, params, grad, loss, memory)
    return params, memory


OPTIONS = [{}, {"blind": True}, {"skip": False, "hidden": 5}, {"directions": "own"}, {"directions": "tensor"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_is_the_references(dtype, options, threads):
    torch.set_default_dtype(dtype)
    try:
        rng = torch.Generator().manual_seed(0)
        params = {name: torch.randn(3, *shape, generator=rng) for name, shape in SHAPES.items()}
        grads = [
            {name: 10.0 ** (2 * step) * torch.randn(value.shape, generator=rng) for name, value in params.items()}
            for step in range(4)
        ]
        grads[2] = {name: torch.zeros_like(value) for name, value in params.items()}
        grads[3] = {name: 1e12 * value for name, value in grads[3].items()}  # is cut
        found, wanted = (walked(rule, params, grads) for rule in both(**options))
    finally:
        torch.set_default_dtype(torch.float32)
    tight = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2e-4, "atol": 1e-5}
    for name, value in wanted[0].items():
        assert found[0][name].dtype == dtype
        torch.testing.assert_close(found[0][name], value, **tight)
    for name, value in flatten(wanted[1]).items():
        torch.testing.assert_close(flatten(found[1])[name], value, **tight)


def noise_of(rng, steps=3):
    """Gradients of a matrix and a vector."""
    return [[torch.randn(8, 3, generator=rng), torch.randn(5, generator=rng)] for _ in range(steps)]


def stepped(rule, params, grad, loss, memory):
    """θ and the memory after one step of an episode."""
    point = type("At", (), {"params": params, "grad": grad, "loss": loss})()
    with torch.no_grad():
        return rule.step(point, memory)


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 3e-7), (torch.float64, 1e-15)])
@pytest.mark.parametrize("count", [16, 5, 37])
def test_roots_are_inverted_to_the_last_digits(dtype, digits, count):
    """θ = 0 and a gradient of 1 move by the inverse root of the second moment alone."""
    second = torch.logspace(-25, 30, count, dtype=dtype)[None]
    zero, one = torch.zeros_like(second), torch.ones_like(second)
    weights = torch.tensor([[[-1.0, 0, 0, 0, 0, 0]]], dtype=dtype)
    decays, after = (
        Decays((0.9, 0.98), 0.98, (1, 1, 1), 1e-30, 1e15),
        After(zero[:, None].expand(1, 2, -1), second, zero),
    )
    found = MixturePasses().move([count], one, zero, after, weights, decays)
    torch.testing.assert_close(found.double(), (second.double() + 1e-30).rsqrt(), rtol=digits, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_of_the_past_keep_their_numbers(dtype):
    """Memory is used again, but never while somebody holds it."""
    rule = both()[0].to(dtype)
    params, first, *others = ({name: value.to(dtype) for name, value in one.items()} for one in (start(), *noise(5)))
    loss = torch.ones(E, dtype=dtype)
    places, memory = stepped(rule, params, first, loss, rule.begin(params, 50))
    kept = {name: value.clone() for name, value in {**places, **flatten(memory)}.items()}
    after, later = places, memory
    for grad in others:
        after, later = stepped(rule, after, grad, 0.5 * loss, later)
    for name, value in {**places, **flatten(memory)}.items():
        assert torch.equal(value, kept[name]), name


def test_what_is_not_a_number_stays_so():
    grads = noise(1)
    grads[0]["scale"] = torch.full_like(grads[0]["scale"], torch.nan)
    found = frozen(both()[0], grads, start())[0][-1]
    assert found["scale"].isnan().all()


def test_gradients_of_another_type_than_the_weights_take_the_reference():
    params = {name: value.double() for name, value in start().items()}
    assert not TensorwiseMixture()._takes_kernels(next(iter(params.values())))


def test_a_gradient_that_lies_otherwise_in_memory_is_the_same_gradient():
    rule, _ = both()
    params = {"w": torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))}
    gradient = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(1)).mT
    assert not gradient.is_contiguous()
    found = walked(rule, params, [{"w": gradient}])[0]["w"]
    assert torch.equal(found, walked(rule, params, [{"w": gradient.contiguous()}])[0]["w"])


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_steps_in_place_are_the_steps_of_episodes(rate):
    """Moments are overwritten where they lie; θ moves by the rate times what it moves in an episode."""
    rule, _ = both()
    rng = torch.Generator().manual_seed(0)
    theta, grads = [torch.randn(8, 3, generator=rng), torch.randn(5, generator=rng)], noise_of(rng)
    own, wanted = [value.clone() for value in theta], {"w": theta[0][None], "b": theta[1][None]}
    memory, reference = rule.begin(wanted, 50), rule.begin(wanted, 50)
    place = memory.momenta.data_ptr()
    for number, grad in enumerate(grads):
        loss = torch.tensor([1.0 / (1.0 + number)])
        moved, reference = stepped(rule, wanted, {"w": grad[0][None], "b": grad[1][None]}, loss, reference)
        wanted = {name: value + rate * (moved[name] - value) for name, value in wanted.items()}
        with torch.no_grad():
            memory = rule.step_in_place(own, grad, lambda loss=loss: loss, memory, rate)
        for found, value in zip(own, wanted.values(), strict=True):
            torch.testing.assert_close(found, value[0], rtol=1e-5, atol=1e-6)
        for name, value in flatten(reference).items():
            torch.testing.assert_close(flatten(memory)[name], value, rtol=1e-6, atol=1e-7)
    assert memory.momenta.data_ptr() == place
