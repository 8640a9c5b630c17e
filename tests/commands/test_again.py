"""``--force`` runs again without losing what there was before the new result is complete; hardware sweeps measure."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from l2l_cli.core.stop import Stopped
from l2l_cli.evaluation import contest
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.results.run import RunFolder
from tests.test_cli import run
from tests.test_commands import only

TRAIN = (
    "meta-train task=quadratic task.dimension=2 task.horizon=4 learner.rule.hidden=2 gradient.episodes=2 "
    "gradient.window=2 meta.updates=3 meta.validate_every=1 meta.validation_episodes=2"
)
FEW = "evaluation.episodes=2 tune.episodes=2 tune.budget=2"


class Updates:
    """The updates that are made, of which the one with the number ``stop`` is interrupted."""

    def __init__(self):
        self.count, self.stop = 0, None

    def __call__(self, training, update):
        if self.count == self.stop:
            raise Stopped
        self.count += 1
        return update(training)


@pytest.fixture
def does(tmp_path, monkeypatch, capsys):
    """Run a command; return the number of updates that it makes, and what it prints."""
    monkeypatch.chdir(tmp_path)
    update, updates = MetaTraining.update, Updates()
    monkeypatch.setattr(MetaTraining, "update", lambda training: updates(training, update))
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))
    monkeypatch.setattr(Figure, "get_layout_engine", lambda figure: None)

    def done(arguments, wanted=0, stop=None):
        updates.count, updates.stop = 0, stop
        code, out, err = run(arguments, monkeypatch, capsys)
        assert code == wanted, err
        return updates.count, out + err

    return done


def state():
    """All files of all results, with their content."""
    return {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_training_is_made_again_and_takes_the_old_ones_place(does):
    does(TRAIN)
    assert does(TRAIN)[0] == 0
    (folder,) = Path("outputs/meta-train").iterdir()
    (folder / "note.txt").write_text("of the old one")
    before = state()
    count, out = does(f"{TRAIN} --force", 130, stop=2)
    assert count == 2
    assert {path: state().get(path) for path in before} == before
    count, out = does(f"{TRAIN} --force")  # goes on
    assert count == 1
    assert f"run: {folder}" in out
    assert list(Path("outputs/meta-train").iterdir()) == [folder]
    assert not (folder / "note.txt").exists()
    assert [path.name for path in Path("outputs").iterdir() if path.is_dir()] == ["meta-train"]
    after = state()
    assert after[folder / "weights.safetensors"] == before[folder / "weights.safetensors"]
    count, out = does(TRAIN)
    assert (count, f"already done, reused: {folder}" in out) == (0, True)
    assert does(f"{TRAIN} --force")[0] == 3


@pytest.mark.slow
def test_what_is_being_written_keeps_its_place(does):
    does(TRAIN)
    (folder,) = Path("outputs/meta-train").iterdir()
    with RunFolder(folder).lock():
        _, out = does(f"{TRAIN} --force", 2)
    assert "is being written by" in out
    assert folder.is_dir()
    assert does(f"{TRAIN} --force")[0] == 0  # the new one was complete


@pytest.mark.parametrize(
    "command", [pytest.param("compare sgd FOLDER", marks=pytest.mark.slow), "evaluate --run FOLDER"]
)
def test_scores_are_computed_again_and_kept(command, does, monkeypatch):
    does(TRAIN)
    (folder,) = Path("outputs/meta-train").iterdir()
    computed, compute = [], contest.score_together
    monkeypatch.setattr(contest, "score_together", lambda *args: computed.append(1) or compute(*args))
    few = FEW if "sgd" in command else "evaluation.episodes=2"
    command = f"{command.replace('FOLDER', str(folder))} {few}"
    does(command)
    first = len(computed)
    assert first
    does(command)
    assert len(computed) == first
    with monkeypatch.context() as patch:
        patch.setattr(contest, "score_together", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        before = state()
        does(f"{command} --force", 130)
        assert {path: state().get(path) for path in before} == before
    kept = {path for path in before if path.suffix == ".parquet"}
    _, out = does(f"{command} --force")
    assert len(computed) == 2 * first
    assert f"report: {only(f'outputs/{command.split()[0]}/*')}" in out
    assert {path for path in state() if path.suffix == ".parquet"} == kept
    assert all(state()[path] != before[path] for path in kept if path.parent.name == "scores")  # they name their cost
    does(command)
    assert len(computed) == 2 * first


@pytest.mark.slow
def test_a_sweep_is_made_again_each_job_once(does):
    sweep = f"{TRAIN} -m seed=0,1,1"
    does(sweep)
    assert does(sweep)[0] == 0
    count, out = does(f"{sweep} --force")
    assert count == 2 * 3
    assert "3 jobs, 0 done before, 2 to run, 1 equal to others" in out
    assert does(sweep)[0] == 0


def test_a_run_that_goes_on_is_not_begun_again(does):
    assert "give only one of them" in does("meta-train --resume here --force", 2)[1]
    assert "--force runs the command again on this machine" in does(f"{TRAIN} --force hardware=submitit_local", 2)[1]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["", "hydra/launcher=joblib"])
def test_a_sweep_over_hardware_measures_each(launcher, does):
    sweep = f"{TRAIN} -m hardware.threads=1,2 {launcher}"
    count, out = does(sweep)
    assert count == (0 if launcher else 2 * 3)
    assert "2 jobs, 0 done before, 2 to run" in out
    assert "2 jobs: 2 done" in out
    assert "seconds" in out
    folders = list(Path("outputs/hardware").glob("*/meta-train/*"))
    assert {path.parts[2] for path in folders} == {"threads=1", "threads=2"}
    facts = [json.loads((path / "run.json").read_text()) for path in folders]
    assert sorted(one["threads"] for one in facts) == [1, 2]
    with only("outputs/multirun/*/summary.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {float(line["seconds"]) for line in lines} == {one["seconds"] for one in facts}
    count, out = does(sweep)
    assert count == 0
    assert "2 reused" in out
    assert os.listdir("outputs/hardware/threads=1") == ["meta-train"]


def _is_made(path):
    return path.name != "results.csv" and path.suffix in (".csv", ".safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("output", ["", "--output here"])
def test_a_reproduction_is_made_again(output, does):
    command = f"reproduce hochreiter2001 drift --scale smoke {output}"
    root = Path("here" if output else "outputs")
    does(command)
    report = root / "report.md" if output else only("outputs/hochreiter2001/*/report.md")
    (root / "kept.txt").write_text("mine")

    def when():
        return {path: path.stat().st_mtime_ns for path in root.rglob("*") if _is_made(path)}

    before = when()
    does(command)
    assert when() == before
    _, out = does(f"{command} --force")
    assert f"report: {report}" in out
    assert when().keys() == before.keys()
    assert all(when()[path] > before[path] for path in before)
    assert (root / "kept.txt").exists()
    assert not list(Path().rglob(".again-*"))
    after = when()
    does(command)
    assert when() == after
