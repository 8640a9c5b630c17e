"""Pictures: the readers, and the task that fits networks to them."""

from __future__ import annotations

import gzip
import os
import struct

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split
from l2l_cli.tasks import datasets, images
from l2l_cli.tasks.images import Images

DATA = os.environ.get("L2L_DATA")
real = pytest.mark.skipif(DATA is None, reason="real data are looked for under L2L_DATA, which is not set")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    datasets.load.cache_clear()
    images._divided.cache_clear()


def idx(path, values, compressed=True):
    content = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape) + values.numpy().tobytes()
    path.write_bytes(gzip.compress(content) if compressed else content)


def idx_folder(place, count=4, classes=3):
    rng = torch.Generator().manual_seed(0)
    for part in ("train", "t10k"):
        images = torch.randint(256, (count, 2, 3), generator=rng, dtype=torch.uint8)
        labels = torch.arange(count, dtype=torch.uint8) % classes
        idx(place / f"{part}-images-idx3-ubyte.gz", images)
        idx(place / f"{part}-labels-idx1-ubyte", labels, compressed=False)
    return images


def test_a_folder_of_idx_files_is_a_data_set(tmp_path):
    last = idx_folder(tmp_path)
    found = datasets.load(str(tmp_path))
    assert found.classes == 3
    assert torch.equal(found.test.images, last[:, None])
    assert found.test.labels.tolist() == [0, 1, 2, 0]
    batch = Images(str(tmp_path), hidden=[2], examples=7).sample(2, 0, Phase.TEST).batch(0)
    assert batch.inputs.shape == (2, 7, 6)
    assert batch.targets.sum(-1).eq(1).all()


def test_what_is_wrong_with_a_file_is_said(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        datasets.load("mnits")
    with pytest.raises(UsageError, match="has neither train-images-idx3-ubyte nor"):
        datasets.load(str(tmp_path))
    idx_folder(tmp_path)
    whole = (tmp_path / "train-labels-idx1-ubyte").read_bytes()
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(whole[:-1])
    with pytest.raises(UsageError, match="is no IDX file of bytes"):
        datasets.load(str(tmp_path))
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    idx(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz", torch.zeros(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(UsageError, match="is damaged or another file"):
        datasets.load("mnist")


def test_a_batch_is_never_unpickled_before_its_checksum_is_right(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name in datasets.CIFAR10:  # would end the test if it were loaded
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(b"cos\n_exit\n(I1\ntR.")
    with pytest.raises(UsageError, match="data_batch_1 is damaged"):
        datasets.load("cifar10")


def test_only_the_test_phase_sees_test_pictures():
    found = datasets.load("digits")
    sources = {"train": found.train.images.flatten(1), "test": found.test.images.flatten(1)}
    for phase in Phase:
        batch = Images(examples=40).sample(2, 3, phase).batch(0)
        pictures = (batch.inputs * 255).round().to(torch.uint8).flatten(0, 1)
        source = sources["test" if phase == Phase.TEST else "train"]
        assert all((source == picture).all(1).any() for picture in pictures)


def test_what_is_held_out_is_never_learned_from():
    episode = Images(examples=200).sample(1, 0, Phase.META_TRAIN)
    seen, held = (
        {tuple(row.tolist()) for step in range(20) for row in episode.batch(step, split).inputs[0]} for split in Split
    )
    assert not seen & held


def test_the_loss_is_torchs_cross_entropy_and_accuracy_counts():
    task = Images(hidden=[8], examples=16, start=0.5)
    batch = task.sample(3, 0, Phase.TUNE).batch(4)
    outputs = task.model(task.model.init(3, generator(0)), batch.inputs)
    wanted = torch.nn.functional.cross_entropy(outputs[1], batch.targets[1].argmax(-1))
    torch.testing.assert_close(task.loss(outputs, batch.targets)[1], wanted)
    assert task.metrics(batch.targets, batch.targets)["accuracy"].tolist() == [1.0] * 3


def test_the_papers_network_has_15910_parameters(tmp_path):
    for part in ("train", "t10k"):
        idx(tmp_path / f"{part}-images-idx3-ubyte.gz", torch.zeros(10, 28, 28, dtype=torch.uint8))
        idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", torch.arange(10, dtype=torch.uint8))
    sizes = [Images(str(tmp_path), hidden=hidden).model.size for hidden in ([20], [40], [20, 20])]
    assert sizes == [15_910, 31_810, 16_330]


@pytest.mark.data
@real
@pytest.mark.parametrize(
    ("name", "shape", "tests"), [("mnist", (60_000, 1, 28, 28), 10_000), ("cifar10", (50_000, 3, 32, 32), 10_000)]
)
def test_the_real_data_are_whole(name, shape, tests):
    found = datasets.load(name)
    assert tuple(found.train.images.shape) == shape
    assert len(found.test.labels) == tests
    assert (found.train.images[0].numel(), found.classes) == datasets.outline(name)
    assert found.train.labels.unique().tolist() == list(range(10))
