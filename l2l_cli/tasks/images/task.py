"""Training a small network on labelled pictures.

Source: Andrychowicz et al. 2016, §3.2 (MNIST: one hidden layer of 20 sigmoid units, cross-entropy, a random minibatch
of 128 pictures a step) and §3.3 (CIFAR-10: three convolutions and a dense layer, batch normalisation throughout).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch.nn import functional

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Batch, Phase, Spec, Split
from l2l_cli.models.convnet import convnet, gaussian_weights
from l2l_cli.models.mlp import Activation, mlp
from l2l_cli.models.model import Model, gaussian
from l2l_cli.tasks.augment import Augment, Standardise, augmented, rescale_
from l2l_cli.tasks.base import Classification, Episode
from l2l_cli.tasks.datasets import load, outline
from l2l_cli.tasks.division import Division, Share, divide, fits_to_test
from l2l_cli.tasks.pictures import Pictures, Size


class ImagesEpisode(Episode):
    """E sequences of minibatches of the same pictures, each in an order of its own.

    Args:
        task: Says what a minibatch is like.
        shares: The pictures of each split, with the task's numbers of the classes.
        episodes: Number E of sequences.
        seed: Of the minibatches.
        augment: How those of ``Split.TRAIN`` are changed; see ``augmented``.
    """

    def __init__(
        self,
        task: Images,
        shares: dict[Split, Share[Pictures]],
        episodes: int,
        seed: int,
        augment: Augment,
    ) -> None:
        self._spec = task.spec
        self._standardise: Standardise = task.standardise
        self._shares = shares
        self._episodes = episodes
        self._seed = seed
        self._augment: dict[Split, Augment] = {Split.TRAIN: augment, Split.TEST: "none"}

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Draw N pictures for each sequence: inputs (E, N, …), in [0, 1] or standardised, one-hot targets."""
        spec, (source, rows) = self._spec, self._shares[split]
        rng = generator(derive(self._seed, split, step))
        shape = (self._episodes, spec.examples)
        chosen = rows[torch.randint(len(rows), shape, generator=rng, device="cpu").flatten()]
        device, dtype = torch.get_default_device(), torch.get_default_dtype()
        pictures = augmented(source.images[chosen], self._augment[split], rng).to(device, dtype)
        inputs = rescale_(pictures, self._standardise).reshape(*shape, *spec.inputs)
        targets = functional.one_hot(source.labels[chosen].view(shape), *spec.targets)
        return Batch(inputs, targets.to(device, dtype))


