"""Residual networks with full pre-activation, as modules to be wrapped by ``models.model.Model``.

Source: He et al. 2016, "Identity mappings in deep residual networks"; sizes, projections and the draw of θ_0 as in
TensorFlow's official models, on which the code of Chen and Lu 2018 is built.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from l2l_cli.core.random import truncated_normal
from l2l_cli.models.architecture import Architecture, ImageShape
from l2l_cli.models.convnet import BatchNorm, ChannelsLast
from l2l_cli.models.model import Model, glorot

Stem = Literal["cifar", "imagenet"]
EPSILON = 1e-5
"""Number that is added to the variance of a batch."""
WIDENING = 4
"""Output channels of a bottleneck for each channel of its 3 × 3 convolution."""


class ResidualBlock(nn.Module):
    """x ↦ shortcut + conv(relu(norm(conv(relu(norm(x)))))), 3 × 3 windows, no biases.

    Args:
        before: Channels of the inputs.
        channels: Channels of the outputs.
        stride: Stride of the first convolution and of the projection.
        projects: Whether the shortcut is a 1 × 1 convolution of the first ReLU's output; else it is x itself.
    """

    project: nn.Conv2d | None

    def __init__(self, before: int, channels: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.norm1 = norm(before)
        self.project = nn.Conv2d(before, channels, 1, stride, bias=False) if projects else None
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.norm2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, channels, ...) of inputs (N, before, height, width)."""
        entry = functional.relu(self.norm1(inputs))
        shortcut = inputs if self.project is None else self.project(entry)
        residual: Tensor = self.conv2(functional.relu(self.norm2(self.conv1(entry))))
        return shortcut + residual


class Bottleneck(nn.Module):
    """x ↦ shortcut + a 1 × 1, a 3 × 3 and a 1 × 1 convolution of four times the channels, after norm and ReLU each.

    Args:
        before: Channels of the inputs.
        channels: Channels of the two inner layers; the outputs have ``WIDENING`` times as many.
        stride: Stride of the second convolution and of the projection.
        projects: Whether the shortcut is a 1 × 1 convolution of the first ReLU's output; else it is x itself.
    """

    project: nn.Conv2d | None

    def __init__(self, before: int, channels: int, stride: int, projects: bool) -> None:
        super().__init__()
        after = WIDENING * channels
        self.norm1 = norm(before)
        self.project = nn.Conv2d(before, after, 1, stride, bias=False) if projects else None
        self.conv1 = nn.Conv2d(before, channels, 1, bias=False)
        self.norm2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.norm3 = norm(channels)
        self.conv3 = nn.Conv2d(channels, after, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, 4 · channels, ...) of inputs (N, before, height, width)."""
        entry = functional.relu(self.norm1(inputs))
        shortcut = inputs if self.project is None else self.project(entry)
        inner = functional.relu(self.norm2(self.conv1(entry)))
        residual: Tensor = self.conv3(functional.relu(self.norm3(self.conv2(inner))))
        return shortcut + residual


class GlobalMean(nn.Module):
    """Averages each channel over height and width."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, channels) of (N, channels, height, width)."""
        return inputs.mean((2, 3))


def norm(channels: int) -> BatchNorm:
    """Return a normalisation by the batch at hand, with scale γ and offset β.

    Deviation: there are no running means; a held-out batch is normalised by its own.  The paper's curves are training
    losses, which never use them.
    """
    return BatchNorm(channels, scale=True, epsilon=EPSILON)


def resnet(
    inputs: int, stem: Stem, channels: Sequence[int], blocks: Sequence[int], outputs: int, bottleneck: bool = False
) -> nn.Sequential:
    """Build a residual network for images of any height and width.

    The stem is a 3 × 3 convolution ("cifar"), or one of 7 × 7 and a maximum of 3 × 3, each of stride 2 ("imagenet");
    it has as many channels as the first stage.  The first block of each stage projects its shortcut, that of every
    stage but the first halves height and width.  Then normalisation, ReLU, mean over all pixels, dense layer.

    Args:
        inputs: Channels of an image.
        stem: Layers before the first stage, "cifar" or "imagenet".
        channels: Channels of each stage; 16, 32, 64 or 64, 128, 256, 512.
        blocks: Number of blocks of each stage; 3, 3, 3 or 2, 2, 2, 2, with bottlenecks 3, 4, 6, 3.
        outputs: Units of the last layer.
        bottleneck: Whether blocks are ``Bottleneck``s, as from 50 layers on.

    Raises:
        ValueError: A number is below 1, or channels and blocks are not of one length.
    """
    if not channels or len(channels) != len(blocks):
        raise ValueError(f"channels and blocks must have one entry a stage, not {list(channels)} and {list(blocks)}")
    if min(inputs, outputs, *channels, *blocks) < 1:
        raise ValueError(f"channels and blocks must be at least 1, not {list(channels)} and {list(blocks)}")
    before = channels[0]
    layers: list[nn.Module] = [ChannelsLast()]
    if stem == "cifar":
        layers.append(nn.Conv2d(inputs, before, 3, padding=1, bias=False))
    else:  # the maximum pads below and to the right alone, as TensorFlow does
        layers += [nn.Conv2d(inputs, before, 7, 2, padding=3, bias=False), nn.MaxPool2d(3, 2, ceil_mode=True)]
    kind = Bottleneck if bottleneck else ResidualBlock
    for stage, (width, depth) in enumerate(zip(channels, blocks, strict=True)):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(kind(before, width, stride, projects=not block))
            before = WIDENING * width if bottleneck else width
    return nn.Sequential(*layers, norm(before), nn.ReLU(), GlobalMean(), nn.Linear(before, outputs))


def resnet_weights(name: str, shape: tuple[int, ...], rng: Generator) -> Tensor:
    """Draw one of a ``resnet``'s parameters: the variance of a filter is one over its number of inputs.

    Filters (E, out, in, height, width) from a normal distribution cut at two standard deviations, the dense layer
    after Glorot, its biases and the offsets 0, the scales 1.
    """
    if name.endswith("scale"):
        return torch.ones(shape)
    if len(shape) == 5:
        return truncated_normal(shape, rng, math.prod(shape[2:]) ** -0.5)
    return glorot(name, shape, rng)


@dataclass(frozen=True)
class ResNet(Architecture):
    """A residual network with full pre-activation, as it stands the one of 272 538 parameters for CIFAR-10.

    Args:
        stem: Layers before the first stage: "cifar", a 3 × 3 convolution, or "imagenet", which leaves a quarter of the
            height and width.
        channels: Channels of each stage.
        blocks: Number of blocks of each stage.
        bottleneck: Whether blocks have three convolutions, the second of them narrow, as from 50 layers on.
        recompute: Whether only the inputs of blocks are kept: less memory, one forward pass more for a gradient or a
            Jacobian product.
    """

    normalises: ClassVar[bool] = True
    stem: Stem = "cifar"
    channels: Sequence[int] = (16, 32, 64)
    blocks: Sequence[int] = (3, 3, 3)
    bottleneck: bool = False
    recompute: bool = False

    def model(self, shape: ImageShape, outputs: int) -> Model:
        """Build the network; episodes are computed in turn."""
        network = resnet(shape[0], self.stem, self.channels, self.blocks, outputs, self.bottleneck)
        return Model(network, resnet_weights, in_turn=True, recompute=self.recompute)
