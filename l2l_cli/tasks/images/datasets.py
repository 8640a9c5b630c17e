"""Labelled images: read from their canonical files, whose checksums are known, or downloaded once.

Sources: MNIST (LeCun et al. 1998), four IDX files; CIFAR-10 (Krizhevsky 2009), the "python version"; scikit-learn's
digits (Alpaydin and Kaynak 1998), which come with it and need no file at all.
"""

from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.files import cache_folder
from l2l_cli.models.architecture import ImageShape
from l2l_cli.tasks.images.checksums import read_verified
from l2l_cli.tasks.images.downloads import DownloadError, download
from l2l_cli.tasks.images.folders import read_folder
from l2l_cli.tasks.images.idx import read_idx
from l2l_cli.tasks.images.labelled import Dataset, LoadedImages, Size, resized

ENVIRONMENT = "L2L_DATA"
"""Environment variable that names the folder of data sets; ``data.dir`` takes precedence over it."""

MNIST = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

CIFAR10 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR10_MIRRORS = ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",)
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"

KNOWN = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
"""Shapes of the images of the data sets that are read from verified files."""


def default_folder() -> Path:
    """Return the folder of data sets unless a setting names another: ``$L2L_DATA``, or else the user's cache."""
    return Path(os.environ.get(ENVIRONMENT) or cache_folder() / "data")


def outline(name: str, folder: Path, size: Size | None = None) -> tuple[ImageShape, int]:
    """Return the shape of a data set's images and the number of classes, without reading known data sets; see ``load``.

    Raises:
        UsageError: There is no such data set, or the images of a folder cannot be read.
    """
    if name in KNOWN and size is None:
        return KNOWN[name], 10
    found = load(name, folder, size, 1)
    channels, height, width = found.train.images.shape[1:]
    return (channels, height, width), found.classes


@lru_cache(maxsize=8)
def load(name: str, folder: Path, size: Size | None, pool: int) -> Dataset:
    """Return a data set; each is read only once.

    Args:
        name: "digits", "mnist", "cifar10", or the user's own folder, by its path or by its name in ``folder``; see
            ``read_folder``.
        folder: Folder of data sets, where downloaded ones are kept.
        size: Height and width that images are resized to; None takes them as they are.
        pool: Height and width of the windows of pixels that are replaced by their mean.

    Raises:
        UsageError: There is no such data set, or its files can neither be found nor downloaded.
    """
    if pool > 1:
        whole = load(name, folder, size, 1)
        return whole._replace(train=_pooled(whole.train, pool), test=_pooled(whole.test, pool))
    known = {"digits": _digits, "mnist": _mnist, "cifar10": _cifar10}
    if name in known:
        return resized(known[name](folder), size)
    place = own_folder(name, folder)
    if place is not None:
        return read_folder(place, size)
    raise UsageError(
        f"there is no data set {name!r}; choose {', '.join(known)}, or a folder of IDX files or with a sub-folder of "
        f"images for each class{did_you_mean(name, known)}"
    )


def own_folder(name: str, folder: Path) -> Path | None:
    """Return the folder of a data set that is the user's own; None if there is none, or the data set is a known one."""
    places = [] if name in KNOWN else [Path(name).expanduser(), folder / name]
    return next((place for place in places if place.is_dir()), None)


def resident(name: str, folder: Path, size: Size | None, pool: int, device: torch.device) -> Dataset:
    """Return a data set whose images stay on a device, where minibatches are made of them; see ``load``."""
    return load(name, folder, size, pool) if device.type == "cpu" else _moved(name, folder, size, pool, device)


@lru_cache(maxsize=8)
def _moved(name: str, folder: Path, size: Size | None, pool: int, device: torch.device) -> Dataset:
    whole = load(name, folder, size, pool)
    return whole._replace(train=whole.train.on(device), test=whole.test.on(device))


def _pooled(whole: LoadedImages, pool: int) -> LoadedImages:
    # In parts: all images as floating-point numbers would take four times their memory.
    parts = [functional.avg_pool2d(part.float(), pool) for part in torch.split(whole.images, 1000)]
    return LoadedImages(torch.cat(parts), whole.labels)


def _digits(folder: Path) -> Dataset:
    """Return 1797 digits of 8 × 8 pixels, half of them test images: fewer would be memorised within an episode."""
    from sklearn.datasets import load_digits

    del folder
    found = load_digits()
    images = torch.from_numpy((found.images * 255 / 16).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(found.target.astype(np.int64))
    test = torch.arange(len(labels), device="cpu") % 2 == 1
    return Dataset(LoadedImages(images[~test], labels[~test]), LoadedImages(images[test], labels[test]), 10)


def _mnist(folder: Path) -> Dataset:
    raw = folder / "MNIST" / "raw"
    for file, checksum in MNIST.items():
        _ensure(folder, raw / file, [mirror + file for mirror in MNIST_MIRRORS], checksum)
    return read_idx(raw)


def _cifar10(folder: Path) -> Dataset:
    unpacked = folder / "cifar-10-batches-py"
    if not all((unpacked / file).is_file() for file in CIFAR10):
        archive = folder / "cifar-10-python.tar.gz"
        _ensure(folder, archive, CIFAR10_MIRRORS, CIFAR10_MD5)
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    batches = [_cifar_batch(unpacked / file, checksum) for file, checksum in CIFAR10.items()]
    images, labels = (torch.cat(parts) for parts in zip(*batches[:-1], strict=True))
    return Dataset(LoadedImages(images, labels), batches[-1], 10)


def _cifar_batch(path: Path, checksum: str) -> LoadedImages:
    content = read_verified(path, checksum)  # before unpickling, which would run any code in the file
    batch = pickle.loads(content, encoding="bytes")
    images = torch.from_numpy(batch[b"data"].reshape(-1, 3, 32, 32))
    return LoadedImages(images, torch.tensor(batch[b"labels"], dtype=torch.int64, device="cpu"))


def _ensure(folder: Path, path: Path, addresses: Sequence[str], checksum: str) -> None:
    """Download a file into the folder of data sets if it is missing, and check that it is intact."""
    if not path.is_file():
        try:
            download(addresses, path, checksum)
        except DownloadError as error:
            raise UsageError(
                f"{path} does not exist and cannot be downloaded ({error}); put that file (MD5 {checksum}) there, or "
                f"name the folder that has {path.relative_to(folder)} by data.dir=… or the variable {ENVIRONMENT}"
            ) from error
        return
    read_verified(path, checksum)
