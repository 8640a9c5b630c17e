"""Minibatches copied in one pass equal those made of one operation after another."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.kernels.pixels import copy, copy_shifted
from l2l_cli.tasks.images.augment import draw_shifts, shifted

SHAPES = [(1, 8, 8), (3, 32, 32), (3, 16, 24), (2, 5, 7)]


def images(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.randint(256, (20, *shape), generator=generator(0)).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float64])
def test_chosen_images_are_those_of_an_index(shape, dtype, wanted):
    whole, rows = images(shape, dtype), torch.tensor([3, 3, 19, 0])
    out = torch.full((4, *shape), torch.nan, dtype=wanted)
    copy(whole, rows, out)
    assert torch.equal(out, whole[rows].to(wanted))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_shifted_images_are_those_of_the_reference(shape, dtype):
    whole, rows = images(shape, dtype), torch.randint(20, (200,), generator=generator(1))
    shifts = draw_shifts((200, *shape), generator(2))
    out = torch.full((200, *shape), torch.nan)
    copy_shifted(whole, rows, shifts, out)
    assert torch.equal(out, shifted(whole[rows], shifts).float())
    assert len(shifts.unique(dim=1).T) > (1 if min(shape[1:]) < 8 else 10)  # all kinds of shifts were met
