"""Images in memory: the readers, and a task that fits networks to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from l2l_cli.config.compose import compose, settings_of_run
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split
from l2l_cli.runs.building import build_task
from l2l_cli.tasks.images import datasets
from l2l_cli.tasks.images.data import Images
from tests.image_tasks import digits_mlp, idx, idx_folder, image_task, real


def load(name, size=None, folder=None):
    return datasets.load(str(name), folder or datasets.default_folder(), size, 1)


def test_a_folder_of_idx_files_is_a_data_set(tmp_path):
    last = idx_folder(tmp_path)
    found = load(tmp_path)
    assert found.classes == 3
    assert torch.equal(found.test.images, last[:, None])
    assert found.test.labels.tolist() == [0, 1, 2, 0]
    batch = digits_mlp(dataset=str(tmp_path), hidden=[2], examples=7).sample(2, 0, Phase.TEST).batch(0)
    assert batch.inputs.shape == (2, 7, 6)
    assert batch.targets.sum(-1).eq(1).all()


def test_what_is_wrong_with_a_file_is_said(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        load("mnits")
    with pytest.raises(UsageError, match="has neither train-images-idx3-ubyte nor"):
        load(tmp_path)
    idx_folder(tmp_path)
    whole = (tmp_path / "train-labels-idx1-ubyte").read_bytes()
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(whole[:-1])
    with pytest.raises(UsageError, match="it is truncated"):
        load(tmp_path)
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    idx(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz", torch.zeros(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(UsageError, match="is damaged or a different file"):
        load("mnist")


def test_a_batch_is_never_unpickled_before_its_checksum_is_right(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name in datasets.CIFAR10:  # would end the test if it were loaded
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(b"cos\n_exit\n(I1\ntR.")
    with pytest.raises(UsageError, match="data_batch_1 is damaged"):
        load("cifar10")


def test_only_the_test_phase_sees_test_images():
    found = load("digits")
    sources = {"train": found.train.images.flatten(1), "test": found.test.images.flatten(1)}
    for phase in Phase:
        batch = digits_mlp(examples=40).sample(2, 3, phase).batch(0)
        images = (batch.inputs * 255).round().to(torch.uint8).flatten(0, 1)
        source = sources["test" if phase == Phase.TEST else "train"]
        assert all((source == image).all(1).any() for image in images)


def test_what_is_held_out_is_never_learned_from():
    episode = digits_mlp(examples=200).sample(1, 0, Phase.META_TRAIN)
    seen, held = (
        {tuple(row.tolist()) for step in range(20) for row in episode.batch(step, split).inputs[0]} for split in Split
    )
    assert not seen & held


def test_the_loss_is_torchs_cross_entropy_and_accuracy_counts():
    task = digits_mlp(hidden=[8], examples=16, start=0.5)
    batch = task.sample(3, 0, Phase.TUNE).batch(4)
    outputs = task.model(task.model.init(3, generator(0)), batch.inputs)
    wanted = torch.nn.functional.cross_entropy(outputs[1], batch.targets[1].argmax(-1))
    torch.testing.assert_close(task.loss(outputs, batch.targets)[1], wanted)
    assert task.metrics(batch.targets, batch.targets)["accuracy"].tolist() == [1.0] * 3


def test_the_papers_network_has_15910_parameters(tmp_path):
    for part in ("train", "t10k"):
        idx(tmp_path / f"{part}-images-idx3-ubyte.gz", torch.zeros(10, 28, 28, dtype=torch.uint8))
        idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", torch.arange(10, dtype=torch.uint8))
    sizes = [digits_mlp(dataset=str(tmp_path), hidden=hidden).model.size for hidden in ([20], [40], [20, 20])]
    assert sizes == [15_910, 31_810, 16_330]


def paint(file, shade, size=(4, 6)):
    """Write an image of one shade or colour, so that it can be told by any of its pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((*size, *np.shape(shade)), np.uint8)
    pixels[...] = shade
    Image.fromarray(pixels).save(file)


def painted(place, counts):
    """A class's images are shades that begin at ten times its number."""
    for number, (name, count) in enumerate(counts.items()):
        for index in range(count):
            paint(place / name / f"{index}.png", 10 * number + index)
    return str(place)


def shades(images):
    return images.images[:, 0, 0, 0].tolist()


