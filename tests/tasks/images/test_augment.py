"""Random changes of images against slicing by hand, and scales against their definitions."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.tasks.images.augment import augmented, draw_frames, middle_frames, rescale_


def numbered(count=200, channels=3, height=8, width=16):
    """Images whose pixels all differ, none 0."""
    values = 1 + torch.arange(channels * height * width, dtype=torch.float32)
    return values.view(1, channels, height, width).expand(count, -1, -1, -1)


def test_a_shifted_image_is_a_crop_of_the_padded_one():
    """Every shift and flip occurs, and nothing else."""
    images = numbered()
    padded = torch.nn.functional.pad(images[0], (2, 2, 1, 1))
    possible = {
        (top, left, flip): padded[:, top : top + 8, left : left + 16].flip(-1 if flip else ())
        for top in range(3)
        for left in range(5)
        for flip in (False, True)
    }
    seen = set()
    for image in augmented(images, "cifar", generator(0)):
        (which,) = [key for key, wanted in possible.items() if torch.equal(image, wanted)]
        seen.add(which)
    assert seen == set(possible)


@pytest.mark.parametrize("how", ["cifar", "imagenet"])
def test_changes_are_a_pure_function_of_the_generator(how):
    images = numbered(4).to(torch.uint8)
    first, again, other = (augmented(images, how, generator(seed)) for seed in (0, 0, 1))
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(augmented(images, "none", generator(0)), images)


def test_a_zoomed_image_is_a_part_of_the_whole():
    """Of an image that is its own coordinates: the crop's slope is the zoom, its range is inside, flips turn it."""
    side = 32
    line = (torch.arange(side) + 0.5) / side
    image = torch.stack([line.expand(side, side), line[:, None].expand(side, side)])
    cropped = augmented(image.expand(300, -1, -1, -1), "imagenet", generator(0))
    frames = draw_frames(300, generator(0))
    inner = slice(2, -2)  # away from the edges, where there is nothing to interpolate with
    steps = (cropped[:, 0, 8, inner].diff(dim=-1) * side).mean(-1)
    torch.testing.assert_close(steps, (1 - 2 * frames[:, 3]) / frames[:, 0], rtol=1e-3, atol=0)
    torch.testing.assert_close(
        (cropped[:, 1, inner, 8].diff(dim=-1) * side).mean(-1), 1 / frames[:, 0], rtol=1e-3, atol=0
    )
    share = 1 / frames[:, 0]
    middle = cropped[:, 1, side // 2 - 1 : side // 2 + 1, 8].mean(-1)
    torch.testing.assert_close(middle, frames[:, 1] * (1 - share) + share / 2, rtol=0, atol=1e-4)
    assert 0 <= cropped.min()
    assert cropped.max() <= 1


def test_frames_cover_their_ranges_and_the_middle_is_one_of_them():
    frames = draw_frames(2000, generator(0))
    zoom, down, right, flip = frames.T
    assert 8 / 7 <= zoom.min() < 1.16 < 2.27 < zoom.max() <= 16 / 7
    assert all(0 <= place.min() < 0.01 < 0.99 < place.max() <= 1 for place in (down, right))
    assert set(flip.tolist()) == {0.0, 1.0}
    torch.testing.assert_close(middle_frames(2)[1], torch.tensor([8 / 7, 0.5, 0.5, 0.0]))


def test_scales_are_what_they_say():
    images = torch.randint(256, (5, 3, 4, 6)).float()
    torch.testing.assert_close(rescale_(images.clone(), "none"), images / 255)
    each = rescale_(images.clone(), "image")
    torch.testing.assert_close(each.mean((1, 2, 3)), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(each.flatten(1).std(1, correction=0), torch.ones(5))
    colour = torch.tensor([123.68, 116.78, 103.94])
    torch.testing.assert_close(rescale_(images.clone(), "channels")[2, :, 1, 1], images[2, :, 1, 1] - colour)
    assert rescale_(torch.full((1, 3, 4, 4), 7.0), "image").eq(0).all()
