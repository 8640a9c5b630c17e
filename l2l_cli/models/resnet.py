"""Residual networks with full pre-activation, as modules to be wrapped by ``models.model.Model``.

Source: He et al. 2016, "Identity mappings in deep residual networks"; sizes, projections and the draw of θ₀ as in
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


class PreActivation(nn.Module):
    """x ↦ shortcut + convolutions without biases, each after normalisation and ReLU.

    Args:
        before: Channels of the inputs.
        layers: Channels, width of the window and stride of each convolution.
        projects: Whether the shortcut is a 1 × 1 convolution of the first ReLU's output; else it is x itself.
    """

    def __init__(self, before: int, layers: Sequence[tuple[int, int, int]], projects: bool) -> None:
        super().__init__()
        self.norm1 = norm(before)
        stride = math.prod(stride for _, _, stride in layers)
        self.project = nn.Conv2d(before, layers[-1][0], 1, stride, bias=False) if projects else None
        self._pairs: list[tuple[str, str]] = []
        for number, (channels, width, stride) in enumerate(layers, 1):
            self._pairs.append((f"norm{number}", f"conv{number}"))
            if number > 1:
                self.add_module(f"norm{number}", norm(before))
            convolution = nn.Conv2d(before, channels, width, stride, padding=width // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            before = channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, channels, ...) of inputs (N, before, height, width)."""
        residual, shortcut = inputs, inputs
        for norm_name, name in self._pairs:
            entry = functional.relu(self.get_submodule(norm_name)(residual))
            if residual is inputs and self.project is not None:
                shortcut = self.project(entry)
            residual = self.get_submodule(name)(entry)
        return shortcut + residual


class ResidualBlock(PreActivation):
    """Two 3 × 3 convolutions with ``channels`` outputs; the first one and the projection have the stride."""

    def __init__(self, before: int, channels: int, stride: int, projects: bool) -> None:
        super().__init__(before, [(channels, 3, stride), (channels, 3, 1)], projects)


class Bottleneck(PreActivation):
    """Convolutions 1 × 1 and 3 × 3 (with the stride) to ``channels``, then 1 × 1 to ``WIDENING`` times as many."""

    def __init__(self, before: int, channels: int, stride: int, projects: bool) -> None:
        super().__init__(before, [(channels, 1, 1), (channels, 3, stride), (WIDENING * channels, 1, 1)], projects)


class GlobalMean(nn.Module):
    """Averages each channel over height and width."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, channels) of (N, channels, height, width)."""
        return inputs.mean((2, 3))


def norm(channels: int) -> BatchNorm:
    """Return a normalisation by the current batch, with scale γ and offset β.

    Deviation: there are no running means; a held-out batch is normalised by its own statistics.  The paper's curves are
    training losses, which never use them.
    """
    return BatchNorm(channels, scale=True, epsilon=EPSILON)


def resnet(
    inputs: int, stem: Stem, channels: Sequence[int], blocks: Sequence[int], outputs: int, bottleneck: bool = False
) -> nn.Sequential:
    """Build a residual network for images of any height and width and with ``inputs`` channels; see ``ResNet``.

    The stem is a 3 × 3 convolution ("cifar"), or one of 7 × 7 and 3 × 3 max-pooling, each of stride 2 ("imagenet"); it
    has as many channels as the first stage.  The first block of each stage projects its shortcut and, in every stage
    but the first, halves height and width.  Normalisation, ReLU, the mean over all pixels and a dense layer follow.

    Raises:
        ValueError: A number is below 1, or channels and blocks are empty or differ in length.
    """
    if not channels or len(channels) != len(blocks):
        raise ValueError(f"channels and blocks must have one entry per stage, not {list(channels)} and {list(blocks)}")
    if min(inputs, outputs, *channels, *blocks) < 1:
        raise ValueError(f"channels and blocks must be at least 1, not {list(channels)} and {list(blocks)}")
    before = channels[0]
    layers: list[nn.Module] = [ChannelsLast()]
    if stem == "cifar":
        layers.append(nn.Conv2d(inputs, before, 3, padding=1, bias=False))
    else:  # max-pooling pads only below and to the right, as TensorFlow does
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

    Filters (E, out, in, height, width) are drawn from a normal distribution truncated at two standard deviations, the
    dense layer's weights by ``glorot``; its biases and the offsets are 0, the scales 1.
    """
    if name.endswith("scale"):
        return torch.ones(shape)
    if len(shape) == 5:
        return truncated_normal(shape, rng, math.prod(shape[2:]) ** -0.5)
    return glorot(name, shape, rng)


@dataclass(frozen=True)
class ResNet(Architecture):
    """A residual network with full pre-activation, by default the one for CIFAR-10 with 272 538 parameters.

    Args:
        stem: Layers before the first stage: "cifar", a 3 × 3 convolution, or "imagenet", which reduces height and width
            to a quarter.
        channels: Channels of each stage; 16, 32, 64 or 64, 128, 256, 512.
        blocks: Number of blocks of each stage; 3, 3, 3 or 2, 2, 2, 2, with bottlenecks 3, 4, 6, 3.
        bottleneck: Whether blocks have three convolutions, the first two of them narrow, as in ResNet-50 and larger.
        recompute: Whether only the inputs of blocks are kept, which saves memory and takes one more forward pass for
            each gradient or Jacobian product.
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
