"""From overrides to settings and from settings to objects, below the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from l2l_cli.bridge import launch
from l2l_cli.config.build import Builder, build
from l2l_cli.config.compose import compose, identity_of
from l2l_cli.config.groups import config_root, options, papers
from l2l_cli.config.running import VERSION_BASE, composition
from l2l_cli.core.errors import UsageError
from tests.test_cli import run


class Inner:
    def __init__(self, width: int = 1) -> None:
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.width = width


class Outer:
    def __init__(
        self,
        task: object,
        rate: float,
        count: int = 1,
        sizes: Sequence[int] = (),
        mode: Literal["a", "b"] = "a",
        limit: float | None = None,
        inner: Inner | None = None,
    ) -> None:
        self.task, self.rate, self.sizes, self.limit, self.inner = task, rate, sizes, limit, inner


def node(**arguments: Any) -> dict[str, Any]:
    return {"_target_": f"{__name__}.Outer", **arguments}


INNER = f"{__name__}.Inner"

WRONG_ARGUMENTS = [
    ({"rate": 0.1, "cout": 2}, "learner.cout: Outer has no such argument; did you mean 'count'?"),
    ({"rate": 0.1, "task": 2}, "learner.task: Outer has no such argument"),
    ({}, "learner.rate is missing"),
    ({"rate": "fast"}, "learner.rate must be of type float, not 'fast'"),
    ({"rate": 0.1, "count": 2.5}, "learner.count must be of type int, not 2.5"),
    ({"rate": 0.1, "count": True}, "learner.count must be of type int, not True"),
    ({"rate": 0.1, "sizes": [1, "two"]}, "learner.sizes must be of type"),
    ({"rate": 0.1, "mode": "c"}, "learner.mode must be of type"),
    ({"rate": 0.1, "limit": "none"}, "learner.limit must be of type float | None"),
    ({"rate": 0.1, "inner": {"_target_": INNER, "width": "x"}}, "learner.inner.width must be of type int"),
    ({"rate": 0.1, "inner": {"_target_": INNER, "width": 0}}, "learner.inner: width must be at least 1, not 0"),
    ({"rate": 0.1, "inner": 3}, "learner.inner must be of type"),
]

WRONG_OVERRIDES = {
    "experiment=hochreiter2001/tabel2": "there is no experiment 'hochreiter2001/tabel2'; did you mean "
    "'hochreiter2001/table2'?",
    "experiment=hochreiter2002/table2": "did you mean 'hochreiter2001/table2'?",
    "recipe=hochreiter2001/B14-46": "did you mean 'hochreiter2001/B14-64'?",
    "+task=b16": "task is already chosen; write task=… without the '+'",
    "task=null": "a group takes the name of one of its files",
    "~meta.updats": "there is no option 'meta.updats'; did you mean 'meta.updates'?",
    "+tsk=b16": "there is no option 'tsk'; did you mean 'task'?",
    "foo": "cannot read 'foo' as KEY=VALUE",
    "a=b=c": "cannot read 'a=b=c' as KEY=VALUE",
    "meta.updates=[1": "cannot read 'meta.updates=[1' as KEY=VALUE",
    "recipe=null": "a group takes the name of one of its files",
    "seed=0,1": "'seed=0,1' gives several values; add -m",
    "seed=${nowhere}": "Interpolation key 'nowhere' not found",
    "task.horizon=???": "no value for task.horizon",
    "hydra.foo=1": "Hydra has no option 'hydra.foo'",
    "hydra/launcher=jobli": "there is no hydra/launcher 'jobli'; did you mean 'joblib'? (",
    "meta.updates=1.5": "meta.updates: Value '1.5'",
    "meta.floor=2": "meta.floor must be in [0, 1], not 2",
    "evaluation.seeds=[]": "evaluation.seeds must be",
    "evaluation.seeds=[-1]": "evaluation.seeds must be",
    "tune.budget=0": "tune.budget must be at least 1, not 0",
    "hardware.device=tpu": "hardware.device must be cpu or cuda, not 'tpu'",
    "hardware.kernels=slow": "hardware.kernels must be auto, reference or fast, not 'slow'",
    "hardware.precision=float16": "hardware.precision must be float32 or bfloat16, not 'float16'",
    "name=a/b": "name must be a folder's name",
}


@pytest.mark.parametrize("name", ["Adam", "Adam, all tuned"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{use: [learner=adam], rol: rival}", "there is no option 'rows.Adam.rol'; did you mean 'rows.Adam.role'?"),
        (
            "{use: [learner=adam], role: winner}",
            "a row's role must be learned, rival, solver, control, best known, limit",
        ),
        ("{use: learner=adam}", "rows.Adam.use"),
        ("{use: [learner=adam], x: {noise: much}}", "rows.Adam.x.noise"),
    ],
)
def test_a_wrong_row_of_an_experiment_is_explained(row, message, name, tmp_path):
    (tmp_path / "experiment" / "own").mkdir(parents=True)
    (tmp_path / "experiment" / "own" / "table.yaml").write_text(f"# @package _global_\nrows:\n  {name}: {row}\n")
    with pytest.raises(UsageError) as told:
        compose("reproduce", ["experiment=own/table"], str(tmp_path))
    assert message.replace("Adam", name) in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_a_recipe_and_an_experiment_are_chosen_apart():
    chosen = compose("meta-train", ["recipe=bosc2016/lstm", "experiment=bosc2016/problems/base"])
    assert (chosen.choices["learner"], chosen.meta.updates, chosen.evaluation.seeds) == ("lstm", 60000, [1])
    pair = compose("meta-train", ["task=digits"])  # a pair's own recipe, on top of its learner's
    assert (pair.gradient["episodes"], pair.meta.updates, pair.gradient["window"]) == (4, 3600, 20)


def test_all_hyper_parameters_are_tuned_where_that_is_asked_for():
    one, everything = compose("compare", ["learner=momentum"]), compose("compare", ["learner=momentum", "tune=all"])
    assert one.learner == everything.learner
    assert (list(one.tune.grid), one.tune.ranges) == (["learner.rule.lr"], {})
    assert (everything.tune.grid, list(everything.tune.ranges)) == ({}, ["learner.rule.lr", "learner.rule.momentum"])
    assert everything.tune.choices == {"learner.schedule": ["constant", "cosine", "linear"]}


@pytest.mark.parametrize("override", WRONG_OVERRIDES)
def test_a_wrong_override_is_explained(override):
    with pytest.raises(UsageError) as told:
        compose("meta-train", [override])
    assert WRONG_OVERRIDES[override] in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_later_wins_from_the_groups_to_the_command_line():
    own = compose("meta-train", ["learner=coordinatewise_lstm"])
    assert (own.meta.criterion, own.optimizer["_target_"]) == ("final", "l2l_cli.optimizers.adam.Adam")
    recipe = compose("meta-train", ["recipe=hochreiter2001/B14-64"])
    assert (recipe.choices["task"], recipe.choices["learner"], recipe.run_name) == ("b14", "lstm", "b14-lstm")
    plain = compose("meta-train", ["task=b14", "learner=lstm"])
    assert recipe.meta.updates != plain.meta.updates
    typed = compose("meta-train", ["recipe=hochreiter2001/B14-64", "meta.updates=7", "name=mine"])
    assert (typed.meta.updates, typed.run_name) == (7, "mine")


def test_identity_leaves_the_machine_out():
    here = identity_of(compose("meta-train", []), "learner", "meta")
    there = identity_of(
        compose("meta-train", ["hardware.threads=2", "output=elsewhere", "data.dir=there"]), "learner", "meta"
    )
    assert here == there
    assert here != identity_of(compose("meta-train", ["seed=1"]), "learner", "meta")


def test_compose_leaves_hydra_as_it_was():
    compose("compare", ["learner=adam"])
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(config_root()), **VERSION_BASE):
        running = GlobalHydra.instance().hydra
        assert running is not None
        composition("compare", ["learner=adam"], [])
        with pytest.raises(UsageError):
            compose("compare", ["learner=adm"])
        assert GlobalHydra.instance().hydra is running
    assert not GlobalHydra.instance().is_initialized()


def test_a_folder_of_ones_own_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "it's mine, (really)=so"
    (folder / "task").mkdir(parents=True)
    (folder / "task" / "own.yaml").write_text("_target_: own.Own\n")
    settings = compose("meta-train", ["task=own"], str(folder))
    assert (settings.task, settings.config_dir) == ({"_target_": "own.Own"}, str(folder))
    assert str(folder) in sys.path
    assert "own" in options("task", str(folder))
    with pytest.raises(UsageError, match="did you mean 'own'"):
        compose("meta-train", ["task=onw"], str(folder))


def test_papers_are_found_by_their_files():
    assert set(papers()["hochreiter2001"]) == {"table1", "table2", "figure2", "volume", "drift", "budget", "context"}


@pytest.mark.parametrize(("arguments", "message"), WRONG_ARGUMENTS)
def test_arguments_are_checked_against_the_class(arguments, message):
    with pytest.raises(UsageError) as told:
        build(node(**arguments), "learner", task=object())
    assert str(told.value).startswith(message)


def test_right_arguments_arrive():
    task = object()
    inner = {"_target_": INNER, "width": 3}
    built = build(node(rate=1, sizes=[1, 2], limit=None, inner=inner), "learner", task=task)
    assert (built.task, built.rate, built.sizes, built.inner.width) == (task, 1, [1, 2], 3)


def test_only_the_command_line_may_name_foreign_code():
    with pytest.raises(UsageError, match=r"--trust tests"):
        Builder([])(node(rate=1.0), "learner", task=None)
    with pytest.raises(UsageError, match=r"the saved learner.inner names .* --trust json"):
        Builder(["tests"])(node(rate=1.0, inner={"_target_": "json.JSONDecoder"}), "learner", task=None)
    assert Builder(["tests"])(node(rate=1.0), "learner", task=None).rate == 1.0


def test_reading_a_configuration_loads_no_torch():
    code = (
        "import sys, l2l_cli.config.build, l2l_cli.bridge\n"
        "from l2l_cli.config.compose import compose\n"
        "compose('compare', ['task=b16'])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", ["task=quadratik,b16", "meta.updates=x,y", "seed=0 meta.updats=1,2"])
def test_a_sweep_that_cannot_be_composed_leaves_nothing_behind(arguments, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(f"meta-train -m {arguments}", monkeypatch, capsys)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_cannot_be_composed_spares_what_was_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "multirun").mkdir(parents=True)
    with pytest.raises(UsageError):
        launch("meta-train", ["task=quadratik,b16"], {}, ["-m"], None)
    assert list(tmp_path.rglob("*")) == [tmp_path / "outputs", tmp_path / "outputs" / "multirun"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("meta-trian", "Did you mean 'meta-train'?"),
        ("meta-train --bogus", "No such option: --bogus"),
        ("evaluate --run", "requires an argument"),
        ("reproduce hochreiter2001 --seeds 0", "'--seeds'"),
        ("meta-train --cfg jobb", "there is no --cfg 'jobb'; did you mean 'job'?"),
        ("meta-train --info default", "there is no --info 'default'; did you mean 'defaults'?"),
        ("meta-train -m --cfg job seed=0,1", "give only one of them"),
    ],
)
def test_wrong_flags_are_one_line(arguments, message, monkeypatch, capsys):
    code, _, err = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["meta-train", "task", "=", "qu"], ["quadratic", "quadratic_function"]),
        (
            ["meta-train", "seed", "=", "1", "gradient", "="],
            [*"backprop bptt2 damped elman es evidence mlhf pes replay rtrl truncated1997".split()],
        ),
        (["compare", "adam", "learner", "=", "nes"], ["nesterov"]),
        (["meta-train", "experiment=hochreiter2001/f"], ["experiment=hochreiter2001/figure2"]),
    ],
)
def test_completion_where_bash_splits_words_at_the_equals_sign(words, expected):
    environment = {
        "_L2L_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(["l2l", *words]),
        "COMP_CWORD": str(len(words)),
        "PATH": "/usr/bin:/bin",
    }
    code = "import sys; sys.argv = ['l2l']; from l2l_cli.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == expected


def test_everything_that_is_tuned_as_standard_can_be_tuned_whole():
    """``tune=all`` on a comparison leaves no contender untuned."""
    assert set(options("tune/all")) == set(options("tune/standard"))
    for name in options("tune/standard"):
        tune = compose("compare", [f"learner={name}", "tune=all"]).tune
        assert tune.ranges, name
        assert (tune.budget, tune.extensions) == (48, 4), name
    halved = compose("compare", ["learner=sgd", "tune=halving", "tune.halving.episodes=[2,3,4]"]).tune
    assert (halved.rungs, list(halved.ranges)) == ([(32, 2), (8, 3), (2, 4)], ["learner.rule.lr"])


@pytest.mark.parametrize("asked", ["task=quadratc", "experiment=mlhf2018/figur1", "recipe=andrychowicz2016/mnst"])
def test_parts_of_others_are_no_choices(asked):
    with pytest.raises(UsageError) as refused:
        compose("reproduce" if "experiment" in asked else "meta-train", [asked])
    choices = str(refused.value).rpartition("(")[2]
    assert len(choices.split(", ")) > 5
    assert not [name for name in choices.split() if name.rpartition("/")[2].startswith("_")]
