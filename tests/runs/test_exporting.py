"""Finished runs in one file: whole or refused, the same learner everywhere, and read by every later version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open

from l2l_cli.config.compose import compose
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.results.exported import NOTE, SCHEMA, ExportedRun
from l2l_cli.results.tensor_files import notes_of
from l2l_cli.runs.building import build_task
from l2l_cli.runs.exporting import export
from l2l_cli.runs.folders import load_run
from l2l_cli.runs.loading import load_learner, weights_of
from l2l_cli.runs.tensors import write_tensors
from l2l_cli.runs.training import train
from tests.test_cli import assert_refused, run
from tests.test_commands import only

SMALL = (
    "task=quadratic task.dimension=2 task.horizon=6 learner.rule.hidden=3 gradient.episodes=2 gradient.window=3 "
    "meta.updates=2 meta.validate_every=2 meta.validation_episodes=4"
)
GOLDEN = Path(__file__).parent / "exported"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("whole")
    return train(compose("meta-train", [*SMALL.split(), f"output={root}"]), relay=lambda *_: None).path


@pytest.fixture
def file(whole, tmp_path):
    """The run as a file."""
    return export(whole, tmp_path / "rule.safetensors", "CC0-1.0")


def learner_of(path, trust=()):
    """The learner of a run's folder or file."""
    from l2l_cli.config.build import Builder

    found, saved = load_run(str(path), Settings())
    builder = Builder(trust)
    return load_learner(found, saved, build_task(saved, builder), builder)


def test_a_file_holds_the_learner_of_the_folder(whole, file):
    ours, theirs = weights_of(learner_of(file)), weights_of(learner_of(whole))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)


def test_its_tensors_are_the_weights_to_any_reader_of_the_format(whole, file):
    with safe_open(file, "pt") as ours, safe_open(whole / "weights.safetensors", "pt") as theirs:
        assert {*ours.keys()} == {*theirs.keys()}
        assert all(torch.equal(ours.get_tensor(name), theirs.get_tensor(name)) for name in ours.keys())


def test_a_run_comes_to_the_same_bytes_each_time(whole, file, tmp_path):
    assert export(whole, tmp_path / "again.safetensors", "CC0-1.0").read_bytes() == file.read_bytes()
    assert export(whole, file, "CC0-1.0") == file  # an export takes the place of an earlier one


def test_the_card_says_what_it_is_for(whole, file):
    card = ExportedRun.load(file).card
    assert (card["family"], card["horizon"]) == ("l2l_cli.tasks.quadratic.Quadratic", 6)
    assert (card["learner"], card["task"], card["updates"]) == ("coordinatewise_lstm", "quadratic", 2)
    assert (card["licence"], card["trust"], card["compared"]) == ("CC0-1.0", [], [])
    assert card["validation"]["loss"] == json.loads((whole / "run.json").read_text())["best_validation"]
    assert "machine" not in json.dumps(notes_of(file.read_bytes()))


@pytest.mark.slow
def test_the_card_quotes_comparisons_that_had_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(f"meta-train {SMALL} --export rule.safetensors", monkeypatch, capsys)
    assert (code, ExportedRun.load(Path("rule.safetensors")).card["compared"]) == (0, []), err
    folder = only("outputs/meta-train/*/run.json").parent
    scoring = "tune.budget=2 tune.episodes=4 evaluation.episodes=4"
    for contenders in (f"{folder} sgd", "sgd"):
        code, _, err = run(f"compare {contenders} task=quadratic task.dimension=2 {scoring}", monkeypatch, capsys)
        assert code == 0, err
    code, out, err = run(f"meta-train --resume {folder} --export rule.safetensors", monkeypatch, capsys)
    assert (code, "exported: rule.safetensors" in out) == (0, True), err
    (found,) = ExportedRun.load(Path("rule.safetensors")).card["compared"]
    assert found["tuned_settings"] == {"sgd": 2}
    assert "coordinatewise_lstm (meta-trained)" in found["headline"]
    (metrics,) = [one for one in Path("outputs/compare").glob("*/metrics.csv") if "meta-trained" in one.read_text()]
    frame = pd.read_csv(metrics)
    for name, losses in found["losses"].items():
        rows = frame[(frame.contender == name) & (frame.metric == "loss") & (frame.statistic == "mean")]
        assert losses["final"] == pytest.approx(rows[rows.step == rows.step.max()].value.mean())
        assert losses["mean"] == pytest.approx(rows.value.mean())


# --- Damage, and what is something else -------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0, 1, 7, 8, 20, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_one_line(file, part, damage):
    content = bytearray(file.read_bytes())
    place = int(part * len(content)) if isinstance(part, float) else part
    if damage == "flipped":
        content[place] ^= 0x10
    file.write_bytes(content if damage == "flipped" else content[:place])
    with pytest.raises(UsageError, match=r"is damaged \(|is not an exported run") as told:
        load_run(str(file), Settings())
    assert "\n" not in str(told.value)
    assert "l2l meta-train" in str(told.value)


