"""Loggers: real files, read back by their own readers, that hold what metrics.csv holds, also after a kill."""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from l2l_cli.core.errors import UsageError
from l2l_cli.results.loggers import JsonLines, TensorBoard
from l2l_cli.results.metrics import Metric, MetricsFile
from tests.test_cli import run

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="the extra tensorboard is not installed"
)

TRAINING = "task=quadratic learner.rule.hidden=2 gradient.episodes=2 meta.validation_episodes=2 meta.patience=null"
SMALL = f"meta-train {TRAINING} meta.updates=12 meta.validate_every=3"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(*steps: int, first: float = 1.0) -> list[Metric]:
    return [
        Metric("x", 0, name, first / step, step, statistic="mean", split="meta_valid")
        for step in steps
        for name in ("mean_loss", "final_loss")
    ]


def only(pattern: str) -> Path:
    (found,) = Path().glob(pattern)
    return found


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What TensorBoard's own reader finds in all event files of a folder, in the order in which it is written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            # The reader turns scalars into tensors.
            found += [(value.tag, event.step, value.tensor.float_val[0]) for value in event.summary.value]
    return found


def expected(noted: list[Metric]) -> list[tuple[str, int, float]]:
    return [
        (f"{row.split}/{row.metric}", row.step, struct.unpack("f", struct.pack("f", row.value))[0]) for row in noted
    ]


