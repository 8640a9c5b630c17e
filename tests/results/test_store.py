"""The store: entries come back as they were, whoever else reads, writes, prunes or damages them."""

from __future__ import annotations

import multiprocessing
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from l2l_cli.results import store as module
from l2l_cli.results.store import SCORES, TRIALS, Names, Store

KEY = {"learner": {"lr": 0.1}, "seed": 0}


def keep(store, key=KEY, count=6, facts=None):
    values = np.random.default_rng(count).standard_normal(count)
    columns = {
        "contender": "adam",
        "seed": 3,
        "metric": Names(["loss", "accuracy"], np.arange(count, dtype=np.int32) % 2),
        "step": np.arange(count, dtype=np.int32),
        "value": values,
    }
    store.keep(SCORES, key, columns, facts or {})
    return values


def files(folder, kind=SCORES):
    return sorted((folder / kind).iterdir())


def test_an_entry_comes_back_bit_for_bit(tmp_path):
    store, odd = Store(tmp_path), np.array([0.1, -0.0, np.inf, -np.inf, np.nan, 5e-324, np.finfo(float).max])
    store.keep(SCORES, KEY, {"value": odd}, {"loss": 1 / 3, "none": None})
    found = store.read(SCORES, {"seed": 0, "learner": {"lr": 0.1}}, values=True)  # in another order
    assert found.values.tobytes() == odd.tobytes()
    assert found.facts == {"loss": 1 / 3, "none": None}
    assert store.known(SCORES, KEY)
    assert not store.known(TRIALS, KEY)
    assert not store.known(SCORES, KEY | {"seed": 1})
    assert store.read(SCORES, KEY).values.size == 0


def test_all_entries_are_one_frame_for_pandas(tmp_path):
    store = Store(tmp_path)
    values = [keep(store, {"seed": seed}, 4) for seed in range(3)]
    (tmp_path / SCORES / ".half.parquet.tmp").write_bytes(b"PAR1")  # a writer that was killed
    frame = pd.read_parquet(tmp_path / SCORES)
    assert frame.value.sum() == pytest.approx(sum(one.sum() for one in values))
    assert frame.metric.tolist() == ["loss", "accuracy"] * 6
    assert set(frame.contender) == {"adam"}
    assert frame.seed.tolist() == [3] * 12
    assert frame.entry.nunique() == 3
    assert frame.step.tolist() == [0, 1, 2, 3] * 3


def test_two_keys_of_one_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_file", lambda identity: "same.parquet")
    store = Store(tmp_path)
    keep(store)
    assert store.known(SCORES, KEY)
    assert store.read(SCORES, KEY | {"seed": 1}) is None


def test_results_of_other_digits_are_not_found(tmp_path, monkeypatch):
    store = Store(tmp_path)
    keep(store)
    monkeypatch.setattr(module, "RESULTS", module.RESULTS + 1)
    assert not store.known(SCORES, KEY)


def test_a_damaged_entry_is_one_line_and_is_written_again(tmp_path, capsys):
    store = Store(tmp_path)
    values = keep(store)
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    assert not store.known(SCORES, KEY)
    assert store.read(SCORES, KEY, values=True) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"store: {file} is damaged (")
    assert line.endswith("); what it held is computed again")
    keep(store)
    assert (store.read(SCORES, KEY, values=True).values == values).all()


def test_no_flipped_bit_goes_unseen(tmp_path, capsys):
    """Whatever bit flips, an entry is either as it was or counts as missing."""
    store = Store(tmp_path)
    values = keep(store, count=200, facts={"loss": 0.123456789})
    (file,) = files(tmp_path)
    whole, draw, missed = file.read_bytes(), random.Random(0), 0
    for _ in range(150):
        damaged, place = bytearray(whole), draw.randrange(len(whole))
        damaged[place] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        found = store.read(SCORES, KEY, values=True)
        missed += found is None
        assert found is None or (found.values.tobytes(), found.facts) == (values.tobytes(), {"loss": 0.123456789})
    assert missed > 50
    assert capsys.readouterr().err.count("\n") == 1  # said once


def test_a_folder_that_cannot_be_written_is_read(tmp_path, monkeypatch, capsys):
    values = keep(Store(tmp_path))

    def refused(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "atomic_write", refused)
    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    Store(tmp_path, limit=0).prune()
    assert capsys.readouterr().err.count("cannot be written") == 1
    store = Store(tmp_path)
    assert (store.read(SCORES, KEY, values=True).values == values).all()
    keep(store, {"seed": 1})
    keep(store, {"seed": 2})
    wanted = f"store: {tmp_path} cannot be written (Permission denied); nothing is added to it\n"
    assert capsys.readouterr().err == wanted
    assert len(files(tmp_path)) == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "store")
    keep(store)
    store.prune()
    assert not store.known(SCORES, KEY)
    assert capsys.readouterr().err.count("\n") == 1


def test_other_stores_are_read_and_left_alone(tmp_path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    values = keep(Store(theirs))
    (file,) = files(theirs)
    os.utime(file, (1, 1))
    store = Store(mine, [tmp_path / "missing", theirs], limit=0)
    assert (store.read(SCORES, KEY, values=True).values == values).all()
    keep(store, {"seed": 1})
    store.prune()
    assert files(mine) == []
    assert [one.stat().st_mtime for one in files(theirs)] == [1]


def test_what_was_not_used_longest_is_removed(tmp_path, capsys):
    store = Store(tmp_path)
    for seed in range(4):
        keep(store, {"seed": seed})
    entries = {seed: module._file(module._canonical({"seed": seed})) for seed in range(4)}
    for seed, name in entries.items():
        os.utime(tmp_path / SCORES / name, (1000 + seed, 1000 + seed))
    assert store.known(SCORES, {"seed": 0})  # used now
    size = files(tmp_path)[0].stat().st_size
    Store(tmp_path, limit=2.5 * size).prune()
    assert {file.name for file in files(tmp_path)} == {entries[0], entries[3]}
    assert capsys.readouterr().err.startswith("store: removed the 2 least recently used entries, to keep ")
    Store(tmp_path, limit=2.5 * size).prune()
    assert capsys.readouterr().err == ""
    Store(tmp_path, limit=0).prune()
    assert files(tmp_path) == []


def test_what_killed_writers_left_is_removed_when_it_is_old(tmp_path):
    store = Store(tmp_path)
    keep(store)
    old, new = (tmp_path / SCORES / f".{name}.parquet.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"PAR1")
    os.utime(old, (1, 1))
    store.prune()
    assert not old.exists()
    assert new.exists()
    assert store.known(SCORES, KEY)


def write_and_read(folder: Path) -> bool:
    store, right = Store(folder), True
    for count in range(1, 9):
        for _ in range(3):
            values = keep(store, {"count": count}, 100 * count)
            found = store.read(SCORES, {"count": count}, values=True)
            right = right and found is not None and found.values.tobytes() == values.tobytes()
    return right


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_several_may_write_the_same_entries(kind, tmp_path, capsys):
    """Nobody ever sees half a file, and nothing else is left."""
    if kind == "threads":
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(write_and_read, [tmp_path] * 4))
    else:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert all(pool.map(write_and_read, [tmp_path] * 2))
    assert len(files(tmp_path)) == 8
    assert capsys.readouterr().err == ""
