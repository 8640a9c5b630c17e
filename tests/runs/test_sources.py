"""A run's identity has the code of others and the data that it reads: what has changed is trained and scored anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image

from l2l_cli.config.compose import compose, identity_of_training
from l2l_cli.results.run import identity
from l2l_cli.runs.sources import SHIPPED, sources_of
from l2l_cli.tasks.images.datasets import KNOWN
from tests.test_cli import loaded, run

TRAIN = (
    "meta-train task.horizon=4 learner.rule.hidden=2 gradient.episodes=2 gradient.window=2 meta.updates=2 "
    "meta.validate_every=1 meta.validation_episodes=2"
)
PETS = f"{TRAIN} task=digits task.dataset=pets task.hidden=[2] task.examples=2"
OWN = f"{TRAIN} --config-dir my task=mine"
TASK = "from l2l_cli.tasks.quadratic import Quadratic\n\n\nclass Mine(Quadratic):\n    pass\n"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))
    monkeypatch.setattr(Figure, "get_layout_engine", lambda figure: None)


@pytest.fixture
def does(monkeypatch, capsys):
    """Run a command, and return all that it says."""

    def done(arguments, wanted=0):
        code, out, err = run(arguments, monkeypatch, capsys)
        assert code == wanted, err
        return out + err

    return done


def pictures(shade=60):
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            Image.new("L", (4, 4), shade * number).save(f"pets/{name}/{number}.bmp")


def code(text=TASK):
    Path("my/task").mkdir(parents=True, exist_ok=True)
    Path("my/task/mine.yaml").write_text("_target_: mine_of_sources.Mine\ndimension: 2\nhorizon: 4\n")
    Path("my/mine_of_sources.py").write_text(text)


def folders():
    return sorted(Path().glob("outputs/meta-train/*"), key=lambda path: path.stat().st_ctime_ns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "make", "change", "name"),
    [
        (PETS, pictures, lambda: pictures(50), "pets"),
        (OWN, code, lambda: code(TASK + "# changed\n"), "mine_of_sources"),
    ],
    ids=["data", "code"],
)
def test_what_has_changed_is_trained_anew_and_says_why(command, make, change, name, does):
    make()
    assert "already done" not in does(command)
    assert "already done, reused" in does(command)
    (first,) = folders()
    weights = (first / "weights.safetensors").read_bytes()
    config = yaml.safe_load((first / "config.yaml").read_text())
    assert first.name.endswith(identity(config))
    assert name in {key for kind in config["sources"].values() for key in kind}
    change()
    said = does(command)
    (again,) = set(folders()) - {first}
    assert f"{name} has changed since {first} was made; this run is trained from scratch, in {again}" in said
    assert (first / "weights.safetensors").read_bytes() == weights
    assert "already done, reused" in does(command)
    make()
    assert f"already done, reused: {first}" in does(command)
    trust = "--trust mine_of_sources --config-dir my" if make is code else ""
    assert "warning" not in does(f"evaluate --run {first} evaluation.episodes=2 {trust}")
    change()
    said = does(f"evaluate --run {first} evaluation.episodes=2 {trust}")
    assert (
        said.count(f"warning: {name} has changed since {first} was made; it is scored with the present versions") == 1
    )
    assert len(list(Path().glob("outputs/evaluate/*"))) == 2


@pytest.mark.slow
def test_a_run_that_does_not_say_what_it_read_is_taken_for_one_of_what_is_there(does):
    pictures()
    does(PETS)
    (made,) = folders()
    config = yaml.safe_load((made / "config.yaml").read_text())
    del config["sources"]
    facts = json.loads((made / "run.json").read_text())
    facts.pop("identity", None)
    old = made.with_name(f"{made.name[:-8]}{identity(config)}")
    made.rename(old)
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    (old / "run.json").write_text(json.dumps(facts))
    said = does(PETS)
    assert f"{old} does not record its code and data" in said
    assert f"already done, reused: {old}" in said
    assert "does not say" not in does(PETS)
    pictures(50)
    assert f"pets has changed since {old} was made" in does(PETS)
    assert len(folders()) == 2


def test_where_nothing_of_others_is_read_the_identity_is_as_it_was():
    assert set(SHIPPED) == set(KNOWN)
    for task in ("quadratic", "b14", "digits", "mnist_mlp", "cifar10"):
        settings = compose("meta-train", [f"task={task}"])
        assert sources_of(settings, identity_of_training(settings)) == {}


def test_data_of_variations_count(tmp_path):
    pictures()
    shutil.copytree("pets", "zoo")
    Image.new("L", (4, 4), 99).save("zoo/cat/1.bmp")
    words = ["task=digits", "task.dataset=pets", "task.hidden=[2]", "task.examples=2"]
    found = sources_of(compose("meta-train", [*words, "+vary.dataset=[pets,zoo]"]))["data"]
    assert set(found) == {"pets", "zoo"}
    assert len(set(found.values())) == 2


@pytest.mark.parametrize(
    "command",
    ["evaluate --run FOLDER", "compare FOLDER mine"],
)
@pytest.mark.slow
def test_a_sweep_does_not_reuse_what_is_stale(command, does):
    """Whether the run was trained anew, or a contender's own file has changed."""
    Path("my/learner").mkdir(parents=True)
    learner = Path("my/learner/mine.yaml")
    learner.write_text(
        "_target_: l2l_cli.learners.descent.Descent\nrule: {_target_: l2l_cli.optimizers.sgd.Sgd, lr: 0.1}\n"
    )
    does(f"{TRAIN} task=quadratic task.dimension=2")
    (folder,) = folders()
    sweep = f"{command.replace('FOLDER', str(folder))} -m evaluation.episodes=2 --config-dir my"
    assert "0 done before" in does(sweep)
    assert "1 done before" in does(sweep)
    other = f"{TRAIN} task=quadratic task.dimension=2 seed=1".replace("=4 ", "=5 ", 1)
    does(f"{other} output=other")
    (second,) = Path().glob("other/meta-train/*")
    weights = (folder / "weights.safetensors").read_bytes()
    shutil.copy(second / "weights.safetensors", folder)
    assert "0 done before" in does(sweep)
    (folder / "weights.safetensors").write_bytes(weights)
    assert "1 done before" in does(sweep)
    if "mine" in command:
        learner.write_text(learner.read_text().replace("0.1", "0.2"))
        assert "0 done before" in does(sweep)