class Images(Classification):
    """Classification of pictures by some network.

    Each phase has draws of θ_0 and of minibatches of its own; ``division`` says of which pictures.

    Args:
        dataset: "digits" (in scikit-learn, 8 × 8), "mnist", "cifar10", a folder of IDX files, or a folder of pictures
            with ``train/<class>`` and ``test/<class>`` or just ``<class>`` in it, of which every 6th is for test then.
        examples: Pictures of a minibatch N; the paper's 128.
        horizon: Optimization steps of an episode; the paper's 100.
        classes: Labels whose pictures are used, numbered anew in this order; None is all of them.
        pool: Height and width of the windows of pixels that are replaced by their mean; 1 leaves pictures as they are.
        size: Height and width that a folder's pictures are resized to; None if they are all of one size.
        division: Which pictures each phase fits networks to, and which it holds out; see ``divide``.
        images: How many of a phase's training pictures of these classes are used, evenly spaced; None is all of them.
        augment: How the pictures that are learned from are changed at random, each time anew; see ``augmented``.
        augment_test: Also where the phase ``test`` fits to test pictures, which is in the division "phases".  What is
            held out is never changed.
        standardise: The scale of the inputs; "none" is 0 … 1, see ``rescale_``.

    Raises:
        ValueError: A number is out of range.
        UsageError: There is no such data set; by ``sample``, if its files are neither here nor to be had.
    """

    @abstractmethod
    def __init__(
        self,
        dataset: str,
        examples: int,
        horizon: int,
        classes: Sequence[int] | None,
        pool: int,
        size: Size | None,
        division: Division,
        images: int | None,
        augment: Augment,
        augment_test: bool,
        standardise: Standardise,
    ) -> None:
        if examples < 1 or horizon < 1:
            raise ValueError(f"examples and horizon must be at least 1, not {examples}, {horizon}")
        if size is not None and min(size) < 1:
            raise ValueError(f"size must be a height and a width of at least 1, not {size}")
        self.size = None if size is None else (size[0], size[1])  # a list, if it comes from a file
        (channels, height, width), known = outline(dataset, self.size)
        if pool < 1 or height % pool or width % pool:
            raise ValueError(f"pool must divide the pictures' {height} × {width} pixels, which {pool} does not")
        labels = tuple(range(known)) if classes is None else tuple(classes)
        if len(labels) < 2 or len(set(labels)) < len(labels) or not set(labels) <= set(range(known)):
            raise ValueError(f"classes must be two or more labels of 0 … {known - 1} in {dataset}, not {list(labels)}")
        if images is not None and images < 2:
            raise ValueError(f"images must be at least 2, one to learn and one to hold out, not {images}")
        if standardise == "channels" and channels != 3:
            raise ValueError(f"standardise=channels takes a mean colour away, but {dataset} is grey")
        self.dataset, self.division, self.images, self.horizon = dataset, division, images, horizon
        self.classes = labels
        self.pool = pool
        self.shape = (channels, height // pool, width // pool)
        self.augment, self.augment_test, self.standardise = augment, augment_test, standardise

    def sample(self, episodes: int, seed: int, phase: Phase) -> ImagesEpisode:
        """Draw E sequences of minibatches."""
        found = load(self.dataset, self.size, self.pool)
        numbers = torch.full((found.classes,), -1, device="cpu")
        numbers[list(self.classes)] = torch.arange(len(self.classes), device="cpu")
        train, test = (Pictures(part.images, numbers[part.labels]) for part in (found.train, found.test))
        shares = divide(train, test, self.division, phase, self.images, self.dataset)
        changed = self.augment_test or not fits_to_test(self.division, phase)
        seed = derive(seed, "images", phase)
        return ImagesEpisode(self, shares, episodes, seed, self.augment if changed else "none")


class ImagesMLP(Images):
    """Classification by a multi-layer perceptron, whose input is all pixels in a row.

    Args:
        dataset: See ``Images``; so are the others below that are not explained.
        hidden: Units of each hidden layer; the paper's 20.
        activation: Of the hidden units; the paper's sigmoid.
        examples: Pictures of a minibatch N.
        horizon: Optimization steps of an episode.
        start: Standard deviation of θ_0 (ours; the paper says Gaussian and no more, its code 0.01).
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
        dataset: str = "digits",
        hidden: Sequence[int] = (20,),
        activation: Activation = "sigmoid",
        examples: int = 128,
        horizon: int = 100,
        start: float = 0.01,
        classes: Sequence[int] | None = None,
        pool: int = 1,
        size: Size | None = None,
        division: Division = "phases",
        images: int | None = None,
        augment: Augment = "none",
        augment_test: bool = False,
        standardise: Standardise = "none",
    ) -> None:
        super().__init__(
            dataset, examples, horizon, classes, pool, size, division, images, augment, augment_test, standardise
        )
        pixels, outputs = math.prod(self.shape), len(self.classes)
        self.model = Model(mlp(pixels, hidden, outputs, activation), gaussian(start))
        self.spec = Spec(inputs=(pixels,), targets=(outputs,), examples=examples)


class ImagesConvNet(Images):
    """Classification by a convolutional network with batch normalisation.

    Offsets of the normalisation begin at 0 and scales at 1, as in DeepMind's code; all else is drawn.

    Args:
        dataset: See ``Images``; so are the others below that are not explained.
        channels: Of each convolution; 16, 16, 16 in DeepMind's code.
        kernel: Height and width of a convolution's window; 5 there.
        dense: Units of each dense layer before the last; the paper's 32.
        scale: Also learn the normalisation's scale γ; not in DeepMind's code.
        examples: Pictures of a minibatch N, at least 2: they are normalised together.
        horizon: Optimization steps of an episode.
        start: Standard deviation of θ_0.
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
        channels: Sequence[int] = (16, 16, 16),
        kernel: int = 5,
        dense: Sequence[int] = (32,),
        scale: bool = False,
        examples: int = 128,
        horizon: int = 100,
        start: float = 0.01,
        classes: Sequence[int] | None = None,
        pool: int = 1,
        size: Size | None = None,
        division: Division = "phases",
        images: int | None = None,
        augment: Augment = "none",
        augment_test: bool = False,
        standardise: Standardise = "none",
    ) -> None:
        if examples < 2:
            raise ValueError(f"examples must be at least 2, since they are normalised together, not {examples}")
        super().__init__(
            dataset, examples, horizon, classes, pool, size, division, images, augment, augment_test, standardise
        )
        network = convnet(self.shape, channels, kernel, dense, len(self.classes), scale)
        self.model = Model(network, gaussian_weights(start), in_turn="cpu")
        self.spec = Spec(inputs=self.shape, targets=(len(self.classes),), examples=examples)