def test_a_sub_folder_a_class_is_a_data_set(tmp_path):
    found = load(painted(tmp_path, {"cat": 8, "ape": 2}))
    assert datasets.outline(str(tmp_path), tmp_path) == ((1, 4, 6), 2)
    assert (shades(found.test), found.test.labels.tolist()) == ([10, 0, 6], [0, 1, 1])  # classes by name: ape, cat
    assert (shades(found.train), found.train.labels.tolist()) == ([11, 1, 2, 3, 4, 5, 7], [0, 1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("held", ["test", "val"])
def test_a_folder_may_divide_its_images_itself(tmp_path, held):
    (tmp_path / "train" / ".hidden").mkdir(parents=True)
    painted(tmp_path / "train", {"ape": 2, "cat": 3})
    painted(tmp_path / held, {"ape": 1, "cat": 2})
    found = load(tmp_path)
    assert (shades(found.train), shades(found.test)) == ([0, 1, 10, 11, 12], [0, 10, 11])


def test_images_are_made_alike_in_colour_and_on_demand_in_size(tmp_path):
    painted(tmp_path, {"ape": 3, "cat": 3})
    assert load(tmp_path).train.images.shape[1:] == (1, 4, 6)
    paint(tmp_path / "cat" / "9.png", [200, 100, 50, 255], size=(8, 9))
    datasets.load.cache_clear()
    with pytest.raises(UsageError, match=r"9.png has 8 × 9 pixels, .*1.png has 4 × 6; give task.size="):
        load(tmp_path)
    options = {"size": [2, 4], "channels": [2], "kernel": 3, "dense": [], "examples": 40}
    task = image_task("convnet.ConvNet", dataset=str(tmp_path), **options)
    assert task.spec.inputs == (3, 2, 4)
    pixels = (task.sample(1, 0, Phase.META_TRAIN).batch(0).inputs[0, :, :, 0, 0] * 255).round().int().tolist()
    assert [200, 100, 50] in pixels
    assert all(red == green == blue for red, green, blue in pixels if red != 200)


def test_what_is_wrong_with_a_folder_of_images_is_said(tmp_path):
    def refused(match, size=None):
        datasets.load.cache_clear()
        with pytest.raises(UsageError, match=match):
            load(tmp_path, size)

    painted(tmp_path, {"ape": 2})
    refused("has one sub-folder of images, but needs two or more, one per class")
    (tmp_path / "cat").mkdir()
    refused("there are no images in the class .*cat; put some there")
    (tmp_path / "cat" / "1.png").write_bytes((tmp_path / "ape" / "1.png").read_bytes())
    refused("cat has one image, but needs two or more")
    whole = (tmp_path / "ape" / "1.png").read_bytes()
    for broken in (b"no image at all", whole[:-30], whole[:40]):
        (tmp_path / "cat" / "2.png").write_bytes(broken)
        refused("cat/2.png cannot be read as an image")
    Image.fromarray(np.full((4, 6), 3000, np.uint16)).save(tmp_path / "cat" / "2.png")
    refused("cat/2.png has more than 8 bits per channel")
    painted(tmp_path / "train", {"ape": 2, "cat": 2})
    refused("has train, but no test or val beside it")
    painted(tmp_path / "test", {"ape": 2, "cow": 2})
    refused("must have the same classes; cat is in only one of them")
    with pytest.raises(UsageError, match="size must be a height and a width of at least 1"):
        digits_mlp(size=[4, 0])


def test_images_that_are_in_memory_are_resized_bilinearly(tmp_path):
    last = idx_folder(tmp_path)
    own, larger = load(tmp_path), load(tmp_path, size=(4, 6))
    assert torch.equal(own.test.images, last[:, None])
    assert larger.test.images.shape == (4, 1, 4, 6)
    assert larger.test.images.dtype == torch.uint8
    assert torch.equal(larger.test.labels, own.test.labels)
    # The middles of pixels are mapped: a corner keeps its value, and the mean of all changes by rounding alone.
    assert torch.equal(larger.test.images[:, :, 0, 0], own.test.images[:, :, 0, 0])
    means = [load("digits", size=size).train.images.float().mean().item() for size in (None, (4, 4))]
    assert means[1] == pytest.approx(means[0], rel=0.05)
    assert digits_mlp(size=[28, 28], hidden=[2], examples=3).spec.inputs == (784,)


def test_a_subset_of_the_labels_is_numbered_anew():
    digits = load("digits")
    task = digits_mlp(hidden=[2], classes=[7, 2, 4], examples=60)
    assert task.spec.targets == (3,)
    for phase, source in ((Phase.META_TRAIN, digits.train), (Phase.TEST, digits.test)):
        batch = task.sample(1, 0, phase).batch(0)
        pixels = (batch.inputs[0] * 255).round().to(torch.uint8)
        for image, target in zip(pixels, batch.targets[0], strict=True):
            same = (source.images.flatten(1) == image).all(1)
            assert source.labels[same].unique().tolist() == [(7, 2, 4)[target.argmax()]]


def test_pooling_takes_means():
    whole, pooled = (digits_mlp(examples=9, pool=pool).sample(2, 0, Phase.TUNE).batch(3) for pool in (1, 4))
    wanted = whole.inputs.view(2, 9, 2, 4, 2, 4).mean((3, 5)).flatten(2)
    torch.testing.assert_close(pooled.inputs, wanted)
    assert torch.equal(pooled.targets, whole.targets)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pool": 3}, "pool must divide the images' 8 × 8 pixels, which 3 does not"),
        ({"classes": [1]}, "classes must be two or more labels of 0 … 9 in digits"),
        ({"classes": [1, 1]}, "classes must be two or more labels"),
        ({"classes": [1, 10]}, "classes must be two or more labels"),
        ({"size": [0, 4]}, "size must be a height and a width of at least 1"),
        ({"examples": 1}, "examples must be at least 2, since they are normalised together"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"channels": [0]}, "every width must be at least 1"),
    ],
)
def test_options_out_of_range_are_explained(wrong, message):
    with pytest.raises(UsageError, match=message):
        image_task("convnet.ConvNet", **wrong)