def rewritten(file, **changes):
    """Write a file whose note is another, with a checksum that fits it."""
    content = json.loads(notes_of(file.read_bytes())[NOTE]) | changes
    tensors = {}
    with safe_open(file, "pt") as found:
        tensors = {name: found.get_tensor(name) for name in found.keys()}
    write_tensors(file, tensors, notes={NOTE: json.dumps(content)})


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, -1, True, "1", None])
def test_a_schema_that_is_not_known_is_named_with_the_version_that_wrote_it(file, schema):
    rewritten(file, schema=schema, card={"version": "9.1.0"})
    with pytest.raises(
        UsageError, match=rf"has schema {schema}, and .* up to {SCHEMA}; install l2l-cli 9\.1\.0, which"
    ):
        load_run(str(file), Settings())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": []}, "its config is not a mapping"),
        ({"facts": {}}, "its facts have no status"),
        ({"card": None}, "damaged"),
        ({"config": {}}, "does not say which task and learner"),
    ],
)
def test_a_note_that_lacks_something_is_one_line(file, changes, message):
    rewritten(file, **changes)
    with pytest.raises(UsageError, match=message):
        load_run(str(file), Settings())


def test_foreign_classes_are_refused_unless_they_are_trusted(file):
    content = json.loads(notes_of(file.read_bytes())[NOTE])
    content["config"]["learner"]["rule"] = {"_target_": "tests.meta.zoo.Nowhere"}
    rewritten(file, **content)
    with pytest.raises(UsageError, match="is not part of l2l; pass --trust tests if you trust that code"):
        learner_of(file)
    with pytest.raises(UsageError, match="has no class 'Nowhere'"):
        learner_of(file, trust=["tests"])


def test_weights_of_another_learner_do_not_fit(file):
    content = json.loads(notes_of(file.read_bytes())[NOTE])
    content["config"]["learner"]["rule"]["hidden"] = 4
    rewritten(file, **content)
    with pytest.raises(UsageError, match="do not fit this task"):
        learner_of(file)


def test_weights_alone_are_no_exported_run(whole):
    with pytest.raises(UsageError, match="is not an exported run: it has no note 'l2l' in its head"):
        load_run(str(whole / "weights.safetensors"), Settings())


def test_a_file_that_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for command in ("evaluate", "compare"):
        code, _, err = run(f"{command} gone.safetensors", monkeypatch, capsys)
        assert (code, "gone.safetensors" in err) == (2, True), err


# --- Where to ---------------------------------------------------------------------------------------------------------

TARGETS = {
    "rule.bin": "call it rule.safetensors",
    "no/rule.safetensors": "there is no folder no",
    "rule.safetensors -m": "--export writes one finished run",
    "rule.safetensors --dry-run": "--export writes one finished run",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_refused_before_anything_is_trained(target, monkeypatch, capsys, tmp_path):
    assert_refused(f"meta-train {SMALL} --export {target}", TARGETS[target], monkeypatch, capsys, tmp_path)


def test_nothing_else_is_overwritten(whole, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    shutil.copy(whole / "weights.safetensors", tmp_path)
    (tmp_path / "text.safetensors").write_text("precious")
    for name, message in (("folder", "is a folder"), ("weights", "exists already"), ("text", "exists already")):
        with pytest.raises(UsageError, match=message):
            export(whole, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "text.safetensors").read_text() == "precious"


def test_a_run_that_is_not_done_is_not_exported(whole, tmp_path):
    shutil.copytree(whole, path := tmp_path / "half")
    (path / "weights.safetensors").unlink()
    with pytest.raises(UsageError, match=r"not done; finish it by `l2l meta-train --resume"):
        export(path, tmp_path / "rule.safetensors")


# --- What earlier versions wrote --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("schema_*/*.safetensors")), ids=lambda path: path.stem)
def test_every_file_that_a_version_wrote_measures_what_it_did_then(path):
    """``exported/README.md`` has the commands by which they were made; this is what they score."""
    learner = learner_of(path)
    found = score(learner, 4, learner.task.horizon, 0, Phase.TEST, 4).losses.mean(1)
    wanted = json.loads(path.with_suffix(".json").read_text())
    assert found.tolist() == pytest.approx(wanted["losses"], rel=1e-5)
    card = ExportedRun.load(path).card
    assert {name: card[name] for name in wanted["card"]} == wanted["card"]


def test_there_is_a_file_of_every_schema():
    assert {int(path.name.removeprefix("schema_")) for path in GOLDEN.glob("schema_*")} == {*range(1, SCHEMA + 1)}
