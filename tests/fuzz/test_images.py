"""Data sets of the user's, damaged: other pixels where a format has no checksum, or one line; never anything else."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from l2l_cli.tasks.images import datasets
from l2l_cli.tasks.images.folders import read_folder
from l2l_cli.tasks.images.labelled import Dataset
from l2l_cli.tasks.images.on_disk import ImagesOnDisk
from tests.fuzz.mutations import KINDS, Mutation, mutations, put
from tests.fuzz.outcome import SLOW, Faults, each, outcome

pytestmark = SLOW


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """What would be downloaded is not there, and what is cached is this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def idx(place: Path, packed: bool = False) -> tuple[Callable[[], Any], bool]:
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        images, labels = rng.integers(256, size=(count, 5, 4), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 3
        for kind, values in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
            name = f"{part}-{kind}" + (".gz" if packed else "")
            (place / name).write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return lambda: checked(read_folder(place)), False


def packed_idx(place: Path) -> tuple[Callable[[], Any], bool]:
    return idx(place, packed=True)


def cifar10(place: Path) -> tuple[Callable[[], Any], bool]:
    """Batches of two images whose checksums are taken for the known ones."""
    folder = place / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in datasets.CIFAR10:
        batch = {b"data": rng.integers(256, size=(2, 3072), dtype=np.uint8), b"labels": [1, 2]}
        (folder / name).write_bytes(pickle.dumps(batch))
        datasets.CIFAR10[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()

    def read() -> Any:
        datasets.load.cache_clear()
        return checked(datasets.load("cifar10", place, None, 1))

    return read, True


def pictures(place: Path, size: tuple[int, int] | None = None) -> tuple[Callable[[], Any], bool]:
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in "ab":
            (place / part / label).mkdir(parents=True)
            for number, kind in enumerate(("png", "jpg", "bmp", "gif")):
                pixels = Image.fromarray(rng.integers(256, size=(7, 6, 3), dtype=np.uint8))
                pixels.save(place / part / label / f"{number}.{kind}")
    return lambda: checked(read_folder(place, size)), False


def resized(place: Path) -> tuple[Callable[[], Any], bool]:
    return pictures(place, (8, 8))


def on_disk(place: Path) -> tuple[Callable[[], Any], bool]:
    """Decoded as a minibatch is drawn."""
    pictures(place)

    def read() -> Any:
        images = ImagesOnDisk(str(place), side=8)
        train, _ = images.parts()
        out = torch.empty(len(train.labels), 3, 8, 8)
        train.request(torch.arange(len(train.labels)), "none", torch.Generator())(out)
        assert out.isfinite().all()

    return read, False


def checked(found: Dataset) -> object:
    """See that a data set is one: bytes, labels of its classes, as many as images."""
    for part in (found.train, found.test):
        assert part.images.dtype == torch.uint8
        assert part.images.ndim == 4
        assert len(part.images) == len(part.labels) > 0
        assert 0 <= int(part.labels.min()) <= int(part.labels.max()) < found.classes
    return found.train.images.tolist(), found.train.labels.tolist()


SETS = {one.__name__: one for one in (idx, packed_idx, cifar10, pictures, resized, on_disk)}


@pytest.fixture(params=SETS)
def made(request, tmp_path, monkeypatch):
    """A data set's files, how it is read, and whether its files have checksums."""
    monkeypatch.setattr(datasets, "CIFAR10", dict(datasets.CIFAR10))
    (place := tmp_path / "place").mkdir()
    read, exact = SETS[request.param](place)
    known = read()
    return sorted(path for path in place.rglob("*") if path.is_file()), read, Faults(known if exact else Faults.SOUND)


def test_damaged_contents(made, tmp_path, tally):
    files, read, faults = made
    contents = {path: path.read_bytes() for path in files}

    def case(mutation: Mutation) -> None:
        path = files[(mutation.at + mutation.amount) % len(files)]
        mutation(path, files)
        faults.judge((path.name, mutation), outcome(read, tmp_path))
        path.write_bytes(contents[path])

    each(mutations(), 0.22 / len(SETS), case)
    tally(faults)


def test_something_else_in_place_of_a_file(made, tmp_path, tally):
    files, read, faults = made
    for path in (files[0], files[-1]):
        content = path.read_bytes()
        for kind in KINDS:
            put(kind, path, tmp_path / "outside")
            faults.judge((path.name, kind), outcome(read, tmp_path))
            put("nothing", path, tmp_path / "outside")
            path.write_bytes(content)
    tally(faults)


def bombs() -> dict[str, tuple[str, bytes]]:
    """Files that claim or unpack to more than any memory holds."""
    huge = struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    return {
        "images of 2^96 pixels": ("train-images-idx3-ubyte", huge),
        "no axes": ("train-images-idx3-ubyte", struct.pack(">HBB", 0, 8, 0)),
        "255 axes": ("train-images-idx3-ubyte", struct.pack(">HBB255I", 0, 8, 255, *[1] * 255) + b"\0"),
        "no images": ("train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 8, 3, 0, 5, 4)),
        "floats": ("train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 13, 3, 1, 1, 1) + bytes(4)),
        "16 GB of zeros in 16 MB": ("train-images-idx3-ubyte.gz", _bomb()),
    }


def _bomb() -> bytes:
    part = gzip.compress(bytes(1 << 26), 9, mtime=0)
    return part * 256


@pytest.mark.parametrize("name", bombs())
def test_bombs(name, tmp_path, tally):
    (place := tmp_path / "place").mkdir()
    read, _ = idx(place)
    file, content = bombs()[name]
    (place / file.removesuffix(".gz")).unlink()
    (place / file).write_bytes(content)
    faults = Faults()
    faults.judge(name, outcome(read, place))
    tally(faults)


def test_a_picture_of_all_the_world(tmp_path, tally):
    (place := tmp_path / "place").mkdir()
    read, _ = pictures(place)
    png = (place / "train" / "a" / "0.png").read_bytes()
    (place / "train" / "a" / "0.png").write_bytes(png[:16] + struct.pack(">II", 60000, 60000) + png[24:])
    faults = Faults()
    faults.judge("a PNG of 60000 × 60000 pixels", outcome(read, place))
    tally(faults)
