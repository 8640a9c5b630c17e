"""Training the convolutional networks on which MLHF was shown.

Source: Chen and Lu 2018, §4: a variant of CUDA-convnet and a small residual network, both on CIFAR-10; what the text
leaves out is their code's.
"""

from __future__ import annotations

from collections.abc import Sequence

from l2l_cli.core.types import Spec
from l2l_cli.models.convnet import convnet, cuda_convnet_weights
from l2l_cli.models.model import Model
from l2l_cli.models.resnet import Stem, resnet, resnet_weights
from l2l_cli.tasks.augment import Augment, Standardise
from l2l_cli.tasks.division import Division
from l2l_cli.tasks.images import Images
from l2l_cli.tasks.pictures import Size


class ImagesCudaConvNet(Images):
    """Classification by [convolution, 2 × 2 maximum, ReLU] …, dense layers with ReLUs, nothing normalised.

    As it stands it has 1 756 426 parameters on CIFAR-10; ``channels``, ``dense``, ``pool`` and ``images`` reduce it.

    Args:
        dataset: See ``Images``; so are the others below that are not explained.
        channels: Of each convolution.
        kernel: Height and width of a convolution's window.
        dense: Units of each dense layer before the last.
        examples: Pictures of a minibatch N; the paper's 128, but 64 to meta-train on.
        horizon: Optimization steps of an episode (ours).
        classes: Labels that are used.
        pool: Side of the windows of pixels that are averaged.
        size: Height and width of a folder's pictures.
        division: Which pictures each phase fits to.
        images: How many training pictures are used.
        augment: Random changes of the pictures that are learned from.
        augment_test: Also of test pictures.
        standardise: The scale of the inputs.
    """

    def __init__(
        self,
        dataset: str = "cifar10",
        channels: Sequence[int] = (64, 64),
        kernel: int = 5,
        dense: Sequence[int] = (384, 192),
        examples: int = 128,
        horizon: int = 1000,
        classes: Sequence[int] | None = None,
        pool: int = 1,
        size: Size | None = None,
        division: Division = "phases",
        images: int | None = None,
        augment: Augment = "cifar",
        augment_test: bool = False,
        standardise: Standardise = "picture",
    ) -> None:
        super().__init__(
            dataset, examples, horizon, classes, pool, size, division, images, augment, augment_test, standardise
        )
        network = convnet(self.shape, channels, kernel, dense, len(self.classes), normalised=False)
        self.model = Model(network, cuda_convnet_weights(network), in_turn=True)
        self.spec = Spec(inputs=self.shape, targets=(len(self.classes),), examples=examples)


class ImagesResNet(Images):
    """Classification by a residual network with full pre-activation.

    As it stands it has 272 538 parameters; ``channels`` and ``blocks`` make it wider and deeper, or less.

    Args:
        dataset: See ``Images``; so are the others below that are not explained.
        stem: "cifar", a 3 × 3 convolution, or "imagenet", which leaves a quarter of the height and width.
        channels: Of each stage.
        blocks: Of each stage.
        recompute: Keep what enters a block alone: less memory, one forward pass more for a gradient or a product.
        examples: Pictures of a minibatch N, at least 2: they are normalised together.
        horizon: Optimization steps of an episode (ours).
        classes: Labels that are used.
        pool: Side of the windows of pixels that are averaged.
        size: Height and width of a folder's pictures.
        division: Which pictures each phase fits to.
        images: How many training pictures are used.
        augment: Random changes of the pictures that are learned from.
        augment_test: Also of test pictures.
        standardise: The scale of the inputs.
    """

    def __init__(
        self,
        dataset: str = "cifar10",
        stem: Stem = "cifar",
        channels: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (3, 3, 3),
        recompute: bool = False,
        examples: int = 128,
        horizon: int = 1000,
        classes: Sequence[int] | None = None,
        pool: int = 1,
        size: Size | None = None,
        division: Division = "phases",
        images: int | None = None,
        augment: Augment = "cifar",
        augment_test: bool = False,
        standardise: Standardise = "picture",
    ) -> None:
        if examples < 2:
            raise ValueError(f"examples must be at least 2, since they are normalised together, not {examples}")
        super().__init__(
            dataset, examples, horizon, classes, pool, size, division, images, augment, augment_test, standardise
        )
        network = resnet(self.shape[0], stem, channels, blocks, len(self.classes))
        self.model = Model(network, resnet_weights, in_turn=True, recompute=recompute)
        self.spec = Spec(inputs=self.shape, targets=(len(self.classes),), examples=examples)
