"""Anybody's network and data as a task, without a class of this program's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from l2l_cli.config.build import Builder, build
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split
from l2l_cli.results.exported import ExportedRun
from l2l_cli.tasks import own_data
from l2l_cli.testing import check_task
from tests.tasks import own
from tests.test_cli import assert_refused, run
from tests.test_commands import only

SMALL = (
    "learner.rule.hidden=3 gradient.episodes=2 gradient.window=3 meta.updates=2 meta.validate_every=2 "
    "meta.validation_episodes=4 task.horizon=6 task.examples=5"
)


def task(model="Net", data="pair", **options):
    """A task of what tests.tasks.own has."""
    node = {"_target_": "l2l_cli.tasks.module.ModuleTask", "horizon": 6, "examples": 5}
    names = {"model": model, "data": data, "loss": options.pop("loss", None)}
    named = {key: f"tests.tasks.own:{name}" for key, name in names.items() if name is not None}
    return build(node | named | options, "task")


def rows(made, phase, split=Split.TRAIN):
    """All inputs that a phase draws."""
    drawn = made.sample(4, 0, phase).batches(0, 200, split).inputs.flatten(0, 2)
    return {tuple(row.tolist()) for row in drawn}


# --- Networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["Net", "Habits", "Reader", "made"])
def test_networks_of_all_kinds_are_tasks(model):
    check_task(task(model))


@pytest.mark.parametrize(("model", "wanted"), [("Words", (6, 5)), ("Pixels", (6, 5))])
def test_sequences_of_classes_are_scored_as_torch_scores_them(model, wanted):
    made = task(model, "text")
    check_task(made)
    batch = made.sample(2, 0, Phase.TEST).batch(0)
    assert batch.targets.shape[2:] == wanted
    params = made.model.init(2, generator(0))
    outputs = made.model(params, batch.inputs)
    for episode in range(2):
        classes = batch.targets[episode].argmax(-1)
        logits = outputs[episode] if model == "Pixels" else outputs[episode].movedim(-1, 1)
        torch.testing.assert_close(
            made.loss(outputs, batch.targets)[episode], nn.functional.cross_entropy(logits, classes)
        )


def test_frozen_parts_stay_and_the_rest_is_drawn_anew_for_each_episode():
    made = task("Habits")
    params = made.model.init(3, generator(0))
    assert {name.split(".")[0] for name in params} == {"rest"}
    weights = params["rest.2.weight"]
    assert not torch.equal(weights[0], weights[1])
    assert weights.abs().max() <= 6**-0.5  # as torch draws a layer of six inputs
    fixed = task("Habits", start="fixed").model.init(3, generator(0))["rest.2.weight"]
    assert torch.equal(fixed[0], fixed[1])


def test_the_network_and_the_data_do_not_depend_on_the_global_generator():
    torch.manual_seed(1)
    one = task("Habits", "unseeded")
    torch.manual_seed(2)
    other = task("Habits", "unseeded")
    assert torch.equal(one.model.module.body.weight, other.model.module.body.weight)
    assert one.fingerprint() == other.fingerprint()
    assert one.fingerprint() != task("Habits").fingerprint()


# --- Data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["pair", "arrays", "batches", "loader", "Rows", "Stream"])
def test_data_of_all_forms_are_the_same_examples(data):
    name = data if data not in ("Rows", "Stream") else f"{data.lower()}_made"
    if name.endswith("_made"):
        setattr(own, name, getattr(own, data)())
    wanted, found = own.pair(), task(data=name).examples
    torch.testing.assert_close(found.inputs, wanted[0])
    assert torch.equal(found.targets.argmax(1), wanted[1])


def test_data_without_end_are_read_up_to_a_number(monkeypatch):
    monkeypatch.setattr(own_data, "MOST", 100)
    assert len(task(data="endless").examples.inputs) == 100
    assert len(task(data="listed").examples.inputs) == 61


def test_phases_and_splits_share_no_example():
    made = task()
    parts = [rows(made, phase, split) for phase in Phase for split in Split]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 60
    assert [len(rows(made, phase)) + len(rows(made, phase, Split.TEST)) for phase in Phase] == [36, 6, 6, 12]
    assert "36 meta_train, 6 meta_valid, 6 tune, 12 test" in made.told


def test_phases_may_share_their_examples():
    made = task(division="shared")
    found = [rows(made, phase) for phase in Phase]
    assert all(one == found[0] for one in found)
    assert len(found[0]) == 48
    assert not found[0] & rows(made, Phase.TEST, Split.TEST)


def test_the_user_may_divide_the_data():
    made = task(data="by_phase")
    for phase, (inputs, _) in own.by_phase.items():
        allowed = {tuple(row.tolist()) for row in inputs}
        assert rows(made, Phase(phase)) | rows(made, Phase(phase), Split.TEST) == allowed
    parts = task(data="by_two")
    assert [sum(map(len, parts._divided.shares[phase].values())) for phase in Phase] == [30, 5, 5, 60]


# --- Losses -----------------------------------------------------------------------------------------------------------


def test_the_loss_is_found_out_and_said():
    assert "the cross-entropy of 3 classes, since the targets are whole numbers" in task().told
    numbers = task("Single", "numbers")
    assert "the mean squared error, since the targets are not whole numbers" in numbers.told
    assert numbers.spec.targets == (1,)  # (N,) would be subtracted from (N, 1) as (N, N)
    mine = task("Single", "numbers", loss="huber")
    assert "the loss is tests.tasks.own:huber" in mine.told
    batch = mine.sample(2, 0, Phase.TEST).batch(0)
    outputs = mine.model(mine.model.init(2, generator(0)), batch.inputs)
    for found, *given in zip(mine.loss(outputs, batch.targets), outputs, batch.targets, strict=True):
        torch.testing.assert_close(found, own.huber(*given))
    check_task(mine)
    check_task(numbers)


# --- Refusals ---------------------------------------------------------------------------------------------------------

REFUSED = {
    "needs an argument": (
        {"model": "Needy"},
        "must make the network without arguments .*name a function that passes them",
    ),
    "a network itself": ({"model": "network"}, "is a Sequential; name a class of nn.Module, or a function"),
    "no network": ({"model": "pair"}, "returns a tuple, and must return an nn.Module"),
    "no such name": ({"model": "Nett"}, "tests.tasks.own has no 'Nett'; did you mean 'Net'"),
    "two outputs": ({"model": "Answers"}, "returns a tuple, but a task's network must return one tensor"),
    "other inputs": (
        {"model": "Words"},
        r"Words cannot take inputs of tests.tasks.own:pair, \(4, 4\) of torch.float32",
    ),
    "one output": ({"model": "Single"}, r"gives \(1,\) for an example, and its target is whole numbers of shape \(\)"),
    "other targets": ({"data": "numbers"}, r"gives \(3,\) for an example, and its target is \(\); .*task.loss=my_net"),
    "losses of examples": (
        {"model": "Single", "data": "numbers", "loss": "each"},
        r"must return one number for outputs and targets of a batch, not \(4,\); take the mean",
    ),
    "no data": ({"data": "Net"}, "is a Net; data are a pair of tensors"),
    "too few": ({"data": "few"}, "has 6 examples, too few .*task.division=shared"),
    "a number": ({"examples": 0}, "examples and horizon must be at least 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_the_way_out(name):
    options, message = REFUSED[name]
    with pytest.raises(UsageError, match=message):
        task(**options)


BAD = {
    "a phase of another name": (
        {"train": own.pair()},
        "is a mapping of train; data by phase need meta_train and test",
    ),
    "inputs of several parts": ([((torch.zeros(2), torch.zeros(2)), torch.zeros(2))], "must be one tensor each"),
    "three things": ([(torch.zeros(2), torch.zeros(2), torch.zeros(2))], "holds a list|holds a tuple"),
    "other lengths": ((torch.zeros(3, 4), torch.zeros(2)), "do not have the same number of examples"),
    "other shapes": ([(torch.zeros(2, 3), torch.zeros(2)), (torch.zeros(2, 4), torch.zeros(2))], "pad them to one"),
    "nothing": ([], "has no examples"),
    "no numbers": ((torch.full((9, 4), torch.nan), torch.zeros(9, 3)), "its inputs hold numbers that are not finite"),
    "other classes": ((torch.zeros(40, 4), torch.full((40,), 7)), "has classes 7 … 7, but Net has outputs for 0 … 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_data_that_are_no_examples_are_refused(name, monkeypatch):
    data, message = BAD[name]
    monkeypatch.setattr(own, "bad", data, raising=False)
    with pytest.raises(UsageError, match=message):
        task(data="bad")


def test_a_saved_configuration_may_not_name_foreign_objects():
    node = {"_target_": "l2l_cli.tasks.module.ModuleTask", "model": "tests.tasks.own:Net", "data": "os:getcwd"}
    with pytest.raises(UsageError, match=r"the saved task names tests.tasks.own:Net, .* pass --trust tests"):
        Builder([])(node, "task")
    with pytest.raises(UsageError, match=r"names os:getcwd, which is not part of l2l; pass --trust os"):
        Builder(["tests"])(node, "task")
    with pytest.raises(UsageError, match=r"task.model must be MODULE:NAME, as in my_net:Net, not 'my_net.Net'"):
        build(node | {"model": "my_net.Net"}, "task")


# --- The command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a module of the user's."""
    shutil.copy(own.__file__, tmp_path / "my_net.py")
    monkeypatch.chdir(tmp_path)
    return f"task=module task.model=my_net:Net task.data=my_net:batches {SMALL} --config-dir ."


