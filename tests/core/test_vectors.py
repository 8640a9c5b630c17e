"""Named parameters as vectors and back."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.vectors import choose, flattened, named, per_episode, stacked, unflattened, unstacked

PARAMS = {"weight": torch.arange(12.0).view(2, 2, 3), "scalar": torch.tensor([20.0, 21.0]), "bias": torch.ones(2, 1)}


def test_a_vector_holds_one_episode_in_the_order_of_the_names():
    vectors = stacked(PARAMS)
    assert vectors.tolist() == [[0, 1, 2, 3, 4, 5, 20, 1], [6, 7, 8, 9, 10, 11, 21, 1]]
    torch.testing.assert_close(unstacked(vectors, PARAMS), PARAMS, rtol=0, atol=0)


def test_one_vector_holds_one_tensor_after_another():
    vector = flattened(PARAMS)
    assert vector.tolist() == [*range(12), 20, 21, 1, 1]
    torch.testing.assert_close(unflattened(vector, PARAMS), PARAMS, rtol=0, atol=0)


def test_vectors_of_any_leading_shape_are_named():
    found = named(torch.arange(24.0).view(2, 3, 4), {"a": (3,), "b": ()})
    assert {name: tuple(value.shape) for name, value in found.items()} == {"a": (2, 3, 3), "b": (2, 3)}
    assert found["b"][1, 2] == 23


def test_shapes_that_do_not_fit_the_vector_are_refused():
    with pytest.raises(RuntimeError):
        named(torch.zeros(2, 5), {"a": (3,), "b": (4,)})


def test_vectors_of_a_transposed_matrix_are_unstacked():
    vectors = torch.arange(6.0).view(3, 2).mT
    assert torch.equal(unstacked(vectors, {"a": torch.zeros(2, 3, 1)})["a"], vectors[..., None])


def test_gradients_flow_both_ways():
    leaf = torch.arange(6.0).view(2, 3).requires_grad_()
    parts = unstacked(leaf, {"a": torch.zeros(2, 1), "b": torch.zeros(2, 2)})
    (stacked(parts) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[1, 2, 3]] * 2


def test_a_value_for_each_episode_broadcasts_over_the_episodes_numbers():
    values = torch.tensor([2.0, 3.0])
    assert per_episode(values, PARAMS["weight"]).shape == (2, 1, 1)
    assert torch.equal((per_episode(values, PARAMS["weight"]) * PARAMS["weight"])[1], 3 * PARAMS["weight"][1])


def test_a_mask_chooses_whole_episodes():
    kept = choose(torch.tensor([1.0, 0.0]), PARAMS["weight"], 0.0)
    assert torch.equal(kept[0], PARAMS["weight"][0])
    assert not kept[1].any()
    assert torch.equal(
        choose(torch.tensor([False, True]), -PARAMS["bias"], PARAMS["bias"])[:, 0], torch.tensor([1.0, -1.0])
    )
