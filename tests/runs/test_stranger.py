"""A stranger's run folder: nothing is followed, resolved, run, waited for or passed on to a terminal or a page."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure

from l2l_cli.commands import evaluate, meta_train
from l2l_cli.config import classes
from l2l_cli.config.compose import compose, search_path
from l2l_cli.config.schema import Data
from l2l_cli.core.errors import L2LError, UsageError
from l2l_cli.results import index
from l2l_cli.results.run import RunFolder
from l2l_cli.results.store import SCORES, Store
from l2l_cli.runs.training import train
from tests.test_cli import run as command

SMALL = (
    "task=quadratic task.dimension=2 task.horizon=6 learner.rule.hidden=3 gradient.episodes=2 gradient.window=3 "
    "meta.updates=2 meta.validate_every=2 meta.validation_episodes=4 meta.checkpoint_every=1e-9"
)
SCORING = "evaluation.episodes=4 evaluation.stretch=[1]"
TUNING = "evaluation.episodes=4 tune.episodes=4 tune.budget=1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("whole")
    return train(compose("meta-train", [*SMALL.split(), f"output={root}"]), relay=lambda *_: None).path


@pytest.fixture
def theirs(whole, tmp_path, monkeypatch):
    """A copy of the run in the present folder, ready to be made hostile; it can still be resumed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, "theirs")
    return Path("theirs")


@pytest.fixture
def say(monkeypatch, capsys):
    """Run a command and return its exit code and what it says; a traceback is none of it."""

    def said(arguments):
        code, out, err = command(arguments, monkeypatch, capsys)
        assert "Traceback" not in err
        assert "failed: " not in err
        return code, out, err

    return said


@pytest.fixture(scope="module")
def scoring():
    """Settings of an evaluation; composing them would take longest."""
    return compose("evaluate", SCORING.split())


@pytest.fixture(scope="module")
def resuming():
    """Settings of a resumption."""
    return compose("meta-train", [])


def interrupted(folder):
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {"status": "interrupted"}))


