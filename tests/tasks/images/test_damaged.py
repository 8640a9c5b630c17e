"""Data files that are not what their names say: one line, what to do, and no memory for what they claim."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc

import pytest
import torch
from PIL import Image

from l2l_cli.core.errors import UsageError
from l2l_cli.tasks.images import datasets, folders
from tests.tasks.images.test_in_memory import idx, idx_folder

IMAGES = "train-images-idx3-ubyte"
HEADER = struct.pack(">HBB3I", 0, 8, 3, 4, 2, 3)


def load(place, size=None):
    return datasets.load(str(place), place, size, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (HEADER[:9], "within its header"),
        (HEADER + bytes(23), "it is truncated: "),
        (HEADER + bytes(25), "it "),
        (b"GIF89a" + bytes(40), "it is not an IDX file of bytes with 3 axes"),
        (struct.pack(">HBB3I", 0, 13, 3, 4, 2, 3) + bytes(96), "it is not an IDX file of bytes"),
        (struct.pack(">HBBI", 0, 8, 1, 24) + bytes(24), "it is not an IDX file of bytes with 3 axes"),
        (struct.pack(">HBB3I", 0, 8, 3, 0, 2, 3), "it holds nothing"),
        (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3) + bytes(24), "it is truncated: its header declares"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_an_idx_file_that_is_not_whole_is_named(content, reason, compressed, tmp_path):
    idx_folder(tmp_path)
    (tmp_path / f"{IMAGES}.gz").unlink()
    file = tmp_path / (f"{IMAGES}.gz" if compressed else IMAGES)
    file.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(UsageError) as refused:
        load(tmp_path)
    text = str(refused.value)
    assert text.startswith(f"{file} is damaged or a different file: ")
    assert "delete it and fetch it again" in text
    if not (compressed and "says" in reason):
        assert reason in text


@pytest.mark.parametrize("damage", ["plain", "cut", "flipped", "cut_within_header"])
def test_a_compressed_file_that_does_not_unpack_is_named(damage, tmp_path):
    idx_folder(tmp_path)
    file = tmp_path / f"{IMAGES}.gz"
    packed = bytearray(gzip.compress(HEADER + os.urandom(24)))
    packed[len(packed) // 2] ^= 255 if damage == "flipped" else 0
    kept = {"plain": HEADER + bytes(24), "cut": packed[:-12], "cut_within_header": packed[:5]}.get(damage, packed)
    file.write_bytes(kept)
    with pytest.raises(UsageError, match=f"{file} is damaged or a different file: ") as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)
    if damage == "plain":
        assert "not compressed by gzip, though its name says so" in str(refused.value)


def test_what_a_header_does_not_declare_is_never_unpacked(tmp_path):
    idx_folder(tmp_path)
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(HEADER + bytes(200_000_000), 1))
    tracemalloc.start()
    with pytest.raises(UsageError, match="it has more than the 24 values"):
        load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_parts_of_different_sizes_are_refused(tmp_path):
    idx_folder(tmp_path)
    idx(tmp_path / "t10k-images-idx3-ubyte.gz", torch.zeros(4, 5, 5, dtype=torch.uint8))
    with pytest.raises(UsageError, match="train have 2 × 3 pixels, those of t10k 5 × 5"):
        load(tmp_path)


def paint(place, *names, size=(4, 4)):
    place.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.new("RGB", size, (index, 7, 9)).save(place / name)


@pytest.fixture
def pictures(tmp_path):
    for name in ("cats", "dogs"):
        paint(tmp_path / name, *(f"{index}.png" for index in range(4)))
    return tmp_path


def test_files_beside_the_images_are_skipped_and_said_in_one_line(pictures, capsys):
    for name in ("Thumbs.db", "notes.txt", ".DS_Store", "desktop.ini", "README", "README.md", "labels.csv", "a.pdf"):
        (pictures / "cats" / name).write_text("no image")
    found = load(pictures)
    assert len(found.train.labels) + len(found.test.labels) == 8
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "skipped 7 files other than images" in said
    assert "Thumbs.db" in said
    assert "and 2 more" in said


def test_an_image_without_an_ending_is_an_image(pictures):
    (pictures / "cats" / "0.png").rename(pictures / "cats" / "0")
    found = load(pictures)
    assert len(found.train.labels) + len(found.test.labels) == 8


def test_all_damaged_images_are_named_at_once(pictures):
    for name in ("cats/0.png", "cats/3.png", "dogs/2.png"):
        content = (pictures / name).read_bytes()
        (pictures / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError) as refused:
        load(pictures)
    text = str(refused.value)
    for name in ("cats/0.png", "cats/3.png", "dogs/2.png"):
        assert str(pictures / name) in text
    assert "3 in all" in text
    assert "repair or remove it" in text


def test_sizes_that_differ_are_told_with_the_key_to_type(pictures):
    paint(pictures / "dogs", "9.png", size=(5, 4))
    with pytest.raises(UsageError, match=r"give task.size=\[height,width\] to resize all"):
        load(pictures)


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Train", "Test"), ("TRAIN", "VAL"), ("training", "validation"), ("train", "valid")],
)
def test_a_division_is_known_by_its_usual_names_in_any_case(train, test, tmp_path):
    for part in (train, test):
        for name in ("cats", "dogs"):
            paint(tmp_path / part / name, *(f"{index}.png" for index in range(3)))
    found = load(tmp_path)
    assert found.classes == 2
    assert len(found.train.labels) == len(found.test.labels) == 6


def test_a_class_may_be_called_training(tmp_path):
    for name in ("Training", "resting"):
        paint(tmp_path / name, *(f"{index}.png" for index in range(3)))
    assert load(tmp_path).classes == 2


def test_a_folder_that_cannot_be_divided_or_has_empty_classes_is_explained(tmp_path, pictures):
    (pictures / "birds").mkdir()
    (pictures / "fish").mkdir()
    (pictures / "fish" / "notes.txt").write_text("")
    with pytest.raises(
        UsageError, match=r"there are no images in the class .*birds, .*fish; put some there, or remove"
    ):
        load(pictures)
    paint(tmp_path / "one" / "cats", "0.png", "1.png")
    with pytest.raises(UsageError, match="has one sub-folder of images, but needs two or more, one per class"):
        load(tmp_path / "one")
    paint(tmp_path / "two" / "Train" / "cats", "0.png")
    with pytest.raises(UsageError, match="has Train, but no test or val beside it"):
        load(tmp_path / "two")


def test_more_images_than_memory_holds_are_refused_before_they_are_read(pictures, monkeypatch):
    monkeypatch.setattr(folders, "usable_memory", lambda: 100)
    with pytest.raises(UsageError, match=r"8 images of 4 × 4 take about .* task.size="):
        load(pictures)
