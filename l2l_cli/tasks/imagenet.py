"""Training a residual network on photos of ImageNet.

Source: Chen and Lu 2018, §4: ResNet-18 v2 on ILSVRC2012, minibatches of 64; what the text leaves out is their code's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Batch, Phase, Spec, Split
from l2l_cli.models.model import Model
from l2l_cli.models.resnet import resnet, resnet_weights
from l2l_cli.tasks.augment import Standardise, draw_frames, middle_frames, rescale_
from l2l_cli.tasks.base import Classification, Episode
from l2l_cli.tasks.division import Division, Share, divide, fits_to_test
from l2l_cli.tasks.photos import Photos, count_classes, decode, find_photos

_Asked = tuple[Tensor, list["Future[Any]"]]
"""Rows of the photos of a minibatch, and their pixels to come."""


class PhotosEpisode(Episode):
    """E sequences of minibatches of the same photos, decoded by threads, one minibatch ahead of the one asked for.

    Args:
        task: Says what a minibatch is like.
        shares: The photos of each split.
        episodes: Number E of sequences.
        seed: Of the minibatches.
        augment: Whether those of ``Split.TRAIN`` are cropped and flipped at random.
    """

    def __init__(
        self,
        task: PhotosResNet,
        shares: dict[Split, Share[Photos]],
        episodes: int,
        seed: int,
        augment: bool,
    ) -> None:
        self._spec = task.spec
        self._standardise: Standardise = task.standardise
        self._shares = shares
        self._episodes = episodes
        self._seed = seed
        self._augment = augment
        # Pillow decodes without Python's lock, so threads do and nothing is copied between processes.
        self._threads = ThreadPoolExecutor(torch.get_num_threads(), "photos")
        self._ahead: dict[tuple[int, Split], _Asked] = {}

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Draw N photos for each sequence: inputs (E, N, 3, size, size), standardised, and one-hot targets."""
        spec, shape = self._spec, (self._episodes, self._spec.examples)
        chosen, pixels = self._ahead.get((step, split)) or self._ask(step, split)
        decoded = torch.from_numpy(np.stack([part.result() for part in pixels]))
        self._ahead = {(step + 1, split): self._ask(step + 1, split)}
        device, dtype = torch.get_default_device(), torch.get_default_dtype()
        pictures = decoded.movedim(-1, 1).to(device).to(dtype)
        inputs = rescale_(pictures, self._standardise).view(*shape, *spec.inputs)
        targets = functional.one_hot(self._shares[split].source.labels[chosen].view(shape), *spec.targets)
        return Batch(inputs, targets.to(device, dtype))

    def _ask(self, step: int, split: Split) -> _Asked:
        (photos, rows), count = self._shares[split], self._episodes * self._spec.examples
        rng = generator(derive(self._seed, split, step))
        chosen = rows[torch.randint(len(rows), (count,), generator=rng, device="cpu")]
        changed = self._augment and split == Split.TRAIN
        frames = draw_frames(count, rng) if changed else middle_frames(count)
        side = self._spec.inputs[-1]
        pairs = zip(chosen.tolist(), frames.tolist(), strict=True)
        return chosen, [self._threads.submit(decode, photos.files[row], side, frame) for row, frame in pairs]


class PhotosResNet(Classification):
    """Classification of photos by a residual network with full pre-activation; as it stands, ResNet-18 v2.

    The photos in ``train`` are its training pictures, those in ``val`` its test pictures; ``division`` says which of
    them each phase fits networks to.  One thread of the run decodes them, or as many as ``hardware.threads`` says.

    Args:
        dataset: A folder in ILSVRC2012's layout, ``train/<class>/*.JPEG`` and ``val/<class>/*.JPEG``, by its path or
            its name in the folder of data sets.
        channels: Of each stage.
        blocks: Of each stage.
        bottleneck: Of three convolutions each, the second of them narrow; see ``models.resnet.Bottleneck``.
        outputs: Units of the last layer; None is one a class.  The authors' code has 1001, of which one is never right.
        recompute: Keep what enters a block alone: less memory, one forward pass more for a gradient or a product.
        side: Height and width of the crops; the shorter side of a photo is resized to 8/7 … 16/7 of it, 256 … 512.
        examples: Photos of a minibatch N, at least 2: they are normalised together.
        horizon: Optimization steps of an episode (ours).
        division: Which photos each phase fits networks to, and which it holds out; see ``divide``.
        images: How many of a phase's training photos are used, evenly spaced; None is all of them.
        augment: Resize, crop and flip the photos that are learned from at random; else the middle is shown, the
            shorter side being 8/7 of the crop's.
        augment_test: Also where the phase ``test`` fits to photos in ``val``, which is in the division "phases".  What
            is held out is never changed.
        standardise: The scale of the inputs; see ``rescale_``.

    Raises:
        ValueError: A number is out of range.
        UsageError: There is no such folder; ImageNet's own is missed by ``sample`` alone.
    """

    def __init__(
        self,
        dataset: str = "imagenet",
        channels: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        bottleneck: bool = False,
        outputs: int | None = None,
        recompute: bool = False,
        side: int = 224,
        examples: int = 64,
        horizon: int = 1000,
        division: Division = "phases",
        images: int | None = None,
        augment: Literal["none", "imagenet"] = "imagenet",
        augment_test: bool = False,
        standardise: Standardise = "channels",
    ) -> None:
        if examples < 2:
            raise ValueError(f"examples must be at least 2, since they are normalised together, not {examples}")
        if min(horizon, side) < 1:
            raise ValueError(f"horizon and side must be at least 1, not {horizon}, {side}")
        classes = count_classes(dataset)
        if outputs is not None and outputs < classes:
            raise ValueError(f"outputs must be at least {classes}, the classes of {dataset}, not {outputs}")
        if images is not None and images < 2:
            raise ValueError(f"images must be at least 2, one to learn and one to hold out, not {images}")
        units = classes if outputs is None else outputs
        self.dataset, self.division, self.images, self.horizon = dataset, division, images, horizon
        self.augment, self.augment_test, self.standardise = augment, augment_test, standardise
        network = resnet(3, "imagenet", channels, blocks, units, bottleneck)
        self.model = Model(network, resnet_weights, in_turn=True, recompute=recompute)
        self.spec = Spec(inputs=(3, side, side), targets=(units,), examples=examples)

    def sample(self, episodes: int, seed: int, phase: Phase) -> PhotosEpisode:
        """Draw E sequences of minibatches."""
        found = find_photos(self.dataset)
        shares = divide(found.train, found.test, self.division, phase, self.images, self.dataset)
        augment = self.augment == "imagenet" and (self.augment_test or not fits_to_test(self.division, phase))
        return PhotosEpisode(self, shares, episodes, derive(seed, "photos", phase), augment)
