"""Augmentation and scaling of images: random shifts, sizes and flips, and a common scale of pixel values.

Sources: He et al. 2016, §4.2 (CIFAR-10: 4 pixels of padding, a random crop, a flip); Simonyan and Zisserman 2015, §3.1
(ImageNet: the shorter side resized to 256 … 512, a random crop of 224, a flip, the mean colour subtracted).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

Augment = Literal["none", "cifar", "imagenet"]
Standardise = Literal["none", "image", "channels"]

PADDING = 8
"""Pixels of height or width for each pixel of padding: this gives 4 for CIFAR's 32, fewer where images are pooled."""

ZOOM = (256 / 224, 512 / 224)
"""Smallest and largest ratio of an image's shorter side to the side of the crop."""

MEAN_COLOUR = (123.68, 116.78, 103.94)
"""Mean over ImageNet's images: red, green, blue, from 0 to 255."""


def augmented(images: Tensor, how: Augment, rng: Generator) -> Tensor:
    """Return images (n, channels, height, width), each changed by its own draws.

    "cifar" pads with zeros, crops and flips; "imagenet" resizes by a factor of 8/7 … 16/7, crops and flips.
    """
    if how == "none":
        return images
    if how == "cifar":
        return shifted(images, draw_shifts(images.shape, rng).to(images.device))
    return _zoomed(images, draw_frames(len(images), rng).to(images.device))


def draw_shifts(shape: Sequence[int], rng: Generator) -> Tensor:
    """Draw how "cifar" changes each of (n, channels, height, width) images, integers (3, n).

    The rows are the offsets down and to the right at which an image is read, in pixels, −1/8 … 1/8 of its height and
    width, and whether it is flipped, 0 or 1.
    """
    count, _, height, width = shape
    down, right = height // PADDING, width // PADDING
    top, left, flip = (
        torch.randint(high, (count,), generator=rng, device="cpu") for high in (2 * down + 1, 2 * right + 1, 2)
    )
    return torch.stack([top - down, left - right, flip])


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """Return images (n, channels, height, width), each read from a shifted place; see ``draw_shifts``.

    Pixels outside an image are 0.
    """
    count, channels, height, width = images.shape
    down, right = height // PADDING, width // PADDING
    padded = functional.pad(images, (right, right, down, down))
    top, left, flip = (shifts + shifts.new_tensor([down, right, 0])[:, None])[:, :, None]
    rows, columns = (torch.arange(length, device=images.device) for length in (height, width))
    columns = left + torch.where(flip > 0, columns.flip(0), columns)
    # One gather over flattened pixels takes a quarter of the time that an index for each axis takes.
    places = ((top + rows)[:, :, None] * padded.shape[-1] + columns[:, None, :]).view(count, 1, -1)
    return padded.flatten(2).gather(2, places.expand(-1, channels, -1)).view_as(images)


def _zoomed(images: Tensor, frames: Tensor) -> Tensor:
    share = 1 / frames[:, 0]  # side of the crop over the image's; the rest is the range of its middle:
    down, right = ((2 * frames[:, axis] - 1) * (1 - share) for axis in (1, 2))
    maps = frames.new_zeros(len(images), 2, 3)
    maps[:, 0, 0], maps[:, 0, 2] = share * (1 - 2 * frames[:, 3]), right
    maps[:, 1, 1], maps[:, 1, 2] = share, down
    values = images.to(maps.dtype)
    grid = functional.affine_grid(maps, list(values.shape), align_corners=False)
    return functional.grid_sample(values, grid, padding_mode="border", align_corners=False)


def draw_frames(count: int, rng: Generator) -> Tensor:
    """Draw the crop that "imagenet" takes of each image, (n, 4).

    A row holds the image's shorter side over the crop's, the crop's position from top to bottom and from left to right,
    0 … 1 each, and whether it is flipped, 0 or 1.
    """
    low, high = ZOOM
    zoom, down, right = torch.rand(3, count, generator=rng, device="cpu")
    flip = torch.randint(2, (count,), generator=rng, device="cpu").to(zoom.dtype)
    return torch.stack([low + (high - low) * zoom, down, right, flip], 1)


def middle_frames(count: int) -> Tensor:
    """Return a crop of each image that is not random, (n, 4): the middle, at the smallest zoom."""
    return torch.tensor([ZOOM[0], 0.5, 0.5, 0.0], device="cpu").expand(count, -1)


def rescale_(images: Tensor, how: Standardise) -> Tensor:
    """Scale images (n, channels, height, width) with values from 0 to 255 for a network, in place.

    "none" gives 0 … 1; "image" gives each image mean 0 and standard deviation 1 over all its values;
    "channels" subtracts ImageNet's mean colour and keeps the scale.
    """
    if how == "none":
        return images.div_(255.0)
    if how == "channels":  # an image with the same memory layout takes a third of the time
        return images.sub_(torch.empty_like(images[0]).copy_(images.new_tensor(MEAN_COLOUR).view(3, 1, 1)))
    axes, share = (1, 2, 3), images[0].numel() ** -0.5
    images.sub_(images.mean(axes, keepdim=True))
    deviation = torch.linalg.vector_norm(images, dim=axes, keepdim=True) * share
    return images.div_(deviation.clamp(min=share))  # TensorFlow's floor, for images of one colour
