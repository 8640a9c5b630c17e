"""The networks of MLHF as kernels, against the reference under automatic differentiation."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import NUMBA, REFERENCE, Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.type_rnns import ParameterTypeRNNs, States
from tests.cases import KINDS, one_in
from tests.image_tasks import digits_mlp

SPANS = {"conv_weight": slice(0, 130), "conv_bias": slice(130, 133), "dense_weight": slice(133, 197)}


def networks(inputs, hidden, layers):
    found = ParameterTypeRNNs(KINDS, inputs, hidden, layers, 0)
    with torch.no_grad():  # all weights and biases matter
        for index, value in enumerate(found.parameters()):
            value += normal(tuple(value.shape), generator(index), 0.5)
    return found


def steps(rnns, inputs, episodes, compiled, count=3):
    """Numbers of some steps whose features depend on the numbers before, and the gradients of all that there is."""
    size = (episodes, 197)
    features = normal((inputs, *size), generator(1)).requires_grad_()
    start = [0.3 * normal((*rnns._shape, *size), generator(seed)) for seed in (2, 3)]
    for value in start:
        value.requires_grad_()
    states, shown, found = States(*start), features, []
    for _ in range(count):
        values, states = rnns(shown, states, SPANS, compiled)
        found.append(values)
        shown = features + values.log()
    weights = [value for kind in SPANS for value in rnns.kinds[kind].parameters()]
    objective = sum((part * normal(tuple(part.shape), generator(4))).sum() for part in (*found, *states))
    return [*found, *states], torch.autograd.grad(objective, [features, *start, *weights])


@pytest.mark.parametrize(("sizes", "episodes"), one_in(2, [(3, 4, 2), (6, 4, 2), (5, 3, 1), (3, 5, 3)], [1, 2]))
def test_numbers_states_and_gradients_are_the_references(sizes, episodes, threads, double):
    inputs, hidden, layers = sizes
    rnns = networks(inputs, hidden, layers)
    found, wanted = (steps(rnns, inputs, episodes, compiled) for compiled in (True, False))
    for one, other in zip((*found[0], *found[1]), (*wanted[0], *wanted[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def test_single_precision_is_within_its_digits():
    rnns = networks(3, 4, 2)
    with torch.no_grad():  # numbers from 10⁻¹² to 30
        for bias, kind in zip((-27.0, 0.0, 30.0), SPANS, strict=True):
            rnns.kinds[kind].head.bias.fill_(bias)
    found, wanted = (steps(rnns, 3, 1, compiled, 1) for compiled in (True, False))
    torch.testing.assert_close(found[0][0], wanted[0][0], rtol=1e-5, atol=0.0)
    for one, other in zip(found[0][1:], wanted[0][1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(found[1], wanted[1], strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm()


def test_the_learner_says_which_path_its_networks_take():
    task = digits_mlp(hidden=[3], examples=5, start=0.3, pool=4)
    batch, found = task.sample(1, 0, Phase.TUNE).batch(0), []
    for paths in (Paths(True), Paths(False)):
        learner = Descent(task, MLHF(pace="learned", paths=paths), paths=paths)
        assert learner.path == learner.rule.path == (NUMBA if paths.compiled else REFERENCE)
        found.append(learner.step(learner.init(1, generator(0)), batch)[0].memory)
    for one, other in zip(found[0].damping + found[0].pace, found[1].damping + found[1].pace, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