def objects(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_json_lines_are_the_rows_of_metrics_csv_to_the_last_digit(tmp_path):
    logger = JsonLines()
    assert not logger.has_logged(tmp_path)
    logger.begin(tmp_path, rows(1, 2, first=0.1))
    logger.append(rows(3, first=0.1))
    logger.append([Metric("x", 0, "skipped", math.inf, 4, statistic="mean", split="meta_train")])
    logger.close()
    *found, last = objects(tmp_path)
    assert [Metric(**one) for one in found] == rows(1, 2, 3, first=0.1)
    assert last["value"] is None
    assert logger.has_logged(tmp_path)
    JsonLines().begin(tmp_path, rows(1))
    assert [Metric(**one) for one in objects(tmp_path)] == rows(1)


@needs_tensorboard
def test_event_files_are_read_by_tensorboard_and_begun_anew_keep_their_times(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = TensorBoard()
    assert not first.has_logged(tmp_path)
    first.begin(tmp_path, rows(1, 2))
    first.append(rows(3))
    first.close()
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    assert accumulator.Tags()["scalars"] or accumulator.Tags()["tensors"]
    assert scalars(tmp_path) == expected(rows(1, 2, 3))
    before = times(tmp_path)
    time.sleep(0.01)
    second = TensorBoard()
    second.begin(tmp_path, rows(1, 2))
    second.append(rows(3, first=2.0))
    second.close()
    assert scalars(tmp_path) == expected([*rows(1, 2), *rows(3, first=2.0)])
    after = times(tmp_path)
    assert [after[step] for step in (1, 2)] == [before[step] for step in (1, 2)]
    assert after[3] > before[3]


def times(folder: Path) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    events = [event for path in folder.glob("events.*") for event in EventFileLoader(str(path)).Load()]
    return {event.step: event.wall_time for event in events if event.HasField("summary")}


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setattr("l2l_cli.results.loggers.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'l2l-cli\[tensorboard\]'"):
        TensorBoard()
    for flags in ("", " --dry-run"):
        code, _, err = run(f"{SMALL} logger=tensorboard{flags}", monkeypatch, capsys)
        assert (code, len(err.splitlines()), list(Path().iterdir())) == (2, 1, [])
        assert "pip install 'l2l-cli[tensorboard]'" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("meta-train logger=tensorbord", "there is no logger 'tensorbord'; did you mean 'tensorboard'?"),
        ("meta-train logger._target_=x.Y", "there is no option 'logger._target_'"),
        ("meta-train +logger._target_=l2l_cli.meta.loss.Trajectory", "logger: Trajectory is not a Logger"),
        ("compare adam logger=jsonl", "compare does not use logger=jsonl: it does no meta-training"),
        pytest.param(
            "reproduce bosc2016 table logger=jsonl",
            "reproduce does not use logger=jsonl: its runs write metrics.csv",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_logger_that_cannot_be_is_refused(words, message, monkeypatch, capsys):
    code, _, err = run(words, monkeypatch, capsys)
    assert (code, list(Path().iterdir())) == (2, [])
    assert message in err


def test_a_logger_changes_neither_identity_nor_digits_and_logs_what_was_done_without_it(monkeypatch, capsys):
    assert run(f"{SMALL} output=plain", monkeypatch, capsys)[0] == 0
    assert run(f"{SMALL} output=logged logger=jsonl", monkeypatch, capsys)[0] == 0
    plain, logged = only("plain/meta-train/*"), only("logged/meta-train/*")
    assert plain.name == logged.name
    for name in ("metrics.csv", "weights.safetensors", "config.yaml"):
        assert (plain / name).read_bytes() == (logged / name).read_bytes()
    assert [Metric(**one) for one in objects(logged)] == MetricsFile(logged / "metrics.csv").rows()
    assert not (plain / "metrics.jsonl").exists()
    _, out, _ = run(f"{SMALL} output=plain logger=jsonl", monkeypatch, capsys)
    assert "already done, reused" in out
    assert (plain / "metrics.jsonl").read_bytes() == (logged / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("kind", ["jsonl", pytest.param("tensorboard", marks=[needs_tensorboard, pytest.mark.slow])])
def test_a_run_that_goes_on_has_each_record_once(kind, monkeypatch, capsys):
    """It is stopped after its checkpoint has fallen behind: what was logged since is logged again, once."""
    from l2l_cli.meta.gradient_training import MetaTraining
    from l2l_cli.runs.member import Member

    update, checkpoint, calls = MetaTraining.update, Member.checkpoint, []

    def interrupted(self):
        calls.append(self)
        if len(calls) == 5:
            checkpoint(member[0])
        if len(calls) == 9:
            raise KeyboardInterrupt  # in the middle of an update: nothing may be saved
        return update(self)

    member: list[Member] = []
    restore = Member.restore
    monkeypatch.setattr(Member, "restore", lambda self, builder: member.append(self) or restore(self, builder))
    monkeypatch.setattr(MetaTraining, "update", interrupted)
    assert run(f"{SMALL} logger={kind}", monkeypatch, capsys)[0] == 130
    folder = only("outputs/meta-train/*")
    assert {row.step for row in MetricsFile(folder / "metrics.csv").rows()} == {3, 6}
    monkeypatch.setattr(MetaTraining, "update", update)
    assert run(f"meta-train --resume {folder} logger={kind}", monkeypatch, capsys)[0] == 0
    noted = MetricsFile(folder / "metrics.csv").rows()
    assert {row.step for row in noted} == {3, 6, 9, 12}
    if kind == "jsonl":
        assert [Metric(**one) for one in objects(folder)] == noted
    else:
        assert scalars(folder) == expected(noted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", pytest.param("tensorboard", marks=needs_tensorboard)])
def test_a_killed_run_goes_on_with_the_records_of_one_that_was_never_killed(kind):
    def command(output: str) -> list[str]:
        words = f"meta-train {TRAINING} meta.updates=600 meta.validate_every=5 meta.checkpoint_every=0.2"
        return [sys.executable, "-m", "l2l_cli", *words.split(), f"logger={kind}", f"output={output}"]

    subprocess.run(command("whole"), capture_output=True, check=True)
    process = subprocess.Popen(command("parts"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while not list(Path().glob("parts/meta-train/*/checkpoint.safetensors")) and time.monotonic() - began < 60:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command("parts"), capture_output=True, check=True)
    whole, parts = only("whole/meta-train/*"), only("parts/meta-train/*")
    assert (whole / "metrics.csv").read_bytes() == (parts / "metrics.csv").read_bytes()
    if kind == "jsonl":
        assert (whole / "metrics.jsonl").read_bytes() == (parts / "metrics.jsonl").read_bytes()
    else:
        assert scalars(whole) == scalars(parts) == expected(MetricsFile(whole / "metrics.csv").rows())


@pytest.mark.slow
def test_seeds_side_by_side_have_a_log_each(monkeypatch, capsys):
    assert run(f"{SMALL} -m seed=0,1 logger=jsonl", monkeypatch, capsys)[0] == 0
    logs = [objects(path) for path in Path().glob("outputs/meta-train/*")]
    assert sorted({one["seed"] for one in log} for log in logs) == [{0}, {1}]
