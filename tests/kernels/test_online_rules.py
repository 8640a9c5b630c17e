"""The compiled rules against the reference learners: gradients by autograd, online moves by loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.kernels.seeds import lstm1997, recurrent
from l2l_cli.kernels.seeds.layers import BATCH, ONLINE, SEQUENCE, EpochData
from l2l_cli.kernels.simd.registers import lanes_of
from l2l_cli.learners.logistic_network import Recurrent
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.tasks.functions import SemiLinear
from tests.cases import one_in

STEPS, SEQUENCES, RATE = 9, 3, 0.3


def lstm(seed, second=3):
    return LSTM1997(SemiLinear(), hidden=2, cells=3, second=second, spread=0.9, initial_seed=seed)


def hidden_layer(seed, hidden=5):
    return Recurrent(SemiLinear(), hidden=hidden, spread=1.5, initial_seed=seed)


def sequences(learner, seed):
    batches = learner.task.sample(SEQUENCES, seed, Phase.TUNE).batches(0, STEPS)
    return batches.inputs.squeeze(2), batches.targets.flatten(2).squeeze(2)  # (T, N, 2), (T, N)


def names(net):
    return ("first", "second", "readout") if hasattr(net, "second") else ("first", "readout")


def run(module, sizes, learners, mode, lanes=8, half=False):
    """Present all sequences to one learner per lane; return the errors (N, L) and the net."""
    net = module.network(sizes, lanes, np.float64, mode == ONLINE)
    for name, (_, sources) in zip(names(net), sizes.shapes, strict=True):
        for lane, learner in enumerate(learners):
            getattr(net, name)[:, :sources, lane] = getattr(learner, name).detach().numpy()
    if mode == ONLINE:
        net.rate[:] = -RATE
    drawn = [sequences(learner, seed) for seed, learner in enumerate(learners)]
    inputs, targets = np.zeros((SEQUENCES, STEPS, 2, lanes)), np.zeros((SEQUENCES, STEPS, lanes))
    for lane, (x, y) in enumerate(drawn):
        inputs[..., lane], targets[..., lane] = x.transpose(0, 1).numpy(), y.T.numpy()
    errors = np.zeros((SEQUENCES, lanes))
    data = EpochData(inputs, targets, np.full((1, lanes), -RATE), mode, half, errors)
    module.epoch(net, sizes, data, lanes_of(lanes, float))
    return net, errors


def read(net, lane, sizes, suffix=""):
    return {
        name: torch.as_tensor(getattr(net, name + suffix)[:, :sources, lane].copy())
        for name, (_, sources) in zip(names(net), sizes.shapes, strict=True)
    }


def gradient(learner, inputs, targets, depth=None):
    """Of the sum of squared errors over one sequence (T, 1, 2); ``depth`` cuts each step's error after k steps."""
    values = dict(learner.named_parameters())
    state = learner.init(inputs.shape[1], generator(0))
    past, loss = [state], torch.zeros(())
    for x, y in zip(inputs, targets, strict=True):
        state, answer = learner.advance(state, x)
        if depth is not None:  # once more from k steps ago, whose activations count as data
            begin = past[-depth:][0]
            replay = type(begin)(*(value.detach() for value in begin))
            first = len(past) - len(past[-depth:])
            for t in range(first, len(past)):
                replay, answer = learner.advance(replay, inputs[t])
                replay = replay._replace(previous=targets[t][:, None])
        loss = loss + (answer.squeeze(1) - y).square().sum()
        state = state._replace(previous=y[:, None])
        past.append(state)
    grads = torch.autograd.grad(loss, tuple(values.values()), materialize_grads=True)
    return loss, dict(zip(values, grads, strict=True))


@pytest.mark.parametrize(("second", "lanes"), one_in(2, [0, 3], [1, 8]))
def test_the_truncated_rule_is_the_reference_learners_gradient(double, second, lanes):
    learners = [lstm(seed, second) for seed in range(lanes)]
    sizes = lstm1997.LSTM1997Sizes(2, 3, second, 3)
    net, errors = run(lstm1997, sizes, learners, BATCH, lanes)
    for lane, learner in enumerate(learners):
        loss, expected = gradient(learner, *sequences(learner, lane))
        assert errors[:, lane].sum() == pytest.approx(loss.item(), rel=1e-12)
        torch.testing.assert_close(read(net, lane, sizes, "_sink"), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("sizes", "lanes"), one_in(3, [(0, 5), (0, 12), (1, 5), (2, 5), (3, 9)], [1, 8]))
