"""No command computes twice what the store holds, and whatever changed is computed anew."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from l2l_cli.commands import compare, evaluate
from l2l_cli.config.compose import compose
from l2l_cli.evaluation import contest, tune
from l2l_cli.meta.gradient_training import MetaTraining
from tests.test_cli import run
from tests.test_commands import only

TINY = "task.horizon=6 tune.episodes=2 tune.budget=3 evaluation.episodes=4"
COMPARE = f"compare task=quadratic task.dimension=2 {TINY}"
TRAIN = (
    "meta-train task=quadratic task.dimension=2 task.horizon=6 learner.rule.hidden=3 gradient.episodes=2 "
    "gradient.window=3 meta.updates=2 meta.validate_every=1 meta.validation_episodes=2"
)


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """The classes of the rules that are tried or scored, in order."""
    monkeypatch.chdir(tmp_path)
    found = []
    for module in (contest, tune):

        def counted(learners, *args, compute=module.score_together, **named):
            found.extend(type(getattr(learner, "rule", learner)).__name__ for learner in learners)
            return compute(learners, *args, **named)

        monkeypatch.setattr(module, "score_together", counted)
    return found


@pytest.fixture
def does(computed, monkeypatch, capsys):
    """Run a command; return what is computed, and what it says of the store."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))  # takes longest
    monkeypatch.setattr(Figure, "get_layout_engine", lambda figure: None)

    def done(arguments):
        computed.clear()
        code, _, err = run(arguments, monkeypatch, capsys)
        assert code == 0, err
        return list(computed), next((line for line in err.splitlines() if line.startswith("store: ")), "")

    return done


@pytest.mark.slow  # as evaluate and its grid, which are tried quickly
def test_compare_computes_what_is_new_alone(does):
    assert does(f"{COMPARE} sgd adam") == (["Sgd"] * 4 + ["Adam"] * 4, "store: 0 of 2 contenders known")
    first = only("outputs/compare/*/metrics.csv").read_bytes()
    assert does(f"{COMPARE} sgd adam") == ([], "store: 2 of 2 contenders known")
    assert only("outputs/compare/*/metrics.csv").read_bytes() == first
    assert does(f"{COMPARE} adam rmsprop sgd") == (["RmsProp"] * 4, "store: 2 of 3 contenders known")
    assert does(f"{COMPARE} sgd adam evaluation.seeds=[0,1] hardware.threads=1")[0] == ["Sgd", "Adam"]
    assert does(f"{COMPARE} sgd output=elsewhere store.also=[outputs/store]") == ([], "store: 1 of 1 contenders known")
    assert not Path("elsewhere/store").exists()
    assert does(f"{COMPARE} sgd store.dir=mine store.limit=0")[0] == ["Sgd"] * 4
    assert list(Path("mine").rglob("*.parquet")) == []


def test_any_process_may_compute_one_contender_into_the_store(does, computed):
    settings = compose("compare", f"{COMPARE} sgd adam".split()[1:-2])
    planned = compare.plan(settings, ["sgd", "adam"], [], [])
    assert [unit.name for unit in planned.units] == ["sgd, 6 steps", "adam, 6 steps"]
    planned.units[1].play(planned.store)
    assert [unit.missing(planned.store) for unit in planned.units] == [4, 0]
    assert does(f"{COMPARE} sgd adam") == (["Sgd"] * 4, "store: 1 of 2 contenders known")


@pytest.mark.slow  # as compare, which the quick test above holds to it
def test_evaluate_and_its_grid_compute_what_is_new_alone(does):
    does(TRAIN)
    run_folder = only("outputs/meta-train/*")
    plain = f"evaluate --run {run_folder} evaluation.episodes=4"
    assert does(plain) == (["CoordinatewiseLSTM"] * 2, "store: 0 of 2 horizons known")
    assert does(plain) == ([], "store: 2 of 2 horizons known")
    assert does(f"compare {run_folder} evaluation.episodes=4")[0] == []  # as it was evaluated
    assert len(does(f"{plain} evaluation.learner.rule.output_scale=0.5")[0]) == 2  # not the same rule
    grid = f"{plain} tune.episodes=2 tune.budget=3 evaluation.against=[sgd]"
    assert does(grid) == (["Sgd"] * 8, "store: 1 of 3 cells known")
    assert does(grid) == ([], "store: 3 of 3 cells known")
    more = f"{grid} evaluation.grid.dimension=[2,3]"
    assert does(more) == (["CoordinatewiseLSTM"] + ["Sgd"] * 8, "store: 3 of 6 cells known")
    settings = compose("evaluate", more.split()[3:])
    names = [unit.name for unit in evaluate.plan(settings, str(run_folder), []).units]
    assert len(set(names)) == len(names) == 6


RULE = """
from l2l_cli.optimizers.base import FirstOrder

class Signs(FirstOrder[None]):
    def __init__(self, lr: float) -> None:
        super().__init__()
        self.lr = lr

    def init(self, params):
        return None

    def update(self, grad, memory):
        return {name: -self.lr * value.sign() for name, value in grad.items()}, memory
"""
NODE = """
_target_: l2l_cli.learners.descent.Descent
rule: {_target_: signs_of_reuse.Signs, lr: 0.1}
"""


@pytest.mark.slow
def test_changed_code_of_the_users_is_computed_anew(does):
    Path("my/learner").mkdir(parents=True)
    Path("my/learner/signs.yaml").write_text(NODE)
    Path("my/signs_of_reuse.py").write_text(RULE)
    command = f"{COMPARE} sgd signs --config-dir my"
    assert does(command)[0] == ["Sgd"] * 4 + ["Signs"]
    assert does(command)[0] == []
    Path("my/signs_of_reuse.py").write_text(RULE.replace("-self.lr *", "-2 * self.lr *"))
    assert does(command) == (["Signs"], "store: 1 of 2 contenders known")


def test_a_changed_image_is_computed_anew(does):
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (4, 4), 60 * number).save(f"pets/{name}/{number}.bmp")
    command = f"compare task=digits task.dataset=pets task.hidden=[2] task.examples=2 {TINY} sgd"
    assert does(command)[0] == ["Sgd"] * 4
    assert does(command)[0] == []
    Image.new("L", (4, 4), 99).save("pets/cat/1.bmp")
    assert does(command)[0] == ["Sgd"] * 4


def test_a_search_with_more_trials_runs_the_new_ones_alone(does, monkeypatch):
    updates, update = [], MetaTraining.update

    def counted(self):
        updates.append(self)
        return update(self)

    monkeypatch.setattr(MetaTraining, "update", counted)
    for trials, made in ((2, 2 * 3 + 2), (3, 1 * 3 + 2)):
        updates.clear()
        does(f"{TRAIN} search.trials={trials} search.updates=3")
        assert len(updates) == made
    frame = pd.read_parquet("outputs/store/trials")
    assert len(frame) == 3
    assert (frame.updates == 3).all()
    two, three = sorted(
        (pd.read_json(path, typ="series").search for path in Path().glob("outputs/meta-train/*/run.json")), key=len
    )
    assert three[:2] == two
    alone = f"{TRAIN} search.trials=3 search.updates=3 store.dir=other output=other"
    does(alone)
    assert pd.read_json(only("other/meta-train/*/run.json"), typ="series").search == three
