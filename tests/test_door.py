"""Whatever a user, a disk or a network does is one line that says what to do next; frames are for faults of ours."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from l2l_cli.cli import main
from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.failures import REPORT, UnforeseenError, failure_of
from l2l_cli.runs import member as runs_member

QUICK = (
    "task=quadratic meta.updates=2 gradient.episodes=2 task.horizon=5 gradient.window=5 meta.validation_episodes=4 "
    "hardware.kernels=reference"
)


def run(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["l2l", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def facts_under(folder):
    return [json.loads(path.read_text()) for path in sorted(Path(folder).rglob("run.json"))]


def shows_no_frames(err):
    return "Traceback" not in err and "site-packages" not in err and REPORT not in err


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free space and repeat the command: it continues from the last checkpoint"),
        (errno.EDQUOT, "free space and repeat the command"),
        (errno.EROFS, "choose another folder"),
        (errno.EACCES, "change its permissions"),
        (errno.EPERM, "change its permissions"),
        (errno.ENOENT, "it or its folder was removed"),
        (errno.EIO, "the disk is failing"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENAMETOOLONG, "shorten name="),
        (errno.ENOTDIR, "choose another folder"),
        (errno.EBUSY, "repeat the command"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_what_to_do_next(number, advice):
    failure = failure_of(OSError(number, os.strerror(number), "outputs/run/metrics.csv"))
    assert type(failure) is RunFailed
    text = str(failure)
    assert text.startswith("outputs/run/metrics.csv: ")
    assert os.strerror(number) in text
    assert advice in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tr"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 79 GiB total capacity; …)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_too_little_memory_is_told_with_what_takes_less(error):
    failure = failure_of(error)
    assert "out of memory" in str(failure)
    assert "gradient.episodes" in str(failure)


def test_a_broken_connection_and_a_process_limit_are_no_faults_of_ours():
    assert "repeat the command" in str(failure_of(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")))
    assert "hardware.processes" in str(failure_of(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")))
    assert "hardware.threads" in str(failure_of(RuntimeError("can't start new thread")))


def test_what_is_meant_for_users_stays_as_it_is():
    error = UsageError("no such thing")
    assert failure_of(error) is error


def test_a_fault_of_ours_shows_its_lines_and_says_where_to_report_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(runs_member.Member, "note", "".index)  # no frame of its own, as a fault in our own line
    code, _, err = run(f"meta-train {QUICK} output={tmp_path}", monkeypatch, capsys)
    assert code == 1
    assert "failed: TypeError: " in err
    assert "training.py:" in err
    assert "site-packages" not in err
    assert err.rstrip().endswith(REPORT)
    (facts,) = facts_under(tmp_path)
    assert facts["status"] == "failed"
    assert "TypeError" in facts["message"]


@pytest.mark.parametrize("call", ["fsync", "write", "replace", "mkdir", "open"])
@pytest.mark.parametrize("command", ["meta-train", pytest.param("compare", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_at_whichever_call_it_is_met(call, command, monkeypatch, capsys, tmp_path):
    met = []
    place = {"fsync": (os, "fsync"), "write": (Path, "write_text")}.get(call, (Path, call))
    real = getattr(*place)

    def full(*arguments, **named):
        if call != "fsync" and tmp_path not in (arguments[0], *arguments[0].parents):
            return real(*arguments, **named)
        met.append(arguments)
        raise OSError(errno.ENOSPC, "No space left on device", *[str(one) for one in arguments[:1] if call != "fsync"])

    compared = "task=quadratic task.horizon=5 sgd tune.budget=1 tune.episodes=2 evaluation.episodes=4"
    words = f"compare {compared}" if command == "compare" else f"meta-train {QUICK}"
    with monkeypatch.context() as patch:
        patch.setattr(*place, full)
        code, _, err = run(f"{words} output={tmp_path}", patch, capsys)
    if not met:  # this command does not make that call
        assert code == 0
        return
    assert code == 1
    assert err.count("error: ") == 1
    assert "No space left on device; free space and repeat the command" in err
    assert shows_no_frames(err)


@pytest.mark.parametrize("after", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 3, 4))])
def test_a_run_that_meets_a_full_disk_says_failed_and_goes_on_when_there_is_space(after, monkeypatch, capsys, tmp_path):
    real, calls = os.fsync, []

    def full_once(number):
        calls.append(number)
        if len(calls) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    words = f"meta-train {QUICK} output={tmp_path} meta.checkpoint_every=0.0001"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_once)
        code, _, err = run(words, patch, capsys)
    assert code == 1
    assert "No space left on device" in err
    assert str(tmp_path) in err
    assert shows_no_frames(err)
    states = [facts["status"] for facts in facts_under(tmp_path)]
    assert "running" not in states
    code, _, _ = run(words, monkeypatch, capsys)
    assert code == 0


def test_a_folder_that_cannot_be_made_is_one_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(f"meta-train {QUICK} output={tmp_path / 'file' / 'inside'}", monkeypatch, capsys)
    assert code == 1
    assert "Not a directory" in err
    assert shows_no_frames(err)
    code, _, err = run(f"meta-train {QUICK} name={'x' * 300} output={tmp_path}", monkeypatch, capsys)
    assert code == 1
    assert "too long" in err
    assert shows_no_frames(err)


def test_a_run_folder_that_vanishes_is_one_line(monkeypatch, capsys, tmp_path):
    import shutil

    real = runs_member.Member.checkpoint

    def vanish(member):
        shutil.rmtree(member.folder.path)
        real(member)

    monkeypatch.setattr(runs_member.Member, "checkpoint", vanish)
    code, _, err = run(f"meta-train {QUICK} output={tmp_path} meta.checkpoint_every=0.0001", monkeypatch, capsys)
    assert code == 1
    assert "it or its folder was removed" in err
    assert shows_no_frames(err)


def test_reproduce_goes_through_the_same_door(monkeypatch, capsys, tmp_path):
    from l2l_cli.commands import reproduce

    words = f"reproduce hochreiter2001 table1 --scale smoke --output {tmp_path / 'out'}"
    for error, told in [
        (OSError(errno.ENOSPC, "No space left on device", "rows/a.csv"), "rows/a.csv: No space left on device; free"),
        (MemoryError(), "out of memory"),
        (None, REPORT),
    ]:

        def broken(*_, raised=error):
            raise raised

        with monkeypatch.context() as patch:
            patch.setattr(reproduce, "work_of", broken if error else {}.pop)
            code, _, err = run(words, patch, capsys)
        assert code == 1
        assert told in err
        assert "Traceback" not in err
        (facts,) = facts_under(tmp_path)
        assert facts["status"] == "failed"


@pytest.mark.parametrize("flag", ["--list", "--cfg job"])
def test_listings_go_through_the_same_door(flag, monkeypatch, capsys, tmp_path):
    (tmp_path / "experiment" / "mine").mkdir(parents=True)
    (tmp_path / "experiment" / "mine" / "one.yaml").write_text("rows:\n\ta: 1\n")
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text("a: [1,\n")
    command = f"reproduce {flag}" if flag == "--list" else f"meta-train {flag} task=mine"
    code, _, err = run(f"{command} --config-dir {tmp_path}", monkeypatch, capsys)
    assert code == 2
    assert "line 2" in err
    assert err.count("\n") == 1


YAML = {
    "a: 1\n\tb: 2\n": "line 2, column 1: a tab, where YAML allows only spaces",
    "a: 1\nb: 2\na: 3\n": "line 3, column 1: the key 'a' occurs twice",
    "a: {b: 1, b: 2}\n": "line 1, column 11: the key 'b' occurs twice",
    "# Müller\n": "line 1: byte 0xfc is not UTF-8",
    "- a\n- b\n": "it must hold keys with values, as in `horizon: 100`, not a list",
    "only text\n": "not a text",
    "3\n": "not a int",
    "a: [1,\n": "line 2",
    "a: !!python/object:os.system x\n": "line 1",
    "a: 2026-99-99\n": "mine.yaml: ",
    "a: \x01\n": "mine.yaml: ",
    f"a: {'[' * 3000}\n": "mine.yaml",
}


@pytest.mark.parametrize("text", YAML)
def test_yaml_of_the_users_is_refused_with_file_and_line(text, monkeypatch, capsys, tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_bytes(text.encode("latin-1"))
    code, _, err = run(f"meta-train --config-dir {tmp_path} task=mine output={tmp_path}", monkeypatch, capsys)
    assert code == 2
    assert f"{tmp_path / 'task' / 'mine.yaml'}" in err
    assert YAML[text] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_no_mistake_of_yaml(text, monkeypatch, capsys, tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text(text)
    code, _, err = run(f"meta-train --config-dir {tmp_path} task=mine output={tmp_path}", monkeypatch, capsys)
    assert code == 2
    assert err.endswith("error: task has no _target_: name the class, as in task._target_=package.module.Class\n")


def test_a_byte_order_mark_before_a_file_is_nothing(monkeypatch, capsys, tmp_path):
    (tmp_path / "task").mkdir()
    target = "\ufeff# Mine\n_target_: l2l_cli.tasks.quadratic.Quadratic\ndimension: 3\n"
    (tmp_path / "task" / "mine.yaml").write_text(target, encoding="utf-8")
    code, out, _ = run(f"meta-train --config-dir {tmp_path} task=mine --cfg job", monkeypatch, capsys)
    assert code == 0
    assert "dimension: 3" in out


CODE = {
    "in_loss": (
        "class Mine(Quadratic):\n    def loss(self, o, t):\n        return o + 'a'\n",
        "TypeError",
        ":5: TypeError",
    ),
    "at_import": ("1 / 0\n", "ZeroDivisionError", ":3 in <module>"),
    "syntax": ("def f(:\n", "SyntaxError", ":3: invalid syntax"),
    "indent": ("if 1:\npass\n", "IndentationError", ":4: "),
    "missing": ("import nodep.inside\n", "imports nodep", "which is not installed"),
    "name": ("from torch import nonsense\n", "ImportError", ":3 in <module>: cannot import name 'nonsense'"),
    "deep": ("def f(x):\n    return f(x)\nf(1)\n", "RecursionError", " in f: "),
    "exit": ("raise OSError('of mine')\n", "OSError", ":3 in <module>: of mine"),
}


@pytest.mark.parametrize("case", CODE)
def test_what_the_users_own_code_raises_is_told_by_file_and_line_with_their_frames_alone(
    case, monkeypatch, capsys, tmp_path
):
    code, kind, place = CODE[case]
    module = f"of_mine_{case}"
    (tmp_path / f"{module}.py").write_text(f"from l2l_cli.tasks.quadratic import Quadratic\n\n{code}")
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text(f"_target_: {module}.Mine\n")
    words = f"meta-train --config-dir {tmp_path} task=mine meta.updates=2 gradient.episodes=2 output={tmp_path / 'out'}"
    status, _, err = run(words, monkeypatch, capsys)
    assert status in (1, 2)
    assert kind in err
    assert f"{module}.py{place}" in err or place in err
    assert shows_no_frames(err.partition(" (/")[0])
    frames = [line.split(":")[0].strip() for line in err.splitlines()[1:]]
    assert set(frames) <= {f"{module}.py"}


def test_callers_of_this_program_are_not_its_users_code():
    """A script that imports l2l, or a test, calls it; only what l2l itself calls is the user's."""
    with pytest.raises(TypeError) as caught:
        failure_of(OSError(errno.ENOSPC, "full"), **{"nonsense": 1})
    assert isinstance(failure_of(caught.value), UnforeseenError)