def configured(folder, **changes):
    """Change entries of the saved configuration, by dotted keys with two underscores for a dot."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = config
        for parent in parents:
            place = place[parent]
        place[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


# --- Links and what else is no file -----------------------------------------------------------------------------------

FILES = (
    ".lock",
    "metrics.csv",
    "checkpoint.safetensors",
    "checkpoint.previous.safetensors",
    "weights.safetensors",
    "run.json",
    "config.yaml",
    "overrides.txt",
    "progress",
)


@pytest.mark.skipif(sys.platform == "win32", reason="has no links that anybody may make")
@pytest.mark.parametrize("kind", ["link", "fifo"])
@pytest.mark.parametrize("name", FILES)
def test_no_link_is_followed_and_no_fifo_waited_for(theirs, resuming, scoring, name, kind):
    interrupted(theirs)
    target = Path("precious")
    target.write_bytes((theirs / name).read_bytes() if (theirs / name).exists() else b"precious")
    before = target.read_bytes()
    (theirs / name).unlink(missing_ok=True)
    (theirs / name).symlink_to(target.resolve()) if kind == "link" else os.mkfifo(theirs / name)
    what = "a link, which is not followed" if kind == "link" else "not a file"
    message = rf"{name} is {what}; remove it|is not a run folder: it has no run.json|is interrupted, not done"
    with pytest.raises(L2LError, match=message):
        meta_train.run(resuming, resume="theirs")
    if name in ("run.json", "config.yaml", "weights.safetensors"):
        with pytest.raises(L2LError, match=message):
            evaluate.plan(scoring, "theirs", [])
    assert target.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="has no links that anybody may make")
def test_what_the_user_links_himself_is_followed(theirs, say, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))  # takes longest
    Path("disk").mkdir()
    Path("outputs").symlink_to("disk")
    Path("mine").symlink_to("theirs")
    code, _, err = say(f"evaluate --run mine {SCORING}")
    assert (code, [*Path("disk/evaluate").iterdir()] != []) == (0, True), err


@pytest.mark.skipif(sys.platform == "win32", reason="has no links that anybody may make")
def test_a_link_below_a_folder_is_not_written_through(tmp_path):
    run = RunFolder.claim(tmp_path / "outputs", "x", {}, [])
    (tmp_path / "elsewhere").mkdir()
    (run.path / "rows").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="rows is a link"), run.lock():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="has no links that anybody may make")
def test_an_entry_of_the_store_that_is_a_link_is_computed_again(tmp_path, capsys):
    store = Store(tmp_path / "a")
    store.keep(SCORES, {"k": 1}, {"value": 1.0}, {"f": 2})
    (entry,) = (tmp_path / "a" / SCORES).iterdir()
    entry.rename(tmp_path / "real")
    entry.symlink_to(tmp_path / "real")
    assert store.read(SCORES, {"k": 1}) is None
    assert "is a link" in capsys.readouterr().err
    store.keep(SCORES, {"k": 1}, {"value": 1.0}, {"f": 2})
    found = store.read(SCORES, {"k": 1})
    assert found is not None
    assert found.facts == {"f": 2}


# --- Saved configurations ---------------------------------------------------------------------------------------------

HOSTILE = {
    "environment": ({"name": "${oc.env:TOKEN}"}, "not allowed in a saved configuration"),
    "environment of a choice": ({"choices__task": "${oc.env:TOKEN}"}, "not allowed"),
    "environment of a node": ({"task__dimension": "${oc.decode:${oc.env:TOKEN}}"}, "not allowed"),
    "absolute": ({"choices__task": "/tmp/l2l-escaped"}, "is not a valid run name"),
    "upwards": ({"choices__task": "../../../escaped"}, "is not a valid run name"),
    "name upwards": ({"name": "../../escaped"}, "name must be a folder's name"),
    "no choice": ({"choices": {}}, "does not say which task and learner"),
    "choice of another type": ({"choices__learner": [1]}, "does not say which task and learner"),
    "foreign class": ({"task___target_": "os.path.join"}, "which is not part of l2l; pass --trust os"),
    "re-export": ({"task___target_": "l2l_cli.tasks.images.in_memory.Path"}, "cannot be a task"),
    "module of another": ({"task___target_": "l2l_cli.core.files.os.system"}, "cannot be a task"),
    "class that writes": ({"task___target_": "l2l_cli.results.store.Store"}, "cannot be a task"),
    "class that starts": ({"learner__rule___target_": "l2l_cli.parallel.pool.Pool"}, "cannot be a rule"),
    "main": ({"task___target_": "l2l_cli.__main__.X"}, "cannot be a task"),
    "class of another kind": ({"task___target_": "l2l_cli.learners.in_weights.LSTM"}, "cannot be a task"),
    "function": ({"learner___target_": "l2l_cli.learners.division.divided"}, "has no class"),
    "wrong type": ({"seed": "many"}, "config.yaml cannot be read"),
    "date": ({"meta__updates": "2001-01-01"}, "config.yaml cannot be read"),
    "huge": ({"meta__updates": 10**60}, "bits"),
    "list": ({"learner": ["x"]}, "config.yaml cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_configuration_is_one_line(theirs, scoring, monkeypatch, name):
    monkeypatch.setenv("TOKEN", "secret")
    changes, message = HOSTILE[name]
    configured(theirs, **changes)
    before = {path for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as told:
        evaluate.run(scoring, "theirs", [])
    assert message in str(told.value)
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)
    assert {path for path in Path().rglob("*") if path.is_file()} == before
    assert not Path("/tmp/l2l-escaped-coordinatewise_lstm").exists()


@pytest.mark.parametrize(
    "text", ["a: &a [*a]\n", "a: 1\na: 2\n", "[" * 99_999, "!!python/object/apply:os.system [ls]", "\x00"]
)
def test_yaml_that_is_not_plain_is_one_line(theirs, scoring, text):
    (theirs / "config.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"config\.yaml is damaged \(.*run again with the run's own command"):
        evaluate.plan(scoring, "theirs", [])


def test_a_refusal_is_one_line_and_writes_nothing(theirs, say):
    configured(theirs, name="${oc.env:HOME}")
    code, out, err = say(f"evaluate --run theirs {SCORING}")
    assert (code, out, len(err.strip().splitlines()), [*Path().iterdir()]) == (2, "", 1, [theirs])


def test_a_saved_task_reads_no_other_folder(theirs, scoring):
    node = {
        "_target_": "l2l_cli.tasks.images.task.ImageTask",
        "data": {"_target_": "l2l_cli.tasks.images.in_memory.ImagesInMemory", "dataset": "/home/somebody/pictures"},
        "network": {"_target_": "l2l_cli.models.mlp.MLP", "hidden": [3]},
    }
    for dataset in ("/home/somebody/pictures", "../../pictures", "~/pictures"):
        node["data"]["dataset"] = dataset
        configured(theirs, task=node)
        with pytest.raises(UsageError, match=f"the saved task.data.dataset is {dataset}, which is outside of data"):
            evaluate.plan(replace(scoring, data=Data("data")), "theirs", [])
    node["data"]["dataset"] = "/home/somebody/pictures"
    configured(theirs, task=node)
    with pytest.raises(UsageError, match="there is no data set"):
        evaluate.plan(replace(scoring, data=Data("/home/somebody")), "theirs", [])


# --- What is shown ----------------------------------------------------------------------------------------------------

NASTY = "a\x1b[31m\x1b]0;title\x07\u202eb <script>alert(1)</script> [red]r[/red] [link=x]l `c` $\\frac$ | d"


def test_names_reach_terminal_and_pages_as_plain_text(theirs, say, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))  # takes longest
    Path("outputs").mkdir(exist_ok=True)
    Path("outputs", index.JOURNAL).touch()  # none that other tests have left in a folder above counts
    configured(theirs, name=NASTY.replace("/", ""), choices__learner=NASTY.replace("/", ""))
    facts = json.loads((theirs / "run.json").read_text())
    (theirs / "run.json").write_text(json.dumps(facts | {"command": NASTY, "message": NASTY, "criterion": NASTY}))
    code, out, err = say(f"evaluate --run theirs {SCORING}")
    assert code == 0, err
    code, more, err_2 = say(f"compare theirs sgd {TUNING}")
    assert code == 0, err_2
    code, resumed, err_3 = say("meta-train --resume theirs")
    assert code == 0, err_3
    shown = out + err + more + err_2 + resumed + err_3
    pages = [path.read_text() for kind in ("report.*", "index.html") for path in Path("outputs").rglob(kind)]
    assert len(pages) == 5
    for text in (shown, *pages):
        assert not {*"\x1b\x07\u202e"} & {*text}
    assert all("<script>alert" not in text for text in pages)
    assert "[red]r[red]" in more


@pytest.mark.parametrize("text", ["x\x1b[2J\ry", "\u202eevil", "a\nb"])
def test_an_owner_of_a_lock_is_one_printable_line(tmp_path, text):
    run = RunFolder.claim(tmp_path / "meta-train", "run", {}, [])
    (run.path / ".lock").write_text(text)
    assert run.owner().isprintable()


def test_names_that_lead_elsewhere_make_no_folder(tmp_path):
    for name in ("/abs", "../up", "a/../../b", "..", "", " ", "a\nb", "a\x1bb"):
        with pytest.raises(UsageError, match="is not a valid run name"):
            RunFolder.claim(tmp_path / "out", name, {}, [])
    assert not (tmp_path / "out").exists()


# --- The user's own modules -------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder of the user's with two modules of unlucky names; what is imported of it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(classes, "_FOLDERS", [])
    folder = tmp_path / "my"
    folder.mkdir()
    for name in ("cmath", "torch", "colorsys"):
        (folder / f"{name}.py").write_text("raise SystemExit('taken over')\nclass Rule: pass\n")
    search_path(str(folder))
    return folder


def test_a_folder_of_the_users_takes_nothing_over(mine):
    assert sys.path[-1] == str(mine)
    sys.modules.pop("colorsys", None)
    import colorsys

    assert not str(colorsys.__file__).startswith(str(mine))


@pytest.mark.parametrize("name", ["torch", "colorsys", "cmath"])
def test_a_module_with_anothers_name_is_told_so(mine, name):
    with pytest.raises(UsageError, match=rf"module '{name}' is found at .*, not in --config-dir .*my; rename yours"):
        classes.find_class(f"{name}.Rule", "learner.rule", None)


def test_what_is_missing_is_named(mine):
    (mine / "zoo.py").write_text("import nodep\n")
    with pytest.raises(UsageError, match=r"learner.rule._target_: zoo imports nodep, which is not installed"):
        classes.find_class("zoo.Rule", "learner.rule", None)
    with pytest.raises(UsageError, match=r"there is no module 'zoo2' in --config-dir .*my"):
        classes.find_class("zoo2.Rule", "learner.rule", ["zoo2"])


def test_a_trusted_package_needs_its_folder(monkeypatch):
    monkeypatch.setattr(classes, "_FOLDERS", [])
    with pytest.raises(UsageError, match=r"no module 'zoo3' among what is installed; --config-dir says where else"):
        classes.find_class("zoo3.rules.Rule", "learner.rule", ["zoo3"])
    with pytest.raises(UsageError, match="cannot be a rule"):  # it is not defined there
        classes.find_class("tests.runs.test_stranger.Path", "learner.rule", ["tests"])
