"""Labelled pictures: read from their canonical files, whose checksums are known, or downloaded once.

Sources: MNIST (LeCun et al. 1998), four IDX files; CIFAR-10 (Krizhevsky 2009), the "python version"; scikit-learn's
digits (Alpaydin and Kaynak 1998), which come with it and need no file at all.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError, did_you_mean

ENVIRONMENT = "L2L_DATA"
"""Names the folder of data sets; without it they are kept in the user's cache."""

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


class Pictures(NamedTuple):
    """Pictures (n, channels, height, width) of 8 bits, and their classes (n,), integers from 0."""

    images: Tensor
    labels: Tensor


class Dataset(NamedTuple):
    """A data set with its own division into training and test pictures."""

    train: Pictures
    test: Pictures
    classes: int


def folder() -> Path:
    """Return where data sets are looked for and kept."""
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2l" / "data"
    return Path(os.environ.get(ENVIRONMENT) or cached)


def outline(name: str) -> tuple[int, int]:
    """Return how many numbers a picture has and how many classes there are, without reading what is known.

    Raises:
        UsageError: There is no such data set.
    """
    known = {"digits": (64, 10), "mnist": (784, 10), "cifar10": (3072, 10)}
    if name in known:
        return known[name]
    found = load(name)
    return found.train.images[0].numel(), found.classes


@cache
def load(name: str) -> Dataset:
    """Return "digits", "mnist" or "cifar10", or what four IDX files in a folder of that path hold.

    Raises:
        UsageError: There is no such data set, or it is not here and cannot be downloaded.
    """
    known = {"digits": _digits, "mnist": _mnist, "cifar10": _cifar10}
    if name in known:
        return known[name]()
    if Path(name).is_dir():
        return _idx_folder(Path(name))
    raise UsageError(
        f"there is no data set {name!r}; choose {', '.join(known)} or a folder of IDX files{did_you_mean(name, known)}"
    )


def _digits() -> Dataset:
    """1797 digits of 8 × 8 pixels, every second one for test: fewer would be learned by heart within an episode."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy((found.images * 255 / 16).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(found.target.astype(np.int64))
    test = torch.arange(len(labels)) % 2 == 1
    return Dataset(Pictures(images[~test], labels[~test]), Pictures(images[test], labels[test]), 10)


def _mnist() -> Dataset:
    place = folder() / "MNIST" / "raw"
    for file, checksum in MNIST.items():
        _ensure(place / file, MNIST_MIRROR + file, checksum)
    return _idx_folder(place)


def _idx_folder(place: Path) -> Dataset:
    """Read a folder of files named as MNIST's, compressed or not."""
    parts = []
    for part in ("train", "t10k"):
        images, labels = (_idx(place, f"{part}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        if len(images) != len(labels):
            raise UsageError(f"{place}: {len(images)} pictures and {len(labels)} labels of {part}")
        parts.append(Pictures(images[:, None], labels.long()))
    return Dataset(parts[0], parts[1], int(max(part.labels.max() for part in parts)) + 1)


def _idx(place: Path, name: str) -> Tensor:
    """Read one IDX file of bytes: a magic number with the number of axes, their lengths, the values."""
    found = next((path for path in (place / f"{name}.gz", place / name) if path.is_file()), None)
    if found is None:
        raise UsageError(f"{place} has neither {name} nor {name}.gz")
    content = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
    zero, kind, axes = struct.unpack_from(">HBB", content)
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if zero or kind != 8 or len(content) != 4 + 4 * axes + int(np.prod(shape)):
        raise UsageError(f"{found} is no IDX file of bytes")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())


def _cifar10() -> Dataset:
    place = folder() / "cifar-10-batches-py"
    if not all((place / file).is_file() for file in CIFAR10):
        archive = folder() / "cifar-10-python.tar.gz"
        _ensure(archive, CIFAR10_ARCHIVE, CIFAR10_MD5)
        with tarfile.open(archive) as packed:
            packed.extractall(folder(), filter="data")
    batches = [_cifar_batch(place / file, checksum) for file, checksum in CIFAR10.items()]
    images, labels = (torch.cat(parts) for parts in zip(*batches[:-1], strict=True))
    return Dataset(Pictures(images, labels), batches[-1], 10)


def _cifar_batch(path: Path, checksum: str) -> Pictures:
    content = path.read_bytes()
    _verify(path, content, checksum)  # before it is unpickled, which would run whatever it says
    batch: dict[bytes, Any] = pickle.loads(content, encoding="bytes")
    images = torch.from_numpy(batch[b"data"].reshape(-1, 3, 32, 32))
    return Pictures(images, torch.tensor(batch[b"labels"], dtype=torch.int64))


def _ensure(path: Path, address: str, checksum: str) -> None:
    """See that a file is there and whole."""
    if not path.is_file():
        try:
            with urllib.request.urlopen(address, timeout=60) as response:
                content: bytes = response.read()
        except (urllib.error.URLError, TimeoutError) as error:
            raise UsageError(
                f"{path} is not here and {address} cannot be reached ({error}); put the file there, "
                f"or name another folder by the environment variable {ENVIRONMENT}"
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
