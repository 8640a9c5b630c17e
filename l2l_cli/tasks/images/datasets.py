"""Labelled pictures: read from their canonical files, whose checksums are known, or downloaded once.

Sources: MNIST (LeCun et al. 1998), four IDX files; CIFAR-10 (Krizhevsky 2009), the "python version"; scikit-learn's
digits (Alpaydin and Kaynak 1998), which come with it and need no file at all.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import urllib.request
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.tasks.pictures import Dataset, Pictures, Size, read_folder, read_idx

ENVIRONMENT = "L2L_DATA"
"""Names the folder of data sets, unless ``data.dir`` does; without either they are kept in the user's cache."""

MNIST = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"

CIFAR10 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR10_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"


class Outline(NamedTuple):
    """Channels, height and width of a picture, and the number of classes."""

    shape: tuple[int, int, int]
    classes: int


_chosen: Path | None = None


def use(place: str | None) -> None:
    """Look for data sets in a folder from now on; None is ``$L2L_DATA``, or else the user's cache."""
    global _chosen
    _chosen = Path(place).expanduser() if place else None


def folder() -> Path:
    """Return where data sets are looked for and kept."""
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2l" / "data"
    return _chosen or Path(os.environ.get(ENVIRONMENT) or cached)


def outline(name: str, size: Size | None = None) -> Outline:
    """Return what a data set's pictures are like, without reading what is known.

    Raises:
        UsageError: There is no such data set, or the pictures of a folder cannot be read.
    """
    known = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
    if name in known and size is None:
        return Outline(known[name], 10)
    found = load(name, size)
    channels, height, width = found.train.images.shape[1:]
    return Outline((channels, height, width), found.classes)


def load(name: str, size: Size | None = None, pool: int = 1) -> Dataset:
    """Return a data set, read once as long as the folder of data sets stays the same.

    Args:
        name: "digits", "mnist", "cifar10", or a folder of the user's, by its path or by its name in the folder of
            data sets; see ``read_folder``.
        size: For such a folder of pictures.
        pool: Height and width of the windows of pixels that are replaced by their mean.

    Raises:
        UsageError: There is no such data set, or it is not here and cannot be downloaded.
    """
    return _load(name, size, pool, folder())


@lru_cache(maxsize=8)
def _load(name: str, size: Size | None, pool: int, place: Path) -> Dataset:
    if pool > 1:
        whole = _load(name, size, 1, place)
        return whole._replace(train=_pooled(whole.train, pool), test=_pooled(whole.test, pool))
    known = {"digits": _digits, "mnist": _mnist, "cifar10": _cifar10}
    if name in known:
        if size is not None:
            raise UsageError(f"size is for folders of pictures; those of {name} have theirs: pool reduces them")
        return known[name](place)
    for path in (Path(name).expanduser(), place / name):
        if path.is_dir():
            return read_folder(path, size)
    raise UsageError(
        f"there is no data set {name!r}; choose {', '.join(known)}, or a folder of IDX files or with a sub-folder of "
        f"pictures for each class{did_you_mean(name, known)}"
    )


def _pooled(pictures: Pictures, pool: int) -> Pictures:
    # By parts: all pictures as floating-point numbers would take four times their memory.
    parts = [functional.avg_pool2d(part.float(), pool) for part in torch.split(pictures.images, 1000)]
    return Pictures(torch.cat(parts), pictures.labels)


def _digits(place: Path) -> Dataset:
    """1797 digits of 8 × 8 pixels, every second one for test: fewer would be learned by heart within an episode."""
    from sklearn.datasets import load_digits

    del place
    found = load_digits()
    images = torch.from_numpy((found.images * 255 / 16).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(found.target.astype(np.int64))
    test = torch.arange(len(labels), device="cpu") % 2 == 1
    return Dataset(Pictures(images[~test], labels[~test]), Pictures(images[test], labels[test]), 10)


def _mnist(place: Path) -> Dataset:
    raw = place / "MNIST" / "raw"
    for file, checksum in MNIST.items():
        _ensure(raw / file, MNIST_MIRROR + file, checksum)
    return read_idx(raw)


def _cifar10(place: Path) -> Dataset:
    unpacked = place / "cifar-10-batches-py"
    if not all((unpacked / file).is_file() for file in CIFAR10):
        archive = place / "cifar-10-python.tar.gz"
        _ensure(archive, CIFAR10_ARCHIVE, CIFAR10_MD5)
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
    batches = [_cifar_batch(unpacked / file, checksum) for file, checksum in CIFAR10.items()]
    images, labels = (torch.cat(parts) for parts in zip(*batches[:-1], strict=True))
    return Dataset(Pictures(images, labels), batches[-1], 10)


def _cifar_batch(path: Path, checksum: str) -> Pictures:
    content = path.read_bytes()
    _verify(path, content, checksum)  # before it is unpickled, which would run whatever it says
    batch: dict[bytes, Any] = pickle.loads(content, encoding="bytes")
    images = torch.from_numpy(batch[b"data"].reshape(-1, 3, 32, 32))
    return Pictures(images, torch.tensor(batch[b"labels"], dtype=torch.int64, device="cpu"))


def _ensure(path: Path, address: str, checksum: str) -> None:
    """See that a file is there and whole."""
    if not path.is_file():
        try:
            with urllib.request.urlopen(address, timeout=60) as response:
                content: bytes = response.read()
        except (OSError, HTTPException) as error:
            raise UsageError(
                f"{path} is not here and {address} cannot be had ({error}); put that file (MD5 {checksum}) there, or "
                f"name the folder that has {path.relative_to(folder())} by data.dir=… or the variable {ENVIRONMENT}"
            ) from error
        _verify(path, content, checksum)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.replace(path)
        return
    _verify(path, path.read_bytes(), checksum)


def _verify(path: Path, content: bytes, checksum: str) -> None:
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
        raise UsageError(f"{path} is damaged or another file: its MD5 is not {checksum}; delete it and start again")
