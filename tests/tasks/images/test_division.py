"""Which images each phase learns from and holds out."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase, Split
from l2l_cli.tasks.images import datasets
from l2l_cli.tasks.images.division import Division
from l2l_cli.tasks.images.labelled import LoadedImages
from tests.cases import image_folder
from tests.image_tasks import ON_DISK, digits_mlp, image_task, real

META = (Phase.META_TRAIN, Phase.META_VALID)
BEFORE = (*META, Phase.TUNE)


def load(name):
    return datasets.load(name, datasets.default_folder(), None, 1)


def numbered(labels, first=0):
    """Images that are told by their one pixel."""
    count = len(labels)
    return LoadedImages(torch.arange(first, first + count).view(count, 1, 1, 1), torch.as_tensor(labels))


def pixels(train, test, division, images=None):
    """The images of each phase and split."""
    found = {phase: Division(division, images, "these").shares(train, test, phase) for phase in Phase}
    return {
        (phase, split): share.source.images[share.rows].flatten().tolist()
        for phase, shares in found.items()
        for split, share in shares.items()
    }


MIXED = numbered([index % 3 for index in range(30)]), numbered([0, 1, 2] * 4, first=100)
SORTED = numbered([0] * 10 + [1] * 5 + [2] * 15), numbered([0, 1, 2] * 4, first=100)
PARTS = [
    (MIXED, [*range(18)], [*range(18, 30)]),
    (SORTED, [*range(6), *range(10, 13), *range(15, 24)], [*range(6, 10), 13, 14, *range(24, 30)]),
]


@pytest.mark.parametrize(("images", "first", "last"), PARTS, ids=["mixed", "class by class"])
def test_parts_keep_what_is_meta_trained_on_from_what_is_fitted_later(images, first, last):
    found = pixels(*images, "parts")
    for phase, wanted in ((Phase.META_TRAIN, first), (Phase.META_VALID, first), (Phase.TUNE, last)):
        assert found[phase, Split.TEST] == wanted[::6]
        assert sorted(found[phase, Split.TRAIN] + found[phase, Split.TEST]) == wanted
    assert found[Phase.TEST, Split.TRAIN] == last
    assert found[Phase.TEST, Split.TEST] == [*range(100, 112)]


def test_shared_images_are_fitted_to_by_every_phase():
    found = pixels(*MIXED, "shared")
    for phase in BEFORE:
        assert found[phase, Split.TEST] == [*range(0, 30, 6)]
        assert sorted(found[phase, Split.TRAIN] + found[phase, Split.TEST]) == [*range(30)]
    assert found[Phase.TEST, Split.TRAIN] == [*range(30)]
    assert found[Phase.TEST, Split.TEST] == [*range(100, 112)]


def test_phases_fit_to_test_images_in_the_phase_test_alone():
    found = pixels(*MIXED, "phases")
    for phase in Phase:
        wanted = [*range(100, 112)] if phase == Phase.TEST else [*range(30)]
        assert found[phase, Split.TEST] == wanted[::6]
        assert sorted(found[phase, Split.TRAIN] + found[phase, Split.TEST]) == wanted


def test_a_number_of_images_is_taken_after_the_division():
    found = pixels(*MIXED, "parts", images=6)
    assert found[Phase.TEST, Split.TRAIN] == [*range(18, 30, 2)]
    assert found[Phase.TEST, Split.TEST] == [*range(100, 112)]
    assert found[Phase.TUNE, Split.TRAIN] == [*range(20, 30, 2)]
    assert found[Phase.META_TRAIN, Split.TRAIN] == [*range(3, 18, 3)]
    with pytest.raises(
        UsageError, match=r"images=13, but these has 12 training images for tune; task\.images=null takes"
    ):
        Division("parts", 13, "these").shares(*MIXED, Phase.TUNE)


def test_classes_are_left_out_before_a_class_by_class_order_is_looked_for():
    train, test = SORTED
    renumbered = train._replace(labels=torch.tensor([1, -1, 0])[train.labels])
    found = pixels(renumbered, test, "parts")
    assert found[Phase.TEST, Split.TRAIN] == [*range(6, 10), *range(24, 30)]
    with pytest.raises(UsageError, match="these has 0 images of the chosen classes for test; at least two are needed"):
        Division("shared", None, "these").shares(train, test._replace(labels=-1 - test.labels), Phase.TEST)


@pytest.mark.parametrize("division", ["shared", "parts"])
def test_a_task_shows_what_is_divided_and_changes_it_where_it_is_learned_from(division):
    found = load("digits")
    kinds = {"train": found.train, "test": found.test}
    known = {name: {tuple(row) for row in part.images.flatten(1).tolist()} for name, part in kinds.items()}
    plain, crops = (digits_mlp(hidden=[2], examples=64, division=division, augment=kind) for kind in ("none", "cifar"))
    for phase in Phase:
        for split in Split:
            episodes = [task.sample(1, 0, phase) for task in (plain, crops, crops)]
            batches = [episode.batch(1, split).inputs for episode in episodes]
            assert torch.equal(*batches[1:])
            assert torch.equal(*batches[:2]) == (split == Split.TEST)
            shown = {tuple(row) for row in (batches[0][0] * 255).round().int().tolist()}
            assert shown <= known["test" if (phase, split) == (Phase.TEST, Split.TEST) else "train"]


def test_images_on_disk_are_divided_alike(tmp_path):
    image_folder(tmp_path, noise=True)
    options = {"channels": [2], "blocks": [1], "side": 14, "examples": 4, "division": "parts"}
    plain, crops = (
        image_task("resnet.ResNet", ON_DISK, dataset=str(tmp_path), augment=kind, **options)
        for kind in ("none", "imagenet")
    )
    shares = {phase: plain.sample(1, 0, phase)._shares for phase in Phase}
    assert [len(shares[phase][Split.TRAIN].rows) for phase in Phase] == [8, 8, 3, 4]
    assert len(shares[Phase.TEST][Split.TEST].rows) == 12
    for split in Split:
        one, other = (task.sample(1, 0, Phase.TEST).batch(0, split).inputs for task in (plain, crops))
        assert torch.equal(one, other) == (split == Split.TEST)


@pytest.mark.data
@real
def test_cifars_first_three_files_are_meta_trained_on():
    task = image_task("convnet.CudaConvNet", dataset="cifar10", channels=[2, 2], dense=[2], division="parts")
    shares = {phase: task.sample(1, 0, phase)._shares for phase in Phase}
    for phase in META:
        assert torch.cat([share.rows for share in shares[phase].values()]).sort().values.tolist() == [*range(30_000)]
    assert shares[Phase.TEST][Split.TRAIN].rows.tolist() == [*range(30_000, 50_000)]
    assert torch.equal(
        shares[Phase.TEST][Split.TEST].source.images,
        load("cifar10").test.images,
    )
    assert len(shares[Phase.TEST][Split.TEST].rows) == 10_000
