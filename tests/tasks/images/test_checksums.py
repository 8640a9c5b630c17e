"""A data file's checksum is computed once, and again when the file was changed."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from l2l_cli.core.errors import UsageError
from l2l_cli.tasks.images import checksums
from l2l_cli.tasks.images.checksums import read_verified

CONTENT = b"images"
CHECKSUM = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """The files whose checksum was computed; the cache is in the temporary folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found, verify = [], checksums.verify

    def counted(path, content, checksum):
        found.append(path)
        verify(path, content, checksum)

    monkeypatch.setattr(checksums, "verify", counted)
    return found


def test_a_checksum_is_computed_once_as_long_as_the_file_stays(tmp_path, computed):
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    assert read_verified(path, CHECKSUM) == read_verified(path, CHECKSUM) == CONTENT
    assert computed == [path]
    os.utime(path, (1, 1))
    assert read_verified(path, CHECKSUM) == CONTENT
    assert computed == [path, path]


def test_a_file_that_was_changed_is_refused_and_not_remembered(tmp_path, computed):
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    read_verified(path, CHECKSUM)
    path.write_bytes(b"others")
    for _ in range(2):
        with pytest.raises(UsageError, match="is damaged or a different file"):
            read_verified(path, CHECKSUM)
    assert len(computed) == 3


@pytest.mark.parametrize("memory", ["{", "[1]", json.dumps({"other": [1]})])
def test_a_damaged_memory_is_no_memory(tmp_path, computed, memory):
    (tmp_path / "cache" / "l2l").mkdir(parents=True)
    (tmp_path / "cache" / "l2l" / "checksums.json").write_text(memory)
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    assert read_verified(path, CHECKSUM) == CONTENT
    assert computed == [path]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, computed):
    (tmp_path / "cache").write_text("a file where the folder should be")
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    assert read_verified(path, CHECKSUM) == read_verified(path, CHECKSUM) == CONTENT
    assert computed == [path, path]
