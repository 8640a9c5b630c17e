"""The page of all results: every run by how it stands, whoever writes, and at what cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from l2l_cli.results import index
from l2l_cli.results.run import RunFolder
from tests.results.test_page import parsed


def claimed(root: Path, name: str, command: str = "meta-train") -> RunFolder:
    return RunFolder.claim(root / command, name, {"name": name}, [])


def finished(root: Path, name: str, command: str = "meta-train", **facts: object) -> RunFolder:
    run = claimed(root, name, command)
    with run.lock():
        run.begin()
        if command != "meta-train":
            (run.path / "report.html").write_text("report")
        run.end("done", **facts)
    return run


def page(root: Path) -> str:
    text = (root / index.PAGE).read_text()
    parsed(text)
    return text


def test_every_run_is_on_the_page_with_its_state_and_what_came_of_it(tmp_path):
    trained = finished(tmp_path, "a", best_validation=0.125, updates=3)
    compared = finished(tmp_path, "b", "compare", headline="LSTM is ahead.")
    failed = claimed(tmp_path, "c")
    with failed.lock():
        failed.begin()
        assert "running" in page(tmp_path)
        failed.end("failed", message="the disk is full")
    text = page(tmp_path)
    for words in ("best validation loss 0.125 after 3 updates", "LSTM is ahead.", "the disk is full", "failed"):
        assert words in text
    assert f'href="compare/{compared.path.name}/report.html"' in text
    assert f'href="meta-train/{trained.path.name}/"' in text
    assert text.index(compared.path.name) < text.index(trained.path.name)  # reports first


def test_a_killed_run_is_said_to_be_and_a_deleted_one_gone(tmp_path):
    killed = claimed(tmp_path, "killed")
    killed.begin()  # nobody has its lock
    deleted = finished(tmp_path, "deleted")
    (deleted.path / "run.json").unlink()
    for file in deleted.path.iterdir():
        file.unlink()
    deleted.path.rmdir()
    finished(tmp_path, "last")
    text = page(tmp_path)
    assert 'data-verdict="killed"' in text
    assert "deleted-" not in text


def test_a_run_that_is_resumed_from_its_folder_finds_its_page(tmp_path):
    run = RunFolder.load(finished(tmp_path, "a").path)
    with run.lock():
        run.begin()
        run.end("done", headline="resumed")
    assert "resumed" in page(tmp_path)


def test_what_is_computed_aside_or_elsewhere_is_on_no_page(tmp_path):
    finished(tmp_path / ".again-1a2b", "a")
    assert not list(tmp_path.rglob(index.PAGE))
    finished(tmp_path, "b")
    finished(tmp_path / ".again-1a2b", "c")
    assert ".again" not in page(tmp_path)
    finished(tmp_path / "hardware" / "threads=1", "d")
    assert "hardware/threads=1/meta-train" in page(tmp_path)
    alone = RunFolder.make(tmp_path.parent / f"{tmp_path.name}-alone", {}, [])
    alone.begin()
    assert not (alone.path / index.PAGE).exists()


def test_names_and_headlines_are_text_and_strangers_lines_are_none(tmp_path):
    finished(tmp_path, "a", headline="<script>alert(1)</script> <img src=http://x>")
    journal = tmp_path / index.JOURNAL
    for place in ("../../etc", "/etc", "javascript:alert(1)", 7, None, ""):
        with journal.open("a") as file:
            file.write(json.dumps({"place": place, "state": "done", "headline": "stranger"}) + "\n")
    with journal.open("a") as file:
        file.write("{torn\n[1]\n")
    finished(tmp_path, "b")
    text = page(tmp_path)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "stranger" not in text


def test_the_journal_forgets_what_later_lines_have_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "SPARE", 3)
    run = claimed(tmp_path, "a")
    with run.lock():
        for _ in range(9):
            run.begin()
            run.end("done")
    assert len((tmp_path / index.JOURNAL).read_text().splitlines()) <= 6
    assert page(tmp_path).count("<tr data-verdict") == 1


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.results.test_index import finished\n"
        "for number in range(8): finished(Path(sys.argv[1]), f'{sys.argv[2]}{number}', best_validation=1.0)\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "xy"]
    assert [process.wait() for process in started] == [0, 0]
    text = page(tmp_path)
    assert all(f"{name}{number}-" in text for name in "xy" for number in range(8))


def test_a_page_that_cannot_be_written_harms_no_run(tmp_path):
    (tmp_path / index.PAGE).mkdir(parents=True)
    assert finished(tmp_path, "a").status == "done"


@pytest.mark.parametrize("count", [3000])
def test_thousands_of_runs_are_drawn_without_reading_any(tmp_path, count, monkeypatch):
    root = tmp_path / "meta-train"
    lines = []
    for number in range(count):
        (root / f"run-{number}").mkdir(parents=True)
        line = {"place": f"meta-train/run-{number}", "state": "done", "date": "2026-01-01T00:00", "headline": "x"}
        lines.append(json.dumps(line))
    (tmp_path / index.JOURNAL).write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(RunFolder, "_read", lambda *_: pytest.fail("a run was read"))
    index.say(root / "run-0", {"status": "done", "headline": "the newest"})
    text = page(tmp_path)
    assert text.count("<tr data-verdict") == count
    assert text.index("the newest") < text.index("run-1<")