@pytest.mark.slow
def test_a_run_is_trained_and_loads_again_where_its_code_is_trusted(mine, monkeypatch, capsys):
    code, out, err = run(f"meta-train {mine} --export rule.safetensors", monkeypatch, capsys)
    assert code == 0, err
    assert "task: the loss is the cross-entropy of 3 classes, since the targets are whole numbers; 60 examples" in out
    folder = only("outputs/meta-train/module-*/run.json").parent
    assert ExportedRun.load(Path("rule.safetensors")).card["trust"] == ["my_net"]
    scoring = "evaluation.episodes=4 evaluation.stretch=[1]"
    for source in (folder, "rule.safetensors"):
        code, _, err = run(f"evaluate {source} {scoring} --config-dir .", monkeypatch, capsys)
        assert (code, "pass --trust my_net if you trust that code" in err) == (2, True), err
        code, _, err = run(f"evaluate {source} {scoring} --config-dir . --trust my_net", monkeypatch, capsys)
        assert code == 0, err
    again = run(f"meta-train {mine}", monkeypatch, capsys)
    assert "already done, reused" in again[1]
    with Path("my_net.py").open("a") as file:
        file.write("# changed\n")
    code, out, err = run(f"meta-train {mine} --dry-run", monkeypatch, capsys)
    assert (code, "(new)" in out) == (0, True), err


def test_what_is_missing_is_asked_for(monkeypatch, capsys, tmp_path):
    assert_refused(
        "meta-train task=module", "no value for task.data, task.model; set it", monkeypatch, capsys, tmp_path
    )