def test_rtrl_and_truncated_bptt_are_the_reference_learners_gradients(double, sizes, lanes):
    depth, hidden = sizes
    learners = [hidden_layer(seed, hidden) for seed in range(lanes)]
    sizes = recurrent.RecurrentSizes(hidden, 3, depth)
    net, errors = run(recurrent, sizes, learners, BATCH, lanes)
    for lane, learner in enumerate(learners):
        loss, expected = gradient(learner, *sequences(learner, lane), depth=depth or None)
        assert errors[:, lane].sum() == pytest.approx(loss.item(), rel=1e-12)
        torch.testing.assert_close(read(net, lane, sizes, "_sink"), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("half", [False, True])
def test_after_each_sequence_the_weights_descend_its_gradient(double, half):
    learners = [lstm(seed) for seed in range(8)]
    sizes = lstm1997.LSTM1997Sizes(2, 3, 3, 3)
    net, errors = run(lstm1997, sizes, learners, SEQUENCE, half=half)
    for lane, learner in enumerate(learners):
        inputs, targets = sequences(learner, lane)
        for n in range(SEQUENCES):
            loss, grads = gradient(learner, inputs[:, n : n + 1], targets[:, n : n + 1])
            assert errors[n, lane] == pytest.approx(loss.item(), rel=1e-12)
            with torch.no_grad():
                for name, value in learner.named_parameters():
                    value -= RATE * (0.5 if half else 1.0) * grads[name]
        expected = {name: value.detach() for name, value in learner.named_parameters()}
        torch.testing.assert_close(read(net, lane, sizes), expected, rtol=1e-10, atol=1e-12)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def online_lstm(learner, inputs, targets):
    """The rule of 1997 step by step, one layer: the traces go on while the weights under them move."""
    first, readout = (value.detach().numpy().copy() for value in (learner.first, learner.readout))
    hidden, cells = learner.hidden, learner.cells
    units = len(first)
    content, into, out = (slice(hidden + k * cells, hidden + (k + 1) * cells) for k in range(3))
    for n in range(SEQUENCES):
        y, state, previous = np.zeros(units), np.zeros(cells), 0.0
        of_cell, of_gate = np.zeros((2, cells, first.shape[1]))
        for t in range(STEPS):
            source = np.concatenate([inputs[t, n], [previous, 1.0], y])
            raw = logistic(first @ source)
            g = 4 * raw[content] - 2
            state = state + raw[into] * g
            h = 2 * logistic(state) - 1
            y = raw.copy()
            y[content] = raw[out] * h
            read = np.append(y, 1.0)
            answer = logistic(readout[0] @ read)
            delta = 2 * (answer - targets[t, n]) * answer * (1 - answer)
            error = delta * readout[0, :units]
            slope = raw * (1 - raw)
            of_cell = of_cell + np.outer(4 * slope[content] * raw[into], source)
            of_gate = of_gate + np.outer(g * slope[into], source)
            of_state = error[content] * raw[out] * (1 - h**2) / 2
            grad = np.outer(error * slope, source)
            grad[content] = of_state[:, None] * of_cell
            grad[into] += of_state[:, None] * of_gate
            grad[out] = np.outer((error[out] + error[content] * h) * slope[out], source)
            first -= RATE * grad
            readout[0] -= RATE * delta * read
            previous = targets[t, n]
    return {"first": first, "second": np.zeros((0, units + 1)), "readout": readout}


def online_hidden_layer(learner, inputs, targets, depth):
    """RTRL (depth 0) or BPTT(k), with a move after every step."""
    first, readout = (value.detach().numpy().copy() for value in (learner.first, learner.readout))
    units, width = first.shape
    for n in range(SEQUENCES):
        y, previous, trace, past = np.zeros(units), 0.0, np.zeros((units, units, width)), []
        for t in range(STEPS):
            source = np.concatenate([inputs[t, n], [previous, 1.0], y])
            y = logistic(first @ source)
            past.append((source, y))
            read = np.append(y, 1.0)
            answer = logistic(readout[0] @ read)
            delta = 2 * (answer - targets[t, n]) * answer * (1 - answer)
            recurrent_weights = first[:, width - units :]
            if depth == 0:
                direct = np.einsum("ki,j->kij", np.eye(units), source)
                trace = (y * (1 - y))[:, None, None] * (np.tensordot(recurrent_weights, trace, 1) + direct)
                grad = np.tensordot(delta * readout[0, :units], trace, 1)
            else:
                grad, error = np.zeros_like(first), delta * readout[0, :units]
                for old_source, old_y in past[: -depth - 1 : -1]:
                    local = error * old_y * (1 - old_y)
                    grad += np.outer(local, old_source)
                    error = recurrent_weights.T @ local
            first -= RATE * grad
            readout[0] -= RATE * delta * read
            previous = targets[t, n]
    return {"first": first, "readout": readout}


def test_online_the_weights_move_under_the_traces(double):
    learners = [lstm(seed, second=0) for seed in range(8)]
    sizes = lstm1997.LSTM1997Sizes(2, 3, 0, 3)
    net, _ = run(lstm1997, sizes, learners, ONLINE)
    for lane, learner in enumerate(learners):
        expected = online_lstm(learner, *(value.numpy() for value in sequences(learner, lane)))
        for name, value in read(net, lane, sizes).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_online_rtrl_and_bptt_are_their_equations(double, depth):
    learners = [hidden_layer(seed) for seed in range(8)]
    sizes = recurrent.RecurrentSizes(5, 3, depth)
    net, _ = run(recurrent, sizes, learners, ONLINE)
    for lane, learner in enumerate(learners):
        expected = online_hidden_layer(learner, *(value.numpy() for value in sequences(learner, lane)), depth)
        for name, value in read(net, lane, sizes).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-10, atol=1e-12)
