"""XOR of two half-planes: the law of the data, and what is hidden."""

from __future__ import annotations

import math

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.tasks.base import FLOOR, binary_cross_entropy
from l2l_cli.tasks.halfplanes import Halfplanes

BASE = Halfplanes()


@pytest.fixture(scope="module")
def many():
    return BASE.sample(400, 0, Phase.TEST).batches(0, 200)


def test_inputs_are_standardised_in_each_data_set(many):
    torch.testing.assert_close(many.inputs.mean(0), torch.zeros(400, 1, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(many.inputs.std(0, correction=0), torch.ones(400, 1, 4), rtol=0, atol=1e-5)


def test_the_rarer_class_has_its_share(many):
    share = many.targets.mean((0, 2, 3))
    assert torch.minimum(share, 1 - share).min() >= 0.15
    assert share.std() > 0.1  # data sets differ


def test_the_training_part_comes_first_and_its_share_is_uniform(many):
    shown = many.shown
    assert (shown[1:] <= shown[:-1]).all()
    counts = shown.sum(0)
    assert counts.min() >= 20
    assert counts.max() <= 180
    assert abs(counts.mean() - 100) < 4 * 46 / math.sqrt(400)


def test_a_fixed_share_changes_nothing_else():
    episodes = [Halfplanes(share=[share, share]).sample(20, 3, Phase.TEST).batches(0, 200) for share in (0.2, 0.7)]
    assert torch.equal(episodes[0].inputs, episodes[1].inputs)
    assert [episode.shown.sum(0).unique().tolist() for episode in episodes] == [[40.0], [140.0]]


def test_interleaved_parts_are_mixed():
    shown = Halfplanes(interleaved=True).sample(50, 0, Phase.TEST).batches(0, 200).shown
    assert (shown[1:] > shown[:-1]).any(0).all()
    assert abs(shown[:100].mean() - shown[100:].mean()) < 0.05


@pytest.mark.usefixtures("double")
def test_labels_are_the_xor_of_two_half_planes():
    for labels in ("clean", "noisy"):
        task = Halfplanes(noise=0.0, labels=labels, minority=0.0)
        rng = generator(0)
        laws = task._draw_laws(5, 0.0, rng)
        inputs, targets = task.draw_samples(laws, None, 5, rng)
        for e in range(5):
            sides = inputs[:, e] @ laws.maps[e].T > laws.thresholds[e]
            assert torch.equal(targets[:, e].bool(), sides[:, 0] != sides[:, 1])


def test_inputs_have_the_covariance_and_the_noise_of_their_laws():
    task = Halfplanes(dimension=2, samples=20000)
    rng = generator(1)
    laws = task._draw_laws(3, 0.6, rng)
    inputs, _ = task.draw_samples(laws, None, 3, rng)
    for e in range(3):
        wanted = laws.mixing[e] @ laws.mixing[e].T + torch.diag(laws.noise[e].square())
        torch.testing.assert_close(torch.cov(inputs[:, e].T), wanted, rtol=0.05, atol=0.03)


def test_noise_is_a_hierarchy_of_exponentials():
    variance = BASE._draw_laws(200000, 0.6, generator(0)).noise.square()
    assert abs(variance.mean() - 0.6) < 0.01
    assert abs(variance.square().mean() - 4 * 0.6**2) < 0.1  # E v² = E 2λ² = 4 μ²
    assert abs((variance[:, 0] * variance[:, 1]).mean() - 2 * 0.6**2) < 0.05  # one λ a data set: E λ² = 2 μ²


def test_noise_of_meta_training_may_differ():
    task = Halfplanes(noise=0.3, meta_noise=3.0)
    means = {phase: task.sample(300, 0, phase).laws.noise.square().mean() for phase in Phase}
    assert means[Phase.META_TRAIN] > 2.0 < means[Phase.META_VALID]
    assert means[Phase.TUNE] < 0.5 > means[Phase.TEST]


def test_a_fixed_training_set_is_picked_from():
    task = Halfplanes(samples=20, data_sets=4)
    whole = task.training_set()
    assert whole is not None
    known = whole.batches(0, 50)
    picked = task.sample(30, 5, Phase.META_TRAIN).batches(0, 50)
    for e in range(30):
        found = [k for k in range(4) if torch.equal(known.inputs[:, k], picked.inputs[:, e])]
        assert len(found) == 1
        assert torch.equal(known.shown[:, found[0]], picked.shown[:, e])
        assert torch.equal(known.targets[:, found[0]], picked.targets[:, e])


def test_what_lies_beyond_is_held_out_and_drawn_alike():
    task = Halfplanes(samples=2000)
    beyond = task.sample(2, 0, Phase.TEST).batches(2000, 4000)
    assert not beyond.shown.any()
    torch.testing.assert_close(beyond.inputs.mean(0), torch.zeros(2, 1, 4), rtol=0, atol=0.12)
    torch.testing.assert_close(beyond.inputs.std(0), torch.ones(2, 1, 4), rtol=0, atol=0.1)


def test_cross_entropy_is_finite_and_has_a_slope_where_a_sigmoid_has_rounded():
    logits = torch.tensor([[-80.0], [0.0], [5.0], [80.0]], requires_grad=True)
    losses = binary_cross_entropy(torch.sigmoid(logits), torch.tensor([[1.0], [0.0], [1.0], [0.0]]))
    highest, plain = -math.log(FLOOR), [math.log(2), math.log1p(math.exp(-5))]
    assert losses.tolist() == pytest.approx([highest, *plain, highest], rel=1e-3)
    losses.sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dimension": 0}, "dimension"),
        ({"samples": 1}, "samples"),
        ({"share": [0.0, 0.5]}, "share"),
        ({"share": [0.6, 0.5]}, "share"),
        ({"minority": 0.5}, "minority"),
        ({"noise": -1.0}, "noise"),
        ({"labels": "dirty"}, "labels"),
        ({"data_sets": 0}, "data_sets"),
    ],
)
def test_ranges_are_checked(arguments, says):
    with pytest.raises(ValueError, match=says):
        Halfplanes(**arguments)


def test_a_minority_out_of_reach_is_said():
    with pytest.raises(ValueError, match="lower task"):
        Halfplanes(samples=40, thresholds=50.0, minority=0.45).sample(4, 0, Phase.TEST)
