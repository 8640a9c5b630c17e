"""Images that are decoded for their minibatch, from tiny folders and from the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split
from l2l_cli.tasks.images import on_disk
from tests.cases import image_folder
from tests.image_tasks import DATA, ON_DISK, image_task

FOLDERS = [Path(DATA or "/nowhere") / name for name in ("imagenette", "imagenette2-320", "imagenet")]
REAL = next((folder for folder in FOLDERS if (folder / "train").is_dir()), None)
real = pytest.mark.skipif(REAL is None, reason="images are looked for in imagenette or imagenet under L2L_DATA")
SMALL = {"channels": [2, 2], "blocks": [1, 1], "side": 14, "examples": 6}
RESNET18 = {"channels": [64, 128, 256, 512], "blocks": [2, 2, 2, 2]}


def on_disk_task(**options):
    own = {"stem": "imagenet", "augment": "imagenet", "standardise": "channels"}
    return image_task("resnet.ResNet", ON_DISK, **{**own, **options})


def task(place, **options):
    return on_disk_task(dataset=str(place), **{**SMALL, **options})


def test_the_folder_says_how_many_classes_there_are(tmp_path):
    image_folder(tmp_path, classes=4)
    assert task(tmp_path).spec.targets == (4,)
    assert task(tmp_path, outputs=7).spec.targets == (7,)
    train, test = task(tmp_path).data.parts()
    assert train.labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7 + [3] * 7
    assert [Path(file).parts[-3:] for file in test.files[:2]] == [
        ("val", "n0", "0.JPEG"),
        ("val", "n0", "1.JPEG"),
    ]


def test_resnet_18_has_its_number_of_parameters_before_there_is_an_image(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    assert on_disk_task().spec.targets == (1000,)
    assert on_disk_task(outputs=1001, **RESNET18).model.size == 11_692_329
    said = rf"no image folder 'imagenet' .* here or in {tmp_path}; unpack ILSVRC2012_img_train.tar \(MD5 1d67\w+\) in "
    with pytest.raises(
        UsageError, match=said + rf"{tmp_path}/imagenet/train/<class>/\*.JPEG, ILSVRC2012_img_val.tar \(MD5 29b2"
    ):
        on_disk_task().sample(1, 0, Phase.META_TRAIN)
    with pytest.raises(UsageError, match=r"no image folder 'own' .* imagenette2-320.tgz \(MD5 3df6\w+"):
        on_disk_task(dataset="own")
    image_folder(tmp_path / "imagenet", classes=3)
    assert on_disk_task().spec.targets == (3,)


def test_batches_are_pure_functions_and_hold_out(tmp_path):
    image_folder(tmp_path)
    one, other = (task(tmp_path).sample(2, 3, Phase.META_TRAIN) for _ in range(2))
    batches = one.batches(0, 3)  # each decoded ahead
    assert torch.equal(batches.inputs[2], other.batch(2).inputs)
    assert torch.equal(batches.targets[2], other.batch(2).targets)
    assert torch.equal(one.batch(1, Split.TEST).inputs, other.batch(1, Split.TEST).inputs)
    assert batches.inputs.shape == (3, 2, 6, 3, 14, 14)
    assert not torch.equal(batches.inputs[0], batches.inputs[1])
    held, learned = one._shares[Split.TEST].rows.tolist(), one._shares[Split.TRAIN].rows.tolist()
    assert sorted(held + learned) == list(range(14))
    assert held == [0, 6, 12]
    assert len(task(tmp_path, images=6).sample(1, 0, Phase.TUNE)._shares[Split.TRAIN].rows) == 5


def test_each_image_keeps_its_class_and_colour(tmp_path):
    """Images of one colour each: whatever the crop, the pixels say which it was, less the mean colour."""
    image_folder(tmp_path)
    found = task(tmp_path).sample(1, 0, Phase.META_TRAIN).batch(0)
    pixels = found.inputs[0] + torch.tensor([123.68, 116.78, 103.94]).view(3, 1, 1)
    for image, target in zip(pixels, found.targets[0], strict=True):
        red = 100 * target.argmax().item()
        assert (image[0] - red).abs().max() < 30
        assert (image[1] - image[1].mean()).abs().max() < 4


def test_a_part_is_what_pillow_resizes_and_crops(tmp_path):
    """The middle, 14 of 16 pixels, of an image whose shorter side is 32; and a flip of a corner."""
    pixels = np.random.default_rng(0).integers(256, size=(32, 64, 3), dtype=np.uint8)
    file = tmp_path / "image.png"
    Image.fromarray(pixels).save(file)
    middle = on_disk.decode(str(file), 14, [16 / 14, 0.5, 0.5, 0.0])
    wanted = np.asarray(Image.fromarray(pixels).resize((32, 16), Image.Resampling.BILINEAR))[1:15, 9:23]
    assert np.abs(middle.astype(int)[2:-2, 2:-2] - wanted[2:-2, 2:-2]).max() <= 1
    corner = on_disk.decode(str(file), 16, [2.0, 0.0, 1.0, 1.0])
    assert np.array_equal(corner, pixels[:16, -16:][:, ::-1])
    Image.fromarray(pixels[:, :, 0]).save(file)
    assert on_disk.decode(str(file), 8, [1.5, 0.1, 0.2, 0.0]).shape == (8, 8, 3)


def test_only_what_is_learned_from_is_changed_and_in_the_test_phase_on_demand(tmp_path):
    image_folder(tmp_path, noise=True)
    plain, crops = task(tmp_path, augment="none"), task(tmp_path)
    also = task(tmp_path, augment_test=True)
    for phase, split, changing, changed in (
        (Phase.META_TRAIN, Split.TRAIN, crops, True),
        (Phase.META_TRAIN, Split.TEST, crops, False),
        (Phase.TEST, Split.TRAIN, crops, False),
        (Phase.TEST, Split.TRAIN, also, True),
        (Phase.TEST, Split.TEST, also, False),
    ):
        found = [one.sample(1, 0, phase).batch(0, split).inputs for one in (plain, changing)]
        assert torch.equal(*found) != changed, (phase, split)


def test_the_network_answers(tmp_path):
    image_folder(tmp_path)
    own = task(tmp_path, recompute=True)
    batch = own.sample(2, 0, Phase.TEST).batch(0)
    outputs = own.model(own.model.init(2, generator(0)), batch.inputs)
    assert outputs.shape == batch.targets.shape == (2, 6, 2)


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    def refused(match):
        on_disk._index.cache_clear()
        with pytest.raises(UsageError, match=match):
            task(tmp_path).sample(1, 0, Phase.TEST).batch(0)

    image_folder(tmp_path)
    broken = tmp_path / "val" / "n1" / "0.JPEG"
    for file in (tmp_path / "val").glob("*/*"):
        file.write_bytes(b"no image")
    refused("JPEG cannot be read as an image")
    broken.parent.rename(tmp_path / "val" / "n2")
    refused("val must have the same classes; n1 is in only one of them")
    for folder in (tmp_path / "val").glob("n*"):
        folder.rename(tmp_path / folder.name)
    refused(
        "val has no sub-folders of images, but needs two or more, one per class; ILSVRC2012's validation images come"
    )
    (tmp_path / "val").rmdir()
    refused("has train, but no val or valid beside it")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"examples": 1}, "examples must be at least 2"),
        ({"side": 0}, "side must be at least 1"),
        ({"outputs": 1}, "outputs must be at least 2, the classes of"),
        ({"horizon": 0}, "examples and horizon must be at least 1"),
        ({"images": 1}, "images must be at least 2"),
        ({"images": 15}, "images=15, but .* has 14 training images"),
    ],
)
def test_options_out_of_range_are_explained(tmp_path, wrong, message):
    image_folder(tmp_path)
    with pytest.raises(UsageError, match=message):
        task(tmp_path, **wrong).sample(1, 0, Phase.META_TRAIN)


@pytest.mark.data
@real
def test_real_images_pass_through_resnet_18():
    own = task(REAL, side=224, examples=4, **RESNET18)
    episode = own.sample(1, 0, Phase.META_TRAIN)
    batch = episode.batch(0)
    assert batch.inputs.shape == (1, 4, 3, 224, 224)
    assert batch.inputs.min() >= -124
    assert batch.inputs.max() <= 152
    assert 40 < batch.inputs.std() < 100
    with torch.no_grad():
        outputs = own.model(own.model.init(1, generator(0)), batch.inputs)
    assert torch.isfinite(own.loss(outputs, batch.targets)).all()
