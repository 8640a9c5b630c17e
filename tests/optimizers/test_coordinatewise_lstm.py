"""The learned optimizer against the paper's sizes and formulas."""

from __future__ import annotations

import math

import pytest
import torch

from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.lstm_cell import LSTMCell
from l2l_cli.optimizers.preprocess import ClippedLogAndSign, Identity, LogAndSign, Momenta


@pytest.mark.parametrize(("preprocess", "size"), [(None, 5061), (LogAndSign(), 5141)])
def test_it_has_the_papers_number_of_weights(preprocess, size):
    rule = CoordinatewiseLSTM(preprocess=preprocess)
    assert sum(value.numel() for value in rule.parameters()) == size


def test_the_cell_is_torchs_lstm_cell(double):
    ours, theirs = LSTMCell(3, 5), torch.nn.LSTMCell(3, 5)
    with torch.no_grad():
        ours.input_weight.copy_(theirs.weight_ih)
        ours.hidden_weight.copy_(theirs.weight_hh)
        ours.bias.copy_(theirs.bias_ih + theirs.bias_hh)
    arguments = torch.randn(7, 3), torch.randn(7, 5), torch.randn(7, 5)
    expected = theirs(arguments[0], arguments[1:])
    for mine, other in zip(ours(*(value.T for value in arguments)), expected, strict=True):
        torch.testing.assert_close(mine.T, other)


def test_log_and_sign_is_appendix_a(double):
    grad = torch.tensor([1.0, -math.exp(-5), math.exp(-10) / 2, 0.0, -1e-7], requires_grad=True)
    features = LogAndSign(p=10)(grad)
    expected = [[0.0, 1.0], [-0.5, -1.0], [-1.0, 0.5], [-1.0, 0.0], [-1.0, -1e-7 * math.exp(10)]]
    torch.testing.assert_close(features.T, torch.tensor(expected))
    features.sum().backward()
    assert torch.isfinite(grad.grad).all()


def test_clipped_log_and_sign_is_the_authors_formula(double):
    grad = torch.tensor([1.0, -math.exp(-3), math.exp(-5) / 2, 0.0, -1e-7, -40.0], requires_grad=True)
    features = ClippedLogAndSign(k=5)(grad)
    expected = [
        [0.0, 1.0],
        [-0.6, -1.0],
        [-1.0, 0.5],
        [-1.0, 0.0],
        [-1.0, -1e-7 * math.exp(5)],
        [0.2 * math.log(40), -1],
    ]
    torch.testing.assert_close(features.T, torch.tensor(expected), rtol=1e-12, atol=1e-12)
    features.sum().backward()
    assert torch.isfinite(grad.grad).all()


@pytest.mark.parametrize("k", [1.0, 5.0, 10.0])
def test_the_authors_form_differs_from_appendix_a_by_epsilon_alone(k):
    grad = torch.logspace(-20, 3, 400) * torch.tensor([1.0, -1.0]).repeat(200)
    bound = torch.finfo(grad.dtype).eps * math.exp(k) / k
    difference = (ClippedLogAndSign(k)(grad) - LogAndSign(k)(grad)).abs()
    assert difference[0].max() < bound + 1e-6
    assert difference[1].max() < 1e-6


def test_coordinates_share_weights_and_nothing_else(double):
    rule = CoordinatewiseLSTM(hidden=4)
    grad = {"a": torch.randn(2, 3), "b": torch.randn(2, 5)}
    moves, memory = rule.update(grad, rule.init(grad))
    moves, memory = rule.update(grad, memory)
    swapped = {"b": grad["b"], "a": grad["a"].flip(1)}
    again, other = rule.update(swapped, rule.init(swapped))
    again, other = rule.update(swapped, other)
    torch.testing.assert_close(again["a"].flip(1), moves["a"])
    torch.testing.assert_close(again["b"], moves["b"])


def test_identity_scales():
    assert Identity(3.0)(torch.tensor([2.0])).tolist() == [[6.0]]


def test_momenta_hold_what_adam_would_do(double):
    epsilon = 1e-30  # else a gradient that happens to be near zero shows in the fifth digit
    adam = Adam(lr=1.0, beta1=0.9, beta2=0.95, epsilon=epsilon)
    show = Momenta(decays=[0.5, 0.9], square=0.95, epsilon=epsilon)
    memory, seen = adam.init({"x": torch.zeros(5)}), show.begin(torch.zeros(5))
    for step in range(4):
        grad = torch.randn(5) * 10.0 ** torch.arange(-2, 3)
        moved, memory = adam.update({"x": grad}, memory)
        features, seen = show.show(grad, seen)
        assert features.shape == (show.width, 5)
        torch.testing.assert_close(-features[2], moved["x"])
        torch.testing.assert_close(features[3:], LogAndSign()(grad))
        if step == 0:
            torch.testing.assert_close(features[:3], grad.sign().expand(3, -1), rtol=1e-5, atol=0)


def test_momenta_do_not_depend_on_the_scale_of_gradients(double):
    show, grads = Momenta(epsilon=1e-30), torch.randn(6, 5)
    found = []
    for scale in (1.0, 1e-6):
        seen = show.begin(torch.zeros(5))
        for grad in grads:
            features, seen = show.show(scale * grad, seen)
        found.append(features[:4])
    torch.testing.assert_close(*found)
