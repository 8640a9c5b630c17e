"""Training a small network on labelled pictures.

Source: Andrychowicz et al. 2016, §3.2: a network with one hidden layer of 20 sigmoid units, cross-entropy, a random
minibatch of 128 pictures a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from l2l_cli.core.model import Model, gaussian
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Batch, Phase, Spec, Split
from l2l_cli.models.mlp import Activation, mlp
from l2l_cli.tasks.base import Episode, Task
from l2l_cli.tasks.datasets import Pictures, load, outline

HELD_OUT = 6
"""One in so many pictures is for ``Split.TEST``."""


class ImagesEpisode(Episode):
    """E sequences of minibatches of the same pictures, each in an order of its own.

    Args:
        task: Says how many pictures a minibatch has.
        pictures: For ``Split.TRAIN`` and ``Split.TEST``.
        episodes: Number E of sequences.
        seed: Of the minibatches.
    """

    def __init__(self, task: Images, pictures: dict[Split, Pictures], episodes: int, seed: int) -> None:
        self._task = task
        self._pictures = pictures
        self._episodes = episodes
        self._seed = seed

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Draw N pictures for each sequence: inputs (E, N, pixels) in [0, 1], targets (E, N, classes), one-hot."""
        images, labels = self._pictures[split]
        rng = generator(derive(self._seed, split, step))
        shape = (self._episodes, self._task.examples)
        chosen = torch.randint(len(labels), shape, generator=rng, device="cpu").flatten()
        device, dtype = torch.get_default_device(), torch.get_default_dtype()
        inputs = images[chosen].flatten(1).to(device, dtype).div_(255.0).view(*shape, -1)
        targets = functional.one_hot(labels[chosen].view(shape), self._task.classes)
        return Batch(inputs, targets.to(device, dtype))


class Images(Task):
    """Classification by a multi-layer perceptron.

    The phase ``test`` fits networks to the data set's test pictures, all other phases to its training pictures, each
    with draws of θ_0 and of minibatches of its own.

    Args:
        dataset: "digits" (in scikit-learn, 8 × 8), "mnist", "cifar10", or a folder of IDX files.
        hidden: Units of each hidden layer; the paper's 20.
        activation: Of the hidden units; the paper's sigmoid.
        examples: Pictures of a minibatch N; the paper's 128.
        horizon: Optimization steps of an episode; the paper's 100.
        start: Standard deviation of θ_0 (ours; the paper says Gaussian and no more, its code 0.01).

    Raises:
        ValueError: A number is out of range.
        UsageError: There is no such data set; by ``sample``, if its files are neither here nor to be had.
    """

    def __init__(
        self,
        dataset: str = "digits",
        hidden: Sequence[int] = (20,),
        activation: Activation = "sigmoid",
        examples: int = 128,
        horizon: int = 100,
        start: float = 0.01,
    ) -> None:
        if examples < 1 or horizon < 1 or start < 0:
            raise ValueError(
                f"examples and horizon must be at least 1 and start not negative, not {examples}, {horizon}, {start}"
            )
        self.dataset = dataset
        self.examples = examples
        self.horizon = horizon
        pixels, self.classes = outline(dataset)
        self.model = Model(mlp(pixels, hidden, self.classes, activation), gaussian(start))
        self.spec = Spec(inputs=(pixels,), targets=(self.classes,), examples=examples)

    def sample(self, episodes: int, seed: int, phase: Phase) -> ImagesEpisode:
        """Draw E sequences of minibatches."""
        pictures = _divided(self.dataset, phase == Phase.TEST)
        return ImagesEpisode(self, pictures, episodes, derive(seed, "images", phase))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy, (E,) in nats, of logits (E, N, classes)."""
        return -(targets * outputs.log_softmax(-1)).sum(-1).flatten(1).mean(1)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the share of pictures that are classified rightly, (E,)."""
        right = outputs.argmax(-1) == targets.argmax(-1)
        return {"accuracy": right.to(outputs.dtype).flatten(1).mean(1)}


@cache
def _divided(dataset: str, test: bool) -> dict[Split, Pictures]:
    """Return what is learned from and what is held out, of a data set's training or test pictures."""
    pictures = load(dataset).test if test else load(dataset).train
    held = torch.arange(len(pictures.labels)) % HELD_OUT == 0
    return {
        Split.TRAIN: Pictures(pictures.images[~held], pictures.labels[~held]),
        Split.TEST: Pictures(pictures.images[held], pictures.labels[held]),
    }