# In a process of their own: the process's own output is what these are about.

SAY = "from l2l_cli.core.streams import *; protect(); import sys; print('φ ± 1 × 2 … ü 漢'); "


def say(code, *, redirect="", **environment):
    python = f'{sys.executable} -c "{SAY}{code}" {redirect}'
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    return subprocess.run(["bash", "-c", python], capture_output=True, env=env, check=False)


def test_output_in_another_encoding_is_transliterated():
    assert say("", PYTHONIOENCODING="ascii").stdout == b"phi +- 1 x 2 ... u ?\n"
    assert say("", PYTHONIOENCODING="latin-1").stdout == "phi ± 1 × 2 ... ü ?\n".encode("latin-1")
    assert say("", PYTHONIOENCODING="utf-8").stdout == "φ ± 1 × 2 … ü 漢\n".encode()


def test_a_closed_pipe_a_closed_output_and_a_full_one_end_nothing():
    more = "[print('x' * 1000) for _ in range(1000)]; sys.stderr.write('end:' + lost_output() + '.')"
    assert say(more, redirect="| head -1").stderr == b"end:."
    assert say(more, redirect=">&-").stderr == b"end:."
    if Path("/dev/full").exists():
        assert say(more, redirect="> /dev/full").stderr == b"end:No space left on device."
