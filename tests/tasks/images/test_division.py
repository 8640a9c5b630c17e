"""Which pictures each phase learns from and holds out."""

from __future__ import annotations

import os

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase, Split
from l2l_cli.tasks import datasets
from l2l_cli.tasks.convolutional import ImagesCudaConvNet
from l2l_cli.tasks.division import divide
from l2l_cli.tasks.imagenet import PhotosResNet
from l2l_cli.tasks.images import ImagesMLP
from l2l_cli.tasks.pictures import Pictures
from tests.cases import photo_folder

DATA = os.environ.get("L2L_DATA")
real = pytest.mark.skipif(DATA is None, reason="real data are looked for under L2L_DATA, which is not set")
META = (Phase.META_TRAIN, Phase.META_VALID)
BEFORE = (*META, Phase.TUNE)


def numbered(labels, first=0):
    """Pictures that are told by their one pixel."""
    count = len(labels)
    return Pictures(torch.arange(first, first + count).view(count, 1, 1, 1), torch.as_tensor(labels))


def pixels(train, test, division, images=None):
    """The pictures of each phase and split."""
    found = {phase: divide(train, test, division, phase, images, "these") for phase in Phase}
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


@pytest.mark.parametrize(("pictures", "first", "last"), PARTS, ids=["mixed", "class by class"])
def test_parts_keep_what_is_meta_trained_on_from_what_is_fitted_later(pictures, first, last):
    found = pixels(*pictures, "parts")
    for phase, wanted in ((Phase.META_TRAIN, first), (Phase.META_VALID, first), (Phase.TUNE, last)):
        assert found[phase, Split.TEST] == wanted[::6]
        assert sorted(found[phase, Split.TRAIN] + found[phase, Split.TEST]) == wanted
    assert found[Phase.TEST, Split.TRAIN] == last
    assert found[Phase.TEST, Split.TEST] == [*range(100, 112)]


def test_shared_pictures_are_fitted_to_by_every_phase():
    found = pixels(*MIXED, "shared")
    for phase in BEFORE:
        assert found[phase, Split.TEST] == [*range(0, 30, 6)]
        assert sorted(found[phase, Split.TRAIN] + found[phase, Split.TEST]) == [*range(30)]
    assert found[Phase.TEST, Split.TRAIN] == [*range(30)]
    assert found[Phase.TEST, Split.TEST] == [*range(100, 112)]


def test_phases_fit_to_test_pictures_in_the_phase_test_alone():
    found = pixels(*MIXED, "phases")
    for phase in Phase:
        wanted = [*range(100, 112)] if phase == Phase.TEST else [*range(30)]
        assert found[phase, Split.TEST] == wanted[::6]
        assert sorted(found[phase, Split.TRAIN] + found[phase, Split.TEST]) == wanted


def test_a_number_of_pictures_is_taken_after_the_division():
    found = pixels(*MIXED, "parts", images=6)
    assert found[Phase.TEST, Split.TRAIN] == [*range(18, 30, 2)]
    assert found[Phase.TEST, Split.TEST] == [*range(100, 112)]
    assert found[Phase.TUNE, Split.TRAIN] == [*range(20, 30, 2)]
    assert found[Phase.META_TRAIN, Split.TRAIN] == [*range(3, 18, 3)]
    with pytest.raises(UsageError, match="images=13, but these has 12 training pictures for tune; images=null takes"):
        divide(*MIXED, "parts", Phase.TUNE, 13, "these")


def test_classes_are_left_out_before_a_class_by_class_order_is_looked_for():
    train, test = SORTED
    renumbered = train._replace(labels=torch.tensor([1, -1, 0])[train.labels])
    found = pixels(renumbered, test, "parts")
    assert found[Phase.TEST, Split.TRAIN] == [*range(6, 10), *range(24, 30)]
    with pytest.raises(UsageError, match="these has 0 pictures of the chosen classes for test; two are the least"):
        divide(train, test._replace(labels=-1 - test.labels), "shared", Phase.TEST, None, "these")


@pytest.mark.parametrize("division", ["shared", "parts"])
def test_a_task_shows_what_is_divided_and_changes_it_where_it_is_learned_from(division):
    found = datasets.load("digits")
    kinds = {"train": found.train, "test": found.test}
    known = {name: {tuple(row) for row in part.images.flatten(1).tolist()} for name, part in kinds.items()}
    plain, crops = (ImagesMLP(hidden=[2], examples=64, division=division, augment=kind) for kind in ("none", "cifar"))
    for phase in Phase:
        for split in Split:
            episodes = [task.sample(1, 0, phase) for task in (plain, crops, crops)]
            batches = [episode.batch(1, split).inputs for episode in episodes]
            assert torch.equal(*batches[1:])
            assert torch.equal(*batches[:2]) == (split == Split.TEST)
            shown = {tuple(row) for row in (batches[0][0] * 255).round().int().tolist()}
            assert shown <= known["test" if (phase, split) == (Phase.TEST, Split.TEST) else "train"]


def test_photos_are_divided_alike(tmp_path):
    photo_folder(tmp_path, noise=True)
    options = {"channels": [2], "blocks": [1], "side": 14, "examples": 4}
    plain, crops = (
        PhotosResNet(str(tmp_path), division="parts", augment=kind, **options) for kind in ("none", "imagenet")
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
    task = ImagesCudaConvNet(channels=[2, 2], dense=[2], division="parts")
    shares = {phase: task.sample(1, 0, phase)._shares for phase in Phase}
    for phase in META:
        assert torch.cat([share.rows for share in shares[phase].values()]).sort().values.tolist() == [*range(30_000)]
    assert shares[Phase.TEST][Split.TRAIN].rows.tolist() == [*range(30_000, 50_000)]
    assert torch.equal(shares[Phase.TEST][Split.TEST].source.images, datasets.load("cifar10").test.images)
    assert len(shares[Phase.TEST][Split.TEST].rows) == 10_000
