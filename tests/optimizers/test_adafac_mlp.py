"""The network of Metz et al. 2022: its features against their definitions, and what cannot break it."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.tree import flatten
from l2l_cli.optimizers import factored
from l2l_cli.optimizers.adafac_mlp import AdafacMLP, _accumulated, _features
from tests.optimizers.test_tensorwise_mixture import frozen, noise, start

E = 3
DECAYS = torch.tensor([0.9, 0.99, 0.999])


def remembered(shape, steps=4):
    rng = torch.Generator().manual_seed(0)
    rule = AdafacMLP()
    value = torch.randn(E, *shape, generator=rng)
    known = rule.init({"w": value}).tensors["w"]
    grads = [torch.randn(value.shape, generator=rng) for _ in range(steps)]
    for grad in grads:
        known = _accumulated(known, grad, DECAYS, torch.tensor([0.999]), DECAYS)
    return value, grads, known


def test_it_has_the_papers_197_weights():
    assert sum(value.numel() for value in AdafacMLP().parameters()) == 197


def test_a_matrix_is_whitened_by_its_rows_and_columns(double):
    """Adafactor's estimate of E[g²] at (i, j) is R_i · C_j / mean R."""
    value, grads, known = remembered((4, 6))
    rows, columns = (
        sum(d_power * (1 - decay) * grad.square().mean(axis) for d_power, grad in zip(powers, grads, strict=True))
        for axis, powers, decay in [
            (2, 0.9 ** torch.arange(3.0, -1, -1), 0.9),
            (1, 0.9 ** torch.arange(3.0, -1, -1), 0.9),
        ]
    )
    estimate = rows[:, :, None] * columns[:, None] / rows.mean(1)[:, None, None]
    torch.testing.assert_close(factored.whitening(known.factors, value)[:, 0], estimate.rsqrt(), rtol=1e-6, atol=0)
    spread_rows, spread_columns = factored.spread(known.factors, value)
    torch.testing.assert_close(spread_rows[:, 0], rows[:, :, None].expand(-1, -1, 6))
    torch.testing.assert_close(spread_columns[:, 0], columns[:, None].expand(-1, 4, -1))


def test_a_matrix_of_rank_one_is_whitened_to_signs(double):
    signs = torch.randn(E, 5, 7).sign()
    grad = signs * torch.rand(E, 5, 1).add(0.5) * torch.rand(E, 1, 7).add(0.5)
    known = AdafacMLP().init({"w": grad}).tensors["w"]
    for _ in range(3):
        known = _accumulated(known, grad, DECAYS, torch.tensor([0.999]), DECAYS)
    found = grad * factored.whitening(known.factors, grad)[:, 0] * (1 - 0.9**3) ** 0.5
    torch.testing.assert_close(found, signs, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("shape", "axes"), [((4, 6), (2, 3)), ((6, 4), (3, 2)), ((8, 3, 5, 5), (5, 2)), ((7,), None), ((), None)]
)
def test_the_two_longest_axes_are_factored(shape, axes):
    assert factored.axes_of(torch.zeros(E, 3, *shape)) == axes
    size = torch.Size(shape).numel()
    value, _, known = remembered(shape)
    assert _features(value, value, known).shape == (E, size, 28)
    stored = known.factors.rows[0, 0].numel() + known.factors.columns[0, 0].numel()
    assert stored == (size if axes is None else size // value.shape[axes[1] - 1] + size // value.shape[axes[0] - 1])


def test_the_step_is_direction_times_exp_of_magnitude(double):
    rule = AdafacMLP()
    with torch.no_grad():
        for layer in rule.layers:
            layer.weight.zero_()
        rule.layers[-1].bias.copy_(torch.tensor([2.0, 500.0]))
    found = frozen(rule, noise(1), start())[0][-1]
    for name, value in start().items():
        torch.testing.assert_close(
            value - found[name], torch.full_like(value, 2.0 * 0.001 * torch.tensor(0.5).exp().item())
        )


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e16, 1e30])
def test_gradients_of_any_size_move_it_to_finite_places(scale):
    found, memory = frozen(AdafacMLP(), noise(20, scale=scale), start())
    assert all(torch.isfinite(value).all() for value in [*found[-1].values(), *flatten(memory).values()])


@pytest.mark.parametrize("options", [{"hidden": 0}, {"layers": 0}, {"step_scale": -1.0}])
def test_arguments_out_of_range_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AdafacMLP(**options)
