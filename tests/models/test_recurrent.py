"""The LSTM that reads an image: against torch's own, and what optimizers of curvature may ask of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l2l_cli.autodiff.linearize import Linearizer, linearized
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Phase
from l2l_cli.models.model import Model
from l2l_cli.models.point import Point
from l2l_cli.models.recorded_loss import RecordedLoss, in_turn
from l2l_cli.models.recurrent import Rows, row_reader, row_reader_weights
from l2l_cli.tasks.base import softmax_cross_entropy
from tests.image_tasks import image_task
from tests.models.test_ggn import E, explicit, matrix_of

SHAPE = (2, 3, 2)


def reader(units=2, outputs=3):
    return Model(row_reader(SHAPE, units, outputs), row_reader_weights(units))


def drawn(model, seed=0):
    rng = generator(seed)
    targets = torch.eye(3).repeat(2, 1)[:5].expand(E, -1, -1)
    return model.init(E, rng), Batch(normal((E, 5, *SHAPE), rng), targets)


def test_rows_go_from_top_to_bottom_with_all_channels():
    image = torch.arange(12).view(1, *SHAPE)  # channel · 6 + row · 2 + column
    assert Rows()(image)[:, 0].tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_the_network_is_torchs_lstm_and_its_last_state(double):
    model, theirs = reader(units=3), nn.LSTM(4, 3)
    params, batch = drawn(model)
    own = {name: value[1] for name, value in params.items()}
    order = torch.tensor([0, 1, 3, 2])  # torch has the output gate last
    with torch.no_grad():
        theirs.bias_hh_l0.zero_()
        for name, value in (("ih", "input.weight"), ("hh", "hidden.weight")):
            getattr(theirs, f"weight_{name}_l0").copy_(own[f"1.{value}"].view(4, 3, -1)[order].flatten(0, 1))
        theirs.bias_ih_l0.copy_(own["1.input.bias"].view(4, 3)[order].flatten())
        last = theirs(Rows()(batch.inputs[1]))[0][-1]
    torch.testing.assert_close(model(params, batch.inputs)[1], last @ own["2.weight"].T + own["2.bias"])


def test_the_draw_is_uniform_and_opens_the_forget_gates():
    units = 100
    draw = row_reader_weights(units)
    for name, shape in (("1.input.weight", (2, 400, 30)), ("1.hidden.weight", (2, 400, 100)), ("2.bias", (50, 10))):
        value = draw(name, shape, generator(0))
        assert 0.099 < value.abs().max() <= 0.1
        assert abs(value.mean()) < 0.01
    bias = draw("1.input.bias", (3, 400), generator(0)).view(3, 4, units)
    torch.testing.assert_close(bias.mean((0, 2)), torch.tensor([0.0, 1.0, 0.0, 0.0]), atol=0.02, rtol=0)
    assert (bias[:, 1] - 1).abs().max() <= 0.1


def test_gauss_newton_products_are_the_explicit_matrix(double):
    model = reader()
    params, batch = drawn(model)
    point = Point(model, softmax_cross_entropy, params, batch)
    matrix = matrix_of(point.ggn, point.params)
    torch.testing.assert_close(matrix, explicit(point), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(matrix, matrix.mT)


def test_its_products_are_recorded_and_serve_other_numbers(double):
    model = reader()
    recorded = Linearizer(model)
    for seed in range(2):
        params, batch = drawn(model, seed)
        v = {name: normal(value.shape, generator(seed, "v")) for name, value in params.items()}
        one, other = recorded(params, batch.inputs), linearized(model, params, batch.inputs)
        torch.testing.assert_close(one.push(v), other.push(v))
        torch.testing.assert_close(one.pull(one.outputs), other.pull(one.outputs))
    assert None not in recorded._programs.values()
    layout = in_turn(params)
    theta = layout.pack(params)
    *_, gradient = RecordedLoss(model, softmax_cross_entropy).gradient(layout, theta, *batch[:2])(theta, *batch[:2])
    torch.testing.assert_close(layout.unpack(gradient), Point(model, softmax_cross_entropy, params, batch).grad)


def test_curvature_by_layers_is_refused_since_a_weight_serves_at_every_step():
    model = reader()
    params, batch = drawn(model)
    with pytest.raises(UsageError, match=r"1.hidden \(Linear\) is called twice in a pass.*use hessian_free"):
        Point(model, softmax_cross_entropy, params, batch).layers(generator(0))


def test_what_is_out_of_range_is_explained():
    with pytest.raises(UsageError, match="every width must be at least 1"):
        image_task("recurrent.RowReader", units=0)


def test_it_learns_digits():
    """A few steps of Adam bring the loss below that of an even guess, ln 10."""
    task = image_task("recurrent.RowReader", units=16, examples=64)
    params = {name: value.requires_grad_() for name, value in task.model.init(1, generator(0)).items()}
    rule, losses = torch.optim.Adam(params.values(), 0.03), []
    for batch in map(task.sample(1, 0, Phase.META_TRAIN).batch, range(60)):
        loss = task.loss(task.model(params, batch.inputs), batch.targets).sum()
        rule.zero_grad()
        loss.backward()
        rule.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 1.2 < sum(losses[:5]) / 5
