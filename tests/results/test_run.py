"""A run's folder: named by what was asked, written whole or not at all, by one process at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write
from l2l_cli.results import provenance
from l2l_cli.results import run as module
from l2l_cli.results.run import RunFolder, identity

HOLD = (
    "import sys; from pathlib import Path; from l2l_cli.results.run import RunFolder\n"
    "run = RunFolder(Path(sys.argv[1]))\n"
    "with run.lock(): run.begin(); print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def held_elsewhere(run: RunFolder):
    """Another process has begun the run; it is killed when the block ends."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    try:
        yield
    finally:
        other.kill()
        other.communicate()


def test_a_folder_is_named_by_its_configuration(tmp_path):
    one = RunFolder.claim(tmp_path / "meta-train", "run", {"a": 1, "b": [2]}, ["a=1"])
    assert one.path.name == f"run-{identity({'a': 1, 'b': [2]})}"
    assert RunFolder.claim(tmp_path / "meta-train", "run", {"b": [2], "a": 1}, []).path == one.path
    assert RunFolder.claim(tmp_path / "meta-train", "run", {"a": 2, "b": [2]}, []).path != one.path
    assert identity({"a": 1}, 1) != identity({"a": 1}, 2)
    assert one.config() == {"a": 1, "b": [2]}
    assert (one.path / "overrides.txt").read_text() == "a=1\n"


def test_a_chosen_folder_says_what_it_holds_now(tmp_path):
    first = RunFolder.make(tmp_path / "out", {"scale": "smoke"}, ["a=1"])
    first.begin()
    first.end("done")
    assert RunFolder.make(tmp_path / "out", {"scale": "smoke"}, []).status == "done"
    second = RunFolder.make(tmp_path / "out", {"scale": "short"}, [])
    assert (second.status, second.config()) == ("new", {"scale": "short"})
    assert (second.path / "overrides.txt").read_text() == ""


def test_a_folder_in_use_is_not_named_anew(tmp_path):
    run = RunFolder.make(tmp_path / "out", {"scale": "smoke"}, [])
    with held_elsewhere(run):
        other = RunFolder.make(tmp_path / "out", {"scale": "short"}, [])
        assert (other.status, other.config()) == ("running", {"scale": "smoke"})


def test_seconds_add_up_and_facts_merge(tmp_path, monkeypatch):
    clock = iter([100.0, 103.0, 107.0, 200.0, 205.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    run = RunFolder.claim(tmp_path / "meta-train", "run", {}, [])
    assert run.status == "new"
    with run.lock():
        run.begin(versions={"torch": "x"}, seeds=[0])
        assert run.status == "running"
        run.note(updates=3)
        assert run.facts()["seconds"] == 3.0
        run.end("interrupted", updates=4)
        assert run.status == "interrupted"
    again = RunFolder.load(run.path)
    again.begin()
    again.end("done", updates=7)
    facts = again.facts()
    assert (facts["status"], facts["updates"], facts["seconds"], facts["seeds"]) == ("done", 7, 12.0, [0])
    assert facts["peak_memory_bytes"] > 1e6
    assert set(facts["versions"]) >= {"l2l", "python", "numpy"}
    assert not list(run.path.glob(".*.tmp"))


def test_a_failure_is_told_until_it_is_mended(tmp_path):
    run = RunFolder.claim(tmp_path / "meta-train", "run", {}, [])
    run.begin()
    run.end("failed", message="too many updates were skipped", updates=3)
    assert (run.status, run.facts()["message"]) == ("failed", "too many updates were skipped")
    run.begin()
    assert "message" not in run.facts()


def test_a_lock_names_its_owner_and_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(module.sys, "argv", ["l2l", "compare", "adam"])
    run, other = (RunFolder.claim(tmp_path / "meta-train", "run", {}, []) for _ in range(2))
    with run.lock():
        owner = (
            rf"is being written by l2l process {os.getpid()} on .*, begun 20.*: l2l compare adam; wait for it or stop"
        )
        with pytest.raises(UsageError, match=owner), other.lock(patience=0.0):
            pass
    with other.lock(patience=0.0):
        assert run.owner().endswith("l2l compare adam")


def test_two_programs_do_not_write_one_folder(tmp_path):
    run = RunFolder.claim(tmp_path / "meta-train", "run", {}, [])
    with held_elsewhere(run):
        assert run.status == "running"
        with (
            pytest.raises(UsageError, match=r"being written by l2l process \d+ on .*; wait for it"),
            run.lock(patience=0.0),
        ):
            pass
    assert json.loads((run.path / "run.json").read_text())["status"] == "running"
    assert run.status == "interrupted"  # the other was killed: it can be resumed
    with run.lock():
        pass


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic_write(path, "old")

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        atomic_write(path, "new")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_folder_that_is_none_is_refused(tmp_path, monkeypatch):
    run = RunFolder.claim(tmp_path / "outputs" / "meta-train", "quadratic-lstm", {}, [])
    with pytest.raises(UsageError, match=f"did you mean '{run.path}'"):
        RunFolder.load(run.path.with_name(run.path.name[:-1]))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="did you mean 'outputs/meta-train/quadratic-lstm-"):
        RunFolder.load(Path("quadratic-lstn"))
    with pytest.raises(UsageError, match="run folders: outputs/meta-train/quadratic-lstm-"):
        RunFolder.load(Path("zzz"))
    with pytest.raises(UsageError, match=r"is not a run folder: it has no run\.json"):
        RunFolder.load(tmp_path)
    with pytest.raises(UsageError, match=r"there is no run folder /no-such-folder-at-all$"):
        RunFolder.load(Path("/no-such-folder-at-all"))


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff\xfe"])
def test_a_damaged_folder_is_refused(tmp_path, content):
    run = RunFolder.claim(tmp_path / "meta-train", "run", {}, [])
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"run\.json is damaged .* delete .* and run again"):
        RunFolder.load(run.path)


def test_a_damaged_configuration_is_refused(tmp_path):
    run = RunFolder.claim(tmp_path / "meta-train", "run", {}, [])
    (run.path / "config.yaml").write_text("a: [1")
    with pytest.raises(UsageError, match=r"config\.yaml is damaged"):
        run.config()


def test_a_run_of_another_version_is_read_unless_its_digits_are_unknown(tmp_path):
    run = RunFolder.claim(tmp_path / "meta-train", "run", {}, [])
    run.note(versions={"l2l": "9.0.0"})
    assert RunFolder.load(run.path).status == "new"
    assert RunFolder.claim(tmp_path / "meta-train", "run", {}, []).facts()["versions"] == {"l2l": "9.0.0"}
    run.note(results=module.RESULTS + 1)
    with pytest.raises(UsageError, match=r"was made by l2l 9\.0\.0, this is .*; install that version"):
        RunFolder.load(run.path)


def test_a_package_outside_a_checkout_has_no_commit(monkeypatch):
    monkeypatch.setattr(provenance.shutil, "which", lambda name: None)
    assert provenance.commit() is None


def test_results_need_no_torch():
    code = (
        "import sys; import l2l_cli.results.plot, l2l_cli.results.report\n"
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