def test_the_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Images()


def test_data_are_looked_for_where_one_says(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path / "b"))
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", (f"file://{tmp_path}/nowhere/",))
    for name, classes in (("a", 3), ("b", 2)):
        (tmp_path / name / "own").mkdir(parents=True)
        idx_folder(tmp_path / name / "own", classes=classes)
    assert load("own").classes == 2
    assert load("own", folder=tmp_path / "a").classes == 3  # what was read elsewhere is not found again
    file = tmp_path / "a" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    said = rf"{file} does not exist .* put that file \(MD5 f68b\w+\) there, or name the folder that has MNIST/raw/train"
    with pytest.raises(UsageError, match=said + r".* by data.dir=… or the variable L2L_DATA"):
        load("mnist", folder=tmp_path / "a")


def test_a_configuration_says_where_data_are_and_a_saved_one_does_not(tmp_path):
    (tmp_path / "own").mkdir()
    idx_folder(tmp_path / "own", classes=3)
    present = compose("meta-train", ["task=mnist_mlp", "task.dataset=own", f"data.dir={tmp_path}"])
    assert build_task(present).spec.targets == (3,)
    assert settings_of_run({"task": present.task, "choices": present.choices}, present).data.dir == str(tmp_path)
    present.data.dir = None
    with pytest.raises(UsageError, match="there is no data set 'own'"):
        build_task(present)


@pytest.mark.data
@real
@pytest.mark.parametrize(
    ("name", "shape", "tests"), [("mnist", (60_000, 1, 28, 28), 10_000), ("cifar10", (50_000, 3, 32, 32), 10_000)]
)
def test_the_real_data_are_whole(name, shape, tests):
    found = load(name)
    assert tuple(found.train.images.shape) == shape
    assert len(found.test.labels) == tests
    assert datasets.outline(name, datasets.default_folder()) == (shape[1:], found.classes)
    assert found.train.labels.unique().tolist() == list(range(10))


@pytest.mark.data
@real
def test_cifars_labels_are_divided_between_training_and_test():
    sub, two = (
        image_task("convnet.ConvNet", dataset="cifar10", classes=classes, pool=4, examples=8)
        for classes in ([*range(2, 10)], [0, 1])
    )
    for task, phase, count in (
        (sub, Phase.META_TRAIN, 40_000),
        (two, Phase.META_TRAIN, 10_000),
        (two, Phase.TEST, 2_000),
    ):
        episode = task.sample(1, 0, phase)
        assert sum(len(share.rows) for share in episode._shares.values()) == count
        outputs = task.model(task.model.init(1, generator(0)), episode.batch(0).inputs)
        assert outputs.shape == (1, 8, len(task.data.classes))