@pytest.mark.slow
def test_a_shipped_data_set_is_known_without_torch(does):
    does(f"{TRAIN} task=digits task.hidden=[2] task.examples=2")
    assert loaded(f"{TRAIN} task=digits task.hidden=[2] task.examples=2", "torch") == []


@pytest.mark.slow
def test_a_strangers_run_runs_no_code_to_see_what_it_read(does):
    does(f"{TRAIN} task=quadratic task.dimension=2")
    (made,) = folders()
    folder = made.rename("renamed")  # whose configuration is held against no name
    code("raise SystemExit(7)\n")
    text = (folder / "config.yaml").read_text()
    foreign = text.replace("l2l_cli.tasks.quadratic.Quadratic", "mine_of_sources.Mine")
    for sources in ("{code: {a: b, 3: c}, data: [1]}", "[1]", '"a"', '{code: {"\\e[31m": x}}'):
        (folder / "config.yaml").write_text(f"{foreign}sources: {sources}\n")
        said = does(f"evaluate --run {folder} evaluation.episodes=2 --config-dir my", 2)
        assert "pass --trust mine_of_sources if you trust that code" in said
        (folder / "config.yaml").write_text(f"{text}sources: {sources}\n")
        assert "\x1b" not in does(f"evaluate --run {folder} evaluation.episodes=2")
