"""Fingerprints of other people's code and of data: what changes is seen, what does not decide is not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from l2l_cli.core import fingerprint
from l2l_cli.core.fingerprint import of_code, of_folder

NODE = {"task": {"_target_": "l2l_cli.tasks.quadratic.Quadratic"}, "rules": [{"_target_": "own.rule.Rule", "lr": 0.1}]}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A package of the user's, with a module that a node names and one that it may use."""
    package = tmp_path / "own"
    package.mkdir()
    for name in ("__init__", "rule", "helper"):
        (package / f"{name}.py").write_text(f"# {name}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "own"]:
        del sys.modules[name]


@pytest.mark.parametrize("changed", ["rule", "helper"])
def test_code_is_seen_to_change_wherever_a_node_names_it(own, changed):
    before = of_code(NODE)
    assert list(before) == ["own.rule"]
    assert of_code(NODE) == before
    (own / f"{changed}.py").write_text("# changed\n")
    assert of_code(NODE) != before


def test_a_module_in_no_package_covers_those_beside_it(tmp_path, monkeypatch):
    (tmp_path / "alone_rule.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "alone_rule.Rule"}
    before = of_code(node)
    (tmp_path / "beside.py").write_text("")
    assert of_code(node) != before


def test_of_an_installed_package_it_is_the_module_alone():
    (found,) = of_code({"_target_": "torch.optim.sgd.SGD"}).values()
    assert found == of_code({"_target_": "torch.optim.sgd.Other"})["torch.optim.sgd"]
    assert fingerprint._sources("torch.optim.sgd")[0].name == "sgd.py"
    assert len(fingerprint._sources("json.decoder")) == 1


def test_our_own_code_and_what_is_no_module_have_none():
    assert of_code({"_target_": "l2l_cli.tasks.quadratic.Quadratic", "value": ["_target_", 3]}) == {}
    assert len(of_code({"_target_": "builtins.dict"})) == 1


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for name in ("train/cat/1.png", "train/cat/2.png", "test/cat/1.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 40)
    return folder


@pytest.mark.parametrize("whole", [1 << 20, 300], ids=["small", "large"])
def test_a_folder_of_data_is_known_by_names_sizes_and_content(data, whole, monkeypatch):
    monkeypatch.setattr(fingerprint, "WHOLE", whole)
    before, file = of_folder(data), data / "train" / "cat" / "1.png"
    content = file.read_bytes()
    shutil.copytree(data, data.parent / "copy")
    assert of_folder(data.parent / "copy") == before  # wherever it is, and however old
    (data / ".hidden").write_text("")
    assert of_folder(data) == before
    found = {before}
    file.write_bytes(b"x" + content[1:])
    found.add(of_folder(data))
    file.write_bytes(content[:-1] + b"x")
    found.add(of_folder(data))
    file.write_bytes(content + b"x")
    found.add(of_folder(data))
    file.write_bytes(content)
    file.rename(file.with_name("3.png"))
    found.add(of_folder(data))
    file.with_name("3.png").unlink()
    found.add(of_folder(data))
    assert len(found) == 6


def test_of_a_large_folder_some_files_are_read(data, monkeypatch):
    monkeypatch.setattr(fingerprint, "WHOLE", 100)
    monkeypatch.setattr(fingerprint, "SAMPLE", 2)
    before = of_folder(data)
    (data / "train" / "cat" / "2.png").write_bytes(b"")
    assert of_folder(data) != before


@pytest.fixture
def reads(data, tmp_path, monkeypatch):
    """The fingerprint of the data, and how many of its files were read for it; the data are old."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint, "TICK", -1.0)
    read, found = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: found.append(path) or read(path))

    def done():
        found.clear()
        return of_folder(data), len(found)

    return done


def test_data_that_have_not_changed_are_not_read_again(data, reads):
    before, count = reads()
    assert count == 3
    assert reads() == (before, 0)
    file = data / "train" / "cat" / "1.png"
    state = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # only the time of this change cannot be set
    after, count = reads()
    assert (after != before, count) == (True, 3)
    file.touch()
    assert reads() == (after, 3)
    (kept,) = (data.parent / "cache" / "l2l" / "fingerprints").iterdir()
    for damaged in (b"", b"\xff", kept.read_bytes()[:20]):
        kept.write_bytes(damaged)
        assert reads() == (after, 3)


def test_what_has_just_changed_is_read_again(data, reads, monkeypatch):
    monkeypatch.setattr(fingerprint, "TICK", 2.0)
    assert reads()[1] == reads()[1] == 3


def test_looking_for_the_source_of_a_module_runs_nothing(tmp_path, monkeypatch):
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "__init__.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "stranger" / "rule.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    found = of_code([{"_target_": "stranger.rule.Rule"}, {"_target_": "nowhere.at.All"}])
    assert len(set(found.values())) == 2


def test_classes_that_an_option_names_are_code_too(tmp_path, monkeypatch):
    node = {"_target_": "l2l_cli.learners.torch_optim.TorchOptim", "optimizer": "theirs.Rule", "others": "more.Rule"}
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text("a = 1\n")
    before = of_code([node])
    assert set(before) == {"theirs", "more"}
    (tmp_path / "theirs.py").write_text("a = 2\n")
    assert of_code([node])["theirs"] != before["theirs"]
    assert of_code([{**node, "optimizer": "torch.optim.Muon", "others": "torch.optim.AdamW"}]) == {}
    assert of_code({"choices": {"optimizer": "adam"}, "optimizer": {"lr": 0.1}}) == {}


def test_an_installed_package_that_is_named_itself_is_known_by_its_version(tmp_path, monkeypatch):
    place = tmp_path / "site-packages"
    (place / "theirs").mkdir(parents=True)
    (place / "theirs" / "__init__.py").write_text("from theirs.rule import Rule\n")
    (place / "theirs-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(place)
    before = of_code({"optimizer": "theirs.Rule"})
    (place / "theirs-1.0.dist-info").rename(place / "theirs-1.1.dist-info")
    assert of_code({"optimizer": "theirs.Rule"}) != before
