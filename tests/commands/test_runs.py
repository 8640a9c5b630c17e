"""``l2l runs``: every run is found, said to be what it is, shown wholly, followed, and removed alone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from l2l_cli.commands import watch as watching
from l2l_cli.core.printable import size_text
from l2l_cli.results.listing import age_text
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.run import RunFolder
from l2l_cli.results.sweeps import RUNNING, SweepJob
from l2l_cli.runs.pieces import Carrying, Piece
from l2l_cli.runs.progress_files import ProgressFile
from tests.test_cli import loaded, run


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["l2l", "meta-train", "task=b14"])  # what runs say that they were made by


def made(name: str, *overrides: str, parent: str = "meta-train", root: str = "outputs", task: str = "b14") -> RunFolder:
    choices = {"task": task, "learner": "lstm"}
    config = {"name": name, "choices": choices, "meta": {"updates": 200}, "overrides": list(overrides)}
    return RunFolder.claim(Path(root) / parent, name, config, overrides)


def ended(status: str, name: str, *overrides: str, parent: str = "meta-train", **facts: object) -> Path:
    folder = made(name, *overrides, parent=parent, **{key: facts.pop(key) for key in ("root", "task") if key in facts})
    with folder.lock():
        folder.begin(seeds=[0])
        if status == "done" and parent == "meta-train":
            (folder.path / "weights.safetensors").write_bytes(b"1234")
        folder.end(status, **facts)
    return folder.path


def listed(words: str, monkeypatch, capsys) -> list[dict[str, object]]:
    code, out, err = run(f"runs --json {words}", monkeypatch, capsys)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def names(words: str, monkeypatch, capsys) -> list[str]:
    return [Path(str(one["run"])).name.rpartition("-")[0] for one in listed(words, monkeypatch, capsys)]


@contextmanager
def written(folder: RunFolder) -> Iterator[None]:
    with folder.lock():
        folder.begin()
        yield


def several() -> None:
    paths = [
        ended("done", "b14-lstm", "task=b14", "meta.updates=5", best_validation=0.25, updates=5),
        ended("failed", "quadratic-lstm", "task=quadratic", task="quadratic", message="φ never moved"),
        ended("interrupted", "b14-lstm", "task=b14", "seed=3"),
        ended("done", "b14-contenders", parent="compare", headline="LSTM is ahead."),
    ]
    for age, path in enumerate(paths):
        os.utime(path / "run.json", (2e9 - age, 2e9 - age))
    made("b14-killed").begin()
    os.utime(made("b14-killed").path / "run.json", (1e9, 1e9))


def test_every_run_is_listed_newest_first_with_what_came_of_it(monkeypatch, capsys):
    several()
    found = listed("", monkeypatch, capsys)
    assert [one["status"] for one in found] == ["done", "failed", "interrupted", "done", "killed"]
    assert found[0]["result"] == "best validation loss 0.25 after 5 updates"
    assert found[0]["differs"] == ["meta.updates=5"]  # its name says the task
    assert found[1]["result"] == "φ never moved"
    assert found[3]["command"] == "compare"
    assert all(int(str(one["bytes"])) > 100 for one in found)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("task=b14", 4),
        ("task=b14 status=done", 2),
        ("status=failed,killed", 2),
        ("status=kil*", 1),
        ("seed=3.0", 1),
        ("meta.updates=200", 4),
        ("command=compare", 1),
        ("contenders", 1),
        ("meta-train", 4),
        ("*lstm*", 3),
        ("outputs/compare", 1),
        ("outputs/compare outputs/meta-train/", 5),
        ("LSTM- task=quadratic", 1),
    ],
)
def test_words_narrow_the_list_down(words, expected, monkeypatch, capsys):
    several()
    assert len(listed(words, monkeypatch, capsys)) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("status=brokn", "no run in outputs has status=brokn (status: done (2), "),
        ("task=b15", "did you mean 'b14'? (task: b14 (4), quadratic (1))"),
        ("tsak=b14", "no run in outputs has a value for tsak; did you mean 'task'? (known: command, "),
        ("quadratix", "no run in outputs has 'quadratix' in its name; did you mean 'quadratic'? (runs: "),
        ("task=b14 status=failed", "no run in outputs has status=failed"),
        ("--remove", "--remove needs a selection"),
        ("--remove outputs", "--remove needs a selection"),
        ("--yes b14", "--yes needs --remove"),
        ("--remove b14 --watch", "--watch cannot be combined with it"),
        ("--remove contenders", "there is no terminal to ask at; --yes removes"),
    ],
)
def test_what_names_nothing_says_what_there_is(words, message, monkeypatch, capsys):
    several()
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, err = run(f"runs {words}", monkeypatch, capsys)
    assert (code, len(err.splitlines()), len(list(Path().glob("outputs/*/*/run.json")))) == (2, 1, 5)
    assert message in err


def test_no_runs_yet_is_no_error_and_a_folder_that_is_none_is_one(monkeypatch, capsys):
    code, out, err = run("runs", monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "there are no runs in outputs yet" in out
    assert list(Path().iterdir()) == []


def test_a_table_folds_at_eighty_columns_and_cuts_no_name(monkeypatch, capsys):
    several()
    monkeypatch.setattr("l2l_cli.commands.runs.console", lambda: __import__("rich.console").console.Console(width=80))
    _, out, _ = run("runs", monkeypatch, capsys)
    lines = out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    for path in Path().glob("outputs/*/*/run.json"):
        assert f"{path.parent.parent.name}/{path.parent.name}" in out
    assert lines[-1] == f"next: l2l runs {listed('', monkeypatch, capsys)[0]['run']}"


def test_one_run_is_shown_wholly_and_says_how_to_go_on(monkeypatch, capsys):
    several()
    (interrupted,) = (one["run"] for one in listed("status=interrupted", monkeypatch, capsys))
    MetricsFile(Path(str(interrupted)) / "metrics.csv").append(
        Metric("x", 3, "mean_loss", 0.5 / step, step, statistic="mean", split="meta_valid") for step in (10, 20)
    )
    for words in ("status=interrupted", str(interrupted), str(Path(str(interrupted)).resolve())):
        code, out, _ = run(f"runs {words}", monkeypatch, capsys)
        assert code == 0
        for text in (
            "interrupted",
            "seed=3",
            "  command   l2l ",
            "l2l 0.2.0",
            "mean_loss 0.025 at update 20",
            "metrics.csv",
        ):
            assert text in out
        assert out.splitlines()[-1].startswith("next: l2l meta-train --resume ")
        assert str(interrupted) in out.splitlines()[-1]


def test_a_name_with_spaces_is_quoted_in_the_command_that_goes_on(monkeypatch, capsys):
    path = ended("done", "my run; it's")
    code, out, _ = run("runs my", monkeypatch, capsys)
    assert code == 0
    said = out.splitlines()[-1].removeprefix("next: l2l ")
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {said}"], capture_output=True, text=True, check=True)
    assert words.stdout.splitlines() == ["evaluate", str(path)]


def test_a_damaged_run_is_listed_as_such(monkeypatch, capsys):
    several()
    damaged = next(Path().glob("outputs/compare/*/run.json"))
    damaged.write_text("{torn")
    (found,) = listed("status=damaged", monkeypatch, capsys)
    assert "is damaged" in str(found["result"])


def test_what_is_made_aside_or_lies_behind_a_link_is_not_listed(tmp_path, monkeypatch, capsys):
    ended("done", "a")
    ended("done", "b", root="outputs/.again-1a2b")
    ended("done", "c", root=str(tmp_path.parent / f"{tmp_path.name}-elsewhere"))
    Path("outputs/linked").symlink_to(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    assert names("", monkeypatch, capsys) == ["a"]
    assert names("outputs/linked", monkeypatch, capsys) == ["c"]  # named, it is looked into


def test_removal_takes_what_is_named_and_leaves_all_else(monkeypatch, capsys):
    several()
    left = Path(str(listed("quadratic", monkeypatch, capsys)[0]["run"]))
    (left / "notes.txt").write_text("mine")
    (left / "figures").mkdir()
    (left / "figures" / "loss.svg").write_text("x")
    inner = ended("done", "inner", root=str(left))
    code, out, err = run("runs --remove --yes status=failed", monkeypatch, capsys)
    assert (code, sorted(path.name for path in left.iterdir() if path.name[0] != ".")) == (
        0,
        ["meta-train", "notes.txt"],
    )
    assert "notes.txt" in err
    assert "removed: 1 run" in out
    assert (inner / "run.json").exists()
    assert run("runs --remove -y *", monkeypatch, capsys)[0] == 0
    assert sorted(path for path in Path("outputs").rglob("*") if path.is_file() and path.name[0] != ".") == [
        Path("outputs/index.html"),
        left / "notes.txt",
    ]
    assert "b14-lstm" not in Path("outputs/index.html").read_text()


@pytest.mark.parametrize(("answer", "remaining"), [("y\n", 4), ("yes\n", 4), ("\n", 5), ("no\n", 5), ("", 5)])
def test_removal_asks_first(answer, remaining, monkeypatch, capsys):
    several()

    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    code, out, _ = run("runs --remove contenders", monkeypatch, capsys)
    assert code == 0
    assert out.index("compare/b14-contenders") < out.index("remove 1 run, ")  # shown, then asked
    assert len(list(Path().glob("outputs/*/*/run.json"))) == remaining


def test_nothing_is_removed_while_one_of_them_is_written(monkeypatch, capsys):
    several()
    with written(made("b14-now")):
        code, _, err = run("runs --remove --yes b14", monkeypatch, capsys)
        assert (code, len(list(Path().glob("outputs/*/*/run.json")))) == (2, 6)
        assert "is being written by l2l process" in err


def test_nothing_is_removed_through_a_link_or_of_a_stranger(tmp_path, monkeypatch, capsys):
    target = ended("done", "a", root=str(tmp_path / "elsewhere"))
    Path("linked").symlink_to(target)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "report.md").write_text("mine")
    within = ended("done", "b")
    (within / "figures").symlink_to(precious)
    Path("stranger").mkdir()
    Path("stranger/run.json").write_text('{"status": "done"}')
    for word, message in (("linked", "is a link"), (str(within), "is a link"), ("stranger", "is not a run of l2l")):
        code, _, err = run(f"runs --remove --yes {word}", monkeypatch, capsys)
        assert code == 2
        assert message in err
    assert (target / "run.json").exists()
    assert (precious / "report.md").exists()
    assert Path("stranger/run.json").exists()


def test_what_goes_on_is_followed_until_nothing_does(monkeypatch, capsys):
    monkeypatch.setattr(watching, "LOOK", 0.0)
    training, reproduction = made("b14-lstm"), made("smoke", parent="some-paper")
    stages = iter(range(9))

    def stage(seconds: float) -> None:
        number = next(stages)
        if number == 0:
            rows = [Metric("x", 0, "mean_loss", 0.125, 50, statistic="mean", split="meta_valid")]
            MetricsFile(training.path / "metrics.csv").append(rows)
        elif number == 1:
            training.end("done", best_validation=0.125, updates=200)
        elif number == 2:
            reproduction.end("failed", message="the disk is full")

    monkeypatch.setattr(watching.time, "sleep", stage)
    with training.lock(), reproduction.lock():
        training.begin()
        reproduction.begin()
        progress = ProgressFile(reproduction.path / "progress" / "1a.json", "row seed 0", 10.0)
        progress.tell(4.0, "update 4")
        progress.say("running", "update 4")
        code, out, _ = run("runs --watch --json", monkeypatch, capsys)
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [
        (event["share"], event["note"]) for event in events if "lstm" in event.get("name", "") and "note" in event
    ] == [
        (None, "before its first validation"),
        (0.25, "validation at update 50 of 200: 0.125"),
    ]
    assert [(event["state"], event["result"]) for event in events if event["event"] == "ended"] == [
        ("done", "best validation loss 0.125 after 200 updates"),
        ("failed", "the disk is full"),
    ]
    assert any(event.get("share") == 0.4 and "update 4" in event["note"] for event in events)
    assert events[-1] == {"event": "over"}


def test_ctrl_c_ends_the_watching_alone(monkeypatch, capsys):
    def pressed(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", pressed)
    training = made("b14-lstm")
    with written(training):
        code, out, _ = run("runs --watch b14", monkeypatch, capsys)
        assert (code, training.status) == (130, "running")
    assert out.splitlines()[-2:] == ["the watched runs continue", "next: l2l runs --watch b14"]


def test_the_report_of_one_run_is_opened_or_named(monkeypatch, capsys):
    several()
    (folder,) = Path().glob("outputs/compare/*")
    (folder / "report.html").write_text("report")
    code, out, _ = run(f"runs {folder} --open", monkeypatch, capsys)
    assert (code, out.splitlines()[0]) == (0, f"report: {(folder / 'report.html').resolve().as_uri()}")
    opened: list[str] = []
    monkeypatch.setenv("BROWSER", "a browser")
    monkeypatch.setattr("webbrowser.open", lambda page: opened.append(page) or True)
    assert run("runs contenders --open", monkeypatch, capsys)[0] == 0
    assert opened == [(folder / "report.html").resolve().as_uri()]
    code, _, err = run("runs meta-train --open", monkeypatch, capsys)
    assert (code, "--open opens one report" in err) == (2, True)


def test_sweeps_and_jobs_of_a_cluster_are_followed_from_their_files(monkeypatch, capsys):
    monkeypatch.setattr(watching, "LOOK", 0.0)
    sweep = Path("outputs/multirun/now")
    (sweep / ".at-work-1").mkdir(parents=True)
    SweepJob(0, ["seed=0"], RUNNING).write(sweep)
    # A lock by fcntl is seen by other processes alone.
    code = "import sys, time\nfrom pathlib import Path\nfrom l2l_cli.core.locks import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(sweep / ".at-work-1" / "sweep")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    holder.stdout.readline()
    carried = [Carrying.of(Piece(name, name, 8.0, print), Path("outputs/cluster")) for name in ("one", "two")]
    for number, one in enumerate(carried):
        one.path.parent.mkdir(parents=True, exist_ok=True)
        one.path.with_suffix(".job").write_text(str(number))
    ProgressFile(carried[0].path, "one", 8.0).say("done", "")
    stages = iter(range(9))

    def stage(seconds: float) -> None:
        if next(stages) == 1:
            ProgressFile(carried[1].path, "two", 8.0).say("done", "")
            holder.communicate()

    monkeypatch.setattr(watching.time, "sleep", stage)
    code, out, _ = run("runs --watch", monkeypatch, capsys)
    assert code == 0
    assert "running: outputs/multirun/now: jobs begun: 1 running" in out
    assert "on the cluster: outputs/cluster: 50% · 1 done, 1 waiting" in out
    assert "over: outputs/multirun/now" in out
    assert out.splitlines()[-2:] == ["everything that was watched has ended", "next: l2l runs"]


def test_a_look_at_runs_needs_no_torch(tmp_path):
    ended("done", "b14-lstm", "task=b14", best_validation=0.25, updates=5)
    heavy = ("torch", "pandas", "matplotlib", "scipy")
    assert loaded("runs b14", *heavy) == []
    assert loaded("runs --watch", *heavy) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("l2l runs status=fa", ["status=failed"]),
        ("l2l evaluate outputs/", ["TRAINED"]),
        *(
            pytest.param(*words, marks=pytest.mark.slow)
            for words in (
                ("l2l runs outputs/compare", ["COMPARED"]),
                ("l2l runs b14-c", ["b14-contenders-COMPARED"]),
                ("l2l compare outputs/", ["TRAINED"]),
                ("l2l meta-train --resume outputs/", ["FAILED"]),
            )
        ),
    ],
)
def test_names_of_runs_are_completed_where_they_fit(words, expected):
    paths = {
        "TRAINED": ended("done", "b14-lstm", best_validation=0.25, updates=5),
        "FAILED": ended("failed", "quadratic-lstm", message="no"),
        "COMPARED": ended("done", "b14-contenders", parent="compare", headline="LSTM is ahead."),
    }
    environment = {"_L2L_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    code = "import sys; sys.argv = ['l2l']; from l2l_cli.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=False
    )
    known = {name: str(path) for name, path in paths.items()} | {
        "b14-contenders-COMPARED": paths["COMPARED"].name,
        "status=failed": "status=failed",
    }
    assert done.stdout.split() == [known[name] for name in expected]


def test_sizes_and_ages_are_read_by_people(monkeypatch):
    sizes = {0: "0 B", 999: "999 B", 1000: "1 kB", 1234: "1.23 kB", 999_700: "1 MB", 2_500_000_000: "2.5 GB"}
    assert {count: size_text(count) for count in sizes} == sizes
    monkeypatch.setattr("l2l_cli.results.listing.time.time", lambda: 1e6)
    ages = {0: "0 s", 119: "119 s", 120: "2 min", 7199: "120 min", 7200: "2 h", 172800: "2 days", -5: "0 s"}
    assert {age: age_text(1e6 - age) for age in ages} == ages


def test_the_page_of_a_folder_and_the_list_name_the_same_states(monkeypatch, capsys):
    several()
    page = Path("outputs/index.html").read_text()
    for one in listed("", monkeypatch, capsys):
        line = next(text for text in page.splitlines() if Path(str(one["run"])).name in text)
        assert f'data-verdict="{one["status"]}"' in line or one["status"] == "killed"
