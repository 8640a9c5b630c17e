"""Fitting a network to labelled images, one random minibatch per step.

Sources: Andrychowicz et al. 2016, §3.2 (MNIST, a random minibatch of 128 images per step) and §3.3 (CIFAR-10); Chen and
Lu 2018, §4 (CIFAR-10 and ILSVRC2012).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Batch, Batches, Phase, Spec, Split
from l2l_cli.models.architecture import Architecture
from l2l_cli.tasks.base import Classification, Episode
from l2l_cli.tasks.images.augment import Augment, Standardise, rescale_
from l2l_cli.tasks.images.data import Images
from l2l_cli.tasks.images.division import Share
from l2l_cli.tasks.images.labelled import Fill

_Requested = tuple[Tensor, Fill]
"""Labels of the images of a minibatch, and the function that waits for their pixels."""


class ImageEpisode(Episode):
    """E sequences of minibatches of the same images, each sequence in its own order.

    Args:
        task: Task whose minibatches these are.
        shares: Images of each split.
        episodes: Number E of sequences.
        seed: Seed of the minibatches.
        augment: Random changes of the images of ``Split.TRAIN``; see ``augmented``.
    """

    def __init__(self, task: ImageTask, shares: dict[Split, Share], episodes: int, seed: int, augment: Augment) -> None:
        self._spec, self._shape, self._reads_ahead = task.spec, task.data.shape, task.data.reads_ahead
        self._standardise: Standardise = task.standardise
        self._shares = shares
        self._episodes = episodes
        self._seed = seed
        self._augment: dict[Split, Augment] = {Split.TRAIN: augment, Split.TEST: "none"}
        self._ahead: dict[tuple[int, Split], _Requested] = {}

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Draw N images for each sequence: inputs (E, N, …), in [0, 1] or standardised, and one-hot targets."""
        return self.batches(step, step + 1, split).at(0)

    def batches(self, start: int, stop: int, split: Split = Split.TRAIN) -> Batches:
        """Draw the minibatches of some steps into one tensor."""
        steps, count = stop - start, self._episodes * self._spec.examples
        inputs = torch.empty(steps, count, *self._shape)
        labels = torch.empty(steps, count, dtype=torch.int64, device="cpu")
        for index, step in enumerate(range(start, stop)):
            found = self._ahead.pop((step, split)) if (step, split) in self._ahead else self._request(step, split)
            labels[index], fill = found
            fill(inputs[index])
            if self._reads_ahead:
                self._ahead = {(step + 1, split): self._request(step + 1, split)}
            rescale_(inputs[index], self._standardise)
        shape = (steps, self._episodes, self._spec.examples)
        targets = functional.one_hot(labels.to(inputs.device).view(shape), *self._spec.targets)
        return Batches(inputs.view(*shape, *self._spec.inputs), targets.to(inputs.dtype))

    def _request(self, step: int, split: Split) -> _Requested:
        source, rows = self._shares[split]
        rng = generator(derive(self._seed, split, step))
        count = self._episodes * self._spec.examples
        chosen = rows[torch.randint(len(rows), (count,), generator=rng, device="cpu")]
        return source.labels[chosen], source.request(chosen, self._augment[split], rng)


class ImageTask(Classification):
    """Classification of some images by some network.

    Each phase has its own draws of θ₀ and of minibatches.  In a configuration, the options of ``data`` and of
    ``network`` stand beside those of the task, as in ``task.hidden``; see ``config.build.Builder``.

    Args:
        data: Images, and which of them each phase fits networks to.
        network: Architecture of the network.
        examples: Number N of images in a minibatch, at least 2 for a network that normalises by the batch.
        horizon: Number of optimization steps in an episode.
        augment: Random changes of the images that are learned from, drawn anew each time; see ``augmented``.
        augment_test: Whether test images are changed too if the phase ``test`` fits to them, as it does in the division
            "phases".  Held-out images are never changed.
        standardise: Scale of the inputs; "none" is 0 … 1, see ``rescale_``.
    """

    def __init__(
        self,
        data: Images,
        network: Architecture,
        examples: int = 128,
        horizon: int = 100,
        augment: Augment = "none",
        augment_test: bool = False,
        standardise: Standardise = "none",
    ) -> None:
        if examples < 1 or horizon < 1:
            raise ValueError(f"examples and horizon must be at least 1, not {examples}, {horizon}")
        if network.normalises and examples < 2:
            raise ValueError(f"examples must be at least 2, since they are normalised together, not {examples}")
        if standardise == "channels" and data.shape[0] != 3:
            raise ValueError(f"standardise=channels needs colour images; {data.name} is greyscale")
        self.data, self.horizon = data, horizon
        self.augment, self.augment_test, self.standardise = augment, augment_test, standardise
        self.model = network.model(data.shape, data.outputs)
        inputs = (torch.Size(data.shape).numel(),) if network.flat else data.shape
        self.spec = Spec(inputs, targets=(data.outputs,), examples=examples)

    def fingerprint(self) -> str:
        """Return a name for the content of the image files."""
        return self.data.fingerprint()

    def sample(self, episodes: int, seed: int, phase: Phase) -> ImageEpisode:
        """Draw E sequences of minibatches."""
        division = self.data.division
        shares = division.shares(*self.data.parts(), phase)
        changed = self.augment_test or not division.fits_to_test(phase)
        seed = derive(seed, self.data.stream, phase)
        return ImageEpisode(self, shares, episodes, seed, self.augment if changed else "none")
