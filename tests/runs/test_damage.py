"""Power cuts, and files of a run that are damaged: it goes on to the same bits, or says what to do."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from l2l_cli.config.compose import compose
from l2l_cli.core.errors import L2LError, RunFailed, UsageError
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.folders import done_before, load_run
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.tensors import CHECKPOINT, PREVIOUS, Damaged, read_tensors, write_tensors
from l2l_cli.runs.training import train
from tests.power_cuts import Disk, restored

SMALL = (
    "task=quadratic task.dimension=2 task.horizon=6 learner.rule.hidden=3 gradient.episodes=2 gradient.window=3 "
    "meta.updates=6 meta.validate_every=2 meta.validation_episodes=4 meta.checkpoint_every=1e-9"
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def settings(root):
    return compose("meta-train", [*SMALL.split(), f"output={root}"])


def trained(root):
    return train(settings(root), relay=lambda *_: None)


def bits(run):
    return [(run.path / name).read_bytes() for name in ("metrics.csv", "weights.safetensors")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing has happened to."""
    return trained(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A run that was stopped after its fourth update, and has two checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        update = MetaTraining.update

        def stopped(self):
            if self.number == 4:
                raise KeyboardInterrupt
            return update(self)

        patch.setattr(MetaTraining, "update", stopped)
        root = tmp_path_factory.mktemp("half")
        with pytest.raises(KeyboardInterrupt):
            trained(root)
    return next((root / "meta-train").iterdir())


@pytest.fixture
def run(half, tmp_path):
    """A copy of the run that was stopped."""
    path = tmp_path / "out" / "meta-train" / half.name
    shutil.copytree(half, path)
    return path


# --- Power cuts -------------------------------------------------------------------------------------------------------

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names of open files are in /proc")


def cut(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        disk = Disk(tmp_path / "out", patch)
        trained(disk.root)
    images = sorted(disk.images, key=lambda image: sorted((name, len(content)) for name, content in image))
    assert len(images) > 50
    return images


def resumes_alike(images, whole, tmp_path):
    for number, image in enumerate(images):
        root = tmp_path / f"cut{number}"
        restored(image, root)
        assert bits(trained(root)) == bits(whole), sorted((name, len(content)) for name, content in image)


@needs_proc
def test_a_run_goes_on_after_a_power_cut(tmp_path, monkeypatch, whole):
    images = cut(tmp_path, monkeypatch)
    resumes_alike(images[3 :: len(images) // 5], whole, tmp_path)


@needs_proc
@pytest.mark.slow
def test_a_run_goes_on_after_a_power_cut_at_any_moment(tmp_path, monkeypatch, whole):
    resumes_alike(cut(tmp_path, monkeypatch), whole, tmp_path)


# --- Checkpoints ------------------------------------------------------------------------------------------------------

LOSSES = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "flipped": lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:],
    "flipped head": lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"nothing of the kind",
    "huge head": lambda data: b"\xff" * 8 + data[8:],
}


@pytest.mark.parametrize("damage", LOSSES.values(), ids=LOSSES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(run, whole, damage, capsys):
    path = run / CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    assert bits(trained(run.parents[1])) == bits(whole)
    assert f"warning: {path} is damaged (" in (err := capsys.readouterr().err)
    assert "the run continues from the checkpoint before it" in err


def test_a_checkpoint_that_is_gone_is_the_one_before(run, whole, capsys):
    (run / CHECKPOINT).unlink()
    assert bits(trained(run.parents[1])) == bits(whole)
    assert f"{run / CHECKPOINT} is missing; the run continues from the checkpoint before it" in capsys.readouterr().err


def test_both_checkpoints_damaged_end_in_one_line(run, whole):
    for name in (CHECKPOINT, PREVIOUS):
        (run / name).write_bytes(b"x")
    with pytest.raises(
        RunFailed, match=r"damaged .* and .* is damaged .*; delete that and run again.* starts from scratch"
    ) as e:
        trained(run.parents[1])
    assert "\n" not in str(e.value)
    for name in (CHECKPOINT, PREVIOUS):
        (run / name).unlink()
    assert bits(trained(run.parents[1])) == bits(whole)


def test_every_flipped_bit_of_a_file_of_tensors_is_seen(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {"b": torch.arange(4.0), "a": torch.tensor(3)}
    write_tensors(path, tensors)
    content = path.read_bytes()
    assert all(torch.equal(value, tensors[name]) for name, value in load_file(path).items())  # also for others to read
    for place in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_tensors(path, 100)
        except Damaged:
            continue
        # What is left over is the name of the checksum itself.
        assert all(torch.equal(value, tensors[name]) for name, value in found.items())


def test_damage_of_a_large_file_of_tensors_is_seen(tmp_path):
    """A bit, words, sectors or pages of a disk that change places, zeros in the place of each."""
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.arange(1.0, 5001.0)})
    content = path.read_bytes()
    head = 8 + int.from_bytes(content[:8], "little")
    for number, (one, other, size) in enumerate([(0, 8, 8), (16, 19992, 8), (512, 5120, 512), (0, 4096, 4096)]):
        damaged, flipped, zeros = (bytearray(content) for _ in range(3))
        places = [slice(head + place, head + place + size) for place in (one, other)]
        damaged[places[0]], damaged[places[1]] = content[places[1]], content[places[0]]
        flipped[head + other] ^= 1 << number
        zeros[places[1]] = bytes(size)
        for each in (damaged, flipped, zeros):
            path.write_bytes(each)
            with pytest.raises(Damaged, match="its checksum does not match"):
                read_tensors(path, 20_000)


def test_a_checkpoint_of_an_older_version_has_no_checksum(run, whole):
    for name in (CHECKPOINT, PREVIOUS):
        save_file(load_file(run / name), run / name)
    assert bits(trained(run.parents[1])) == bits(whole)


def changed_checkpoint(run, **changes):
    for name in (CHECKPOINT, PREVIOUS):
        tensors = load_file(run / name)
        phi = next(key for key in tensors if key.startswith("phi."))
        for change in changes.values():
            change(tensors, phi)
        write_tensors(run / name, tensors)


CHANGES = {
    "lacks one": (lambda tensors, phi: tensors.pop(phi), "belongs to another learner or estimator"),
    "shape": (lambda tensors, phi: tensors.update({phi: torch.zeros(1)}), "has shape"),
    "type": (lambda tensors, phi: tensors.update({phi: tensors[phi].double()}), "or another type"),
    "nan": (lambda tensors, phi: tensors[phi].view(-1)[0].fill_(torch.nan), "is not finite"),
    "counters": (lambda tensors, phi: tensors["counters"].fill_(torch.nan), "belongs to another"),
    "few counters": (lambda tensors, phi: tensors.update(counters=torch.zeros(2)), "belongs to another"),
    "no length": (lambda tensors, phi: tensors.pop("metrics_bytes"), "belongs to another"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_that_does_not_fit_ends_in_one_line(run, name):
    change, message = CHANGES[name]
    changed_checkpoint(run, change=change)
    rows = (run / "metrics.csv").read_bytes()
    with pytest.raises(RunFailed, match=message):
        trained(run.parents[1])
    assert (run / "metrics.csv").read_bytes() == rows or name not in ("no length",)


def test_a_checkpoint_of_a_terabyte_is_not_read(run):
    (run / PREVIOUS).unlink()
    with (run / CHECKPOINT).open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(L2LError, match="has 1099511627776 bytes, more than"):
        trained(run.parents[1])


# --- Rows, weights, facts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", LOSSES.values(), ids=LOSSES)
def test_damaged_rows_are_a_gap_and_the_weights_are_the_same(run, whole, damage, capsys):
    path = run / "metrics.csv"
    path.write_bytes(damage(path.read_bytes()))
    assert bits(trained(run.parents[1]))[1] == bits(whole)[1]


@pytest.mark.parametrize("damage", [LOSSES["cut"], LOSSES["flipped"], None], ids=["cut", "flipped", "gone"])
def test_damaged_weights_are_named_and_made_again(tmp_path, whole, damage, capsys):
    shutil.copytree(whole.path, path := tmp_path / "out" / "meta-train" / whole.path.name)
    weights = path / "weights.safetensors"
    if damage is None:
        weights.unlink()
    else:
        weights.write_bytes(damage(weights.read_bytes()))
        with pytest.raises(UsageError, match=r"damaged \(.*`l2l meta-train --resume .*` makes them again"):
            load_learner(RunFolder(path), settings("out"), _task(), _builder())
    assert done_before(settings("out")) is None
    assert bits(trained("out")) == bits(whole)
    assert done_before(settings("out")) is not None


def _task():
    from l2l_cli.runs.building import build_task

    return build_task(settings("out"))


def _builder():
    from l2l_cli.config.build import build

    return build


def test_weights_that_are_not_finite_end_in_a_sentence(tmp_path, whole):
    shutil.copytree(whole.path, path := tmp_path / "x")
    weights = load_file(path / "weights.safetensors")
    next(iter(weights.values())).view(-1)[0] = torch.nan
    write_tensors(path / "weights.safetensors", weights)
    run, saved = load_run(str(path), settings("out"))
    with pytest.raises(UsageError, match=r"are not finite \(.*\): the run diverged, or the file is damaged"):
        load_learner(run, saved, _task(), _builder())


def test_a_damaged_log_of_a_finished_run_is_named_and_the_run_reused(tmp_path, whole, capsys):
    shutil.copytree(whole.path, path := tmp_path / "out" / "meta-train" / whole.path.name)
    with (path / "metrics.csv").open("ab") as file:
        file.write(b"x")
    assert done_before(settings("out")) is not None
    assert "metrics.csv was changed after the run ended; the weights were not" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["a: [1", "{}", "task: {}\n", None, "\x00"])
def test_a_damaged_configuration_leaves_the_facts_and_is_written_anew(run, whole, content, capsys):
    path = run / "config.yaml"
    facts, before = json.loads((run / "run.json").read_text()), path.read_bytes()
    path.unlink() if content is None else path.write_text(content)
    assert bits(trained(run.parents[1])) == bits(whole)
    assert f"warning: {path} was damaged, and is written anew" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert json.loads((run / "run.json").read_text())["seconds"] > facts["seconds"]


FACTS = [
    ("status", "gone"),
    ("status", 3),
    ("seconds", "long"),
    ("results", "2"),
    ("versions", []),
    ("began", {"training": "soon"}),
    ("cpu_seconds", {"training": "x"}),
    ("peak_memory_bytes", None),
    ("search", {}),
    ("checksums", [1]),
]


@pytest.mark.parametrize(("name", "value"), FACTS)
def test_facts_of_wrong_types_end_in_one_line(run, name, value):
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {name: value}))
    with pytest.raises(
        UsageError, match=r"run\.json is damaged \(.*; delete it and run again with the run's own command"
    ):
        trained(run.parents[1])
    (run / "run.json").unlink()
    assert trained(run.parents[1]).status == "done"


def test_nothing_is_left_of_writing(whole):
    assert not [*whole.path.glob(".*.tmp")]
    assert {*json.loads((whole.path / "run.json").read_text())["checksums"]} == {"metrics.csv", "weights.safetensors"}
