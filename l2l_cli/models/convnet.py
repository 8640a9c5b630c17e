"""Small convolutional networks, with or without batch normalisation, to be wrapped by ``models.model.Model``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from l2l_cli.core.random import normal
from l2l_cli.models.architecture import Architecture, ImageShape
from l2l_cli.models.model import Initializer, Model, gaussian


class BatchNorm(nn.Module):
    """Normalises each channel by the mean and variance of the current batch, then adds a learned offset β.

    There are no running statistics: a held-out batch is normalised by its own statistics, too, so the network stays a
    pure function of its parameters and the batch.  Source: Ioffe and Szegedy 2015, algorithm 1.

    Args:
        channels: Number of channels of the inputs.
        scale: Whether a scale γ is learned, too; DeepMind's code has none.
        epsilon: Number that is added to the variance; 1e-3 in DeepMind's code.
    """

    scale: nn.Parameter | None

    def __init__(self, channels: int, scale: bool = False, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(channels))
        self.register_parameter("scale", nn.Parameter(torch.ones(channels)) if scale else None)
        self.epsilon = epsilon

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise (N, channels, ...)."""
        # Without a scale, torch has only first derivatives.
        scale = torch.ones_like(self.offset) if self.scale is None else self.scale
        return functional.batch_norm(inputs, None, None, scale, self.offset, training=True, eps=self.epsilon)


class ChannelsLast(nn.Module):
    """Stores images channels-last in memory, which reduces the time of torch's layers on a CPU to three quarters."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the same images (N, channels, height, width), rearranged in memory."""
        return inputs.movedim(1, -1).contiguous().movedim(-1, 1)


def convnet(
    shape: ImageShape,
    channels: Sequence[int],
    kernel: int,
    dense: Sequence[int],
    outputs: int,
    scale: bool = False,
    normalised: bool = True,
) -> nn.Sequential:
    """Build [convolution, normalisation, 2 × 2 max-pooling, ReLU] …, [dense, normalisation, ReLU] …, dense.

    Convolutions keep height and width; max-pooling halves them, rounding up.  Pooling before the ReLU gives the same
    result as pooling after it, and leaves the ReLU a quarter of the work.

    The arguments are those of ``ConvNet``; ``normalised`` says whether there are any normalisations.

    Raises:
        ValueError: A width is below 1, or the kernel is even.
    """
    if min(outputs, kernel, *shape, *channels, *dense) < 1:
        raise ValueError(f"every width must be at least 1, not {[*shape, *channels, *dense, outputs]}, kernel {kernel}")
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, so that a window has a middle, not {kernel}")
    before, height, width = shape
    layers: list[nn.Module] = [ChannelsLast()]
    for count in channels:
        convolution = nn.Conv2d(before, count, kernel, padding=kernel // 2)
        norm = [BatchNorm(count, scale)] if normalised else []
        layers += [convolution, *norm, nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()]
        before, height, width = count, -(-height // 2), -(-width // 2)
    layers.append(nn.Flatten())
    before *= height * width
    for units in dense:
        norm = [BatchNorm(units, scale)] if normalised else []
        layers += [nn.Linear(before, units), *norm, nn.ReLU()]
        before = units
    return nn.Sequential(*layers, nn.Linear(before, outputs))


def gaussian_weights(sigma: float) -> Initializer:
    """Return an initializer of a ``convnet``: weights and biases from N(0, σ²), offsets 0 and scales 1."""
    draw_weight = gaussian(sigma)

    def draw(name: str, shape: tuple[int, ...], rng: Generator) -> Tensor:
        fixed = {"offset": 0.0, "scale": 1.0}.get(name.rpartition(".")[2])
        return draw_weight(name, shape, rng) if fixed is None else torch.full(shape, fixed)

    return draw


def cuda_convnet_weights(network: nn.Sequential) -> Initializer:
    """Return an initializer of a ``convnet`` without normalisation, with Gaussian weights and constant biases.

    Convolutions have weights from N(0, 0.05²) and biases 0, dense layers N(0, 0.04²) and 0.1, and the last layer
    N(0, 1/n²) and 0, where n is its number of inputs.
    Source: Chen and Lu 2018, their code; n is 192 there.
    """
    rules: dict[str, tuple[float, float]] = {}
    for name, layer in network.named_children():
        if isinstance(layer, nn.Linear):
            rules[name] = (1 / layer.in_features, 0.0) if layer is network[-1] else (0.04, 0.1)
        else:
            rules[name] = (0.05, 0.0)

    def draw(name: str, shape: tuple[int, ...], rng: Generator) -> Tensor:
        layer, _, kind = name.partition(".")
        sigma, bias = rules[layer]
        return normal(shape, rng, sigma) if kind == "weight" else torch.full(shape, bias)

    return draw


@dataclass(frozen=True)
class ConvNet(Architecture):
    """Convolutions and dense layers, each normalised by the batch.

    Source: Andrychowicz et al. 2016, §3.3: three convolutions, 32 dense units; the other numbers are those of
    DeepMind's code.

    Args:
        channels: Output channels of each convolution.
        kernel: Height and width of a convolution's window, odd.
        dense: Units of each dense layer before the last.
        scale: Whether normalisations learn a scale γ besides their offset; they do not in DeepMind's code.
        start: Standard deviation of θ₀; the normalisations' offsets and scales start at 0 and 1.
    """

    normalises: ClassVar[bool] = True
    channels: Sequence[int] = (16, 16, 16)
    kernel: int = 5
    dense: Sequence[int] = (32,)
    scale: bool = False
    start: float = 0.01

    def model(self, shape: ImageShape, outputs: int) -> Model:
        """Build the network; on a CPU, episodes are computed in turn."""
        network = convnet(shape, self.channels, self.kernel, self.dense, outputs, self.scale)
        return Model(network, gaussian_weights(self.start), in_turn="cpu")


@dataclass(frozen=True)
class CudaConvNet(Architecture):
    """A variant of CUDA-convnet: convolutions and dense layers without normalisation, otherwise as ``ConvNet``.

    With these defaults it has 1 756 426 parameters on CIFAR-10.

    Source: Chen and Lu 2018, §4; what the text leaves out is as in their code.
    """

    channels: Sequence[int] = (64, 64)
    kernel: int = 5
    dense: Sequence[int] = (384, 192)

    def model(self, shape: ImageShape, outputs: int) -> Model:
        """Build the network, drawn layer by layer; see ``cuda_convnet_weights``."""
        network = convnet(shape, self.channels, self.kernel, self.dense, outputs, normalised=False)
        return Model(network, cuda_convnet_weights(network), in_turn=True)
