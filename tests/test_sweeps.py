"""Sweeps through the real command line, whatever launches their jobs and however these end."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from l2l_cli.commands import meta_train
from tests.test_cli import run

SMALL = (
    "task=b14 task.length=12 learner=lstm learner.hidden=2 gradient.episodes=2 meta.updates=2 meta.validate_every=2 "
    "meta.validation_episodes=2"
)
INVALID = "meta.schedule=linear"
"""A setting that composes, and that the job refuses before it loads torch."""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def summary(pattern: str = "outputs/multirun/*") -> list[dict[str, str]]:
    """The lines of the newest summary."""
    newest = max(Path().glob(f"{pattern}/summary.csv"), key=lambda path: path.stat().st_mtime_ns)
    with newest.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def first_line(out: str) -> str:
    return out.splitlines()[0]


# --- What is computed -------------------------------------------------------------------------------------------------


def test_a_sweep_that_has_grown_computes_what_is_new(monkeypatch, capsys):
    _, out, _ = run(f"meta-train -m {SMALL} seed=0,1", monkeypatch, capsys)
    assert first_line(out) == "sweep: 2 jobs, 0 done before, 2 to run"
    began = {path: path.stat().st_mtime_ns for path in Path().glob("outputs/meta-train/*/weights.safetensors")}
    code, out, _ = run(f"meta-train -m {SMALL} seed=0,1,2,2", monkeypatch, capsys)
    assert code == 0
    assert first_line(out) == "sweep: 4 jobs, 2 done before, 1 to run, 1 equal to others"
    assert [line["reused"] for line in summary()] == ["True", "True", "False", "True"]
    assert summary()[2]["objective"] == summary()[3]["objective"]
    assert {path: path.stat().st_mtime_ns for path in began} == began
    assert len(list(Path("outputs/meta-train").iterdir())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate --run FOLDER", "compare FOLDER logistic_regression"])
def test_a_score_that_was_computed_is_not_computed_again(command, monkeypatch, capsys):
    run(f"meta-train {SMALL}", monkeypatch, capsys)
    (folder,) = Path("outputs/meta-train").iterdir()
    command = f"{command.replace('FOLDER', str(folder))} -m evaluation.episodes=2"
    _, out, _ = run(f"{command} evaluation.steps=2", monkeypatch, capsys)
    assert first_line(out) == "sweep: 1 job, 0 done before, 1 to run"
    (before,) = summary()
    code, out, _ = run(f"{command} evaluation.steps=2,3", monkeypatch, capsys)
    assert code == 0
    assert first_line(out) == "sweep: 2 jobs, 1 done before, 1 to run"
    again, new = summary()
    assert (again["objective"], again["reused"]) == (before["objective"], "True")
    assert float(new["objective"]) >= 0


# --- Where it lies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["output='out a=b, ü'"], "out a=b, ü/multirun/*"),
        (["output=${oc.env:L2L_TEST_OUTPUT}"], "from the environment/multirun/*"),
        (["hydra.sweep.dir=my sweep"], "my sweep"),
        (["--config-dir", "mine", "+experiment=mine/here"], "said by a file/multirun/*"),
    ],
)
def test_a_sweep_lies_where_hydra_says(words, folder, monkeypatch, capsys):
    monkeypatch.setenv("L2L_TEST_OUTPUT", "from the environment")
    Path("mine/experiment/mine").mkdir(parents=True)
    Path("mine/experiment/mine/here.yaml").write_text("# @package _global_\noutput: said by a file\n")
    words = [word.replace("+experiment", "experiment") for word in words]
    before = set(Path().iterdir())
    monkeypatch.setattr(sys, "argv", ["l2l", "meta-train", "-m", *words, INVALID, "seed=0,1"])
    from l2l_cli.cli import main

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert len(summary(folder)) == 2
    assert {path.name for path in set(Path().iterdir()) - before} == {folder.split("/")[0]}


# --- Sweepers and launchers -------------------------------------------------------------------------------------------


class StandIn(Sweeper):
    """Asks for numbers as Optuna's sweeper does: what does not convert is a failed trial, and NaN is not allowed."""

    told: list[float | None] = []  # noqa: RUF012 - the plugin is made anew for each sweep

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        for number, schedule in enumerate(("cosine", "linear", "cosine")):
            (done,) = self.launcher.launch([[*arguments, f"meta.schedule={schedule}"]], initial_job_idx=number)
            try:
                loss = float(done.return_value)
            except (TypeError, ValueError):
                self.told.append(None)
            else:
                assert loss == loss
                self.told.append(loss)


class GivesUp(BasicLauncher):
    """Ends the first job and raises, as launchers do whose process is killed."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int):
        super().launch(job_overrides[:1], initial_job_idx)
        raise RuntimeError("no more\nof this")


@pytest.fixture(scope="module")
def _plugins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "hydra_plugins.stand_in", sys.modules[__name__])
        for kind, plugin in (("sweeper", StandIn), ("launcher", GivesUp)):
            patch.setattr(plugin, "__module__", "hydra_plugins.stand_in")  # Hydra takes plugins from this package alone
            Plugins.instance().register(plugin)
            node = {"_target_": f"hydra_plugins.stand_in.{plugin.__name__}"}
            ConfigStore.instance().store(group=f"hydra/{kind}", name="stand_in", node=node)
        yield


@pytest.mark.usefixtures("_plugins")
def test_a_sweeper_is_told_losses_and_goes_on_after_a_job_that_failed(monkeypatch, capsys):
    code, out, err = run(f"meta-train -m hydra/sweeper=stand_in {SMALL}", monkeypatch, capsys)
    assert code == 2
    assert first_line(out).startswith("sweep by stand_in: ")
    assert "error: job 1 (meta.schedule=linear): meta.schedule must be" in err
    first, failed, third = StandIn.told
    assert failed is None
    assert first == third == float(summary()[0]["objective"])
    assert [(line["status"], line["reused"]) for line in summary()] == [
        ("done", "False"),
        ("failed", "False"),
        ("done", "True"),
    ]


@pytest.mark.filterwarnings("ignore")  # Optuna's own, of what it imports
def test_optuna_goes_on_after_a_trial_that_failed(monkeypatch, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    trials = "hydra/sweeper=optuna hydra.sweeper.n_trials=4 hydra.sweeper.n_jobs=1 hydra.sweeper.sampler.seed=1"
    code, _, err = run(f"meta-train -m {trials} {SMALL} meta.schedule=cosine,linear", monkeypatch, capsys)
    assert code == 2
    assert "the sweep ended early" not in err
    assert {line["status"] for line in summary()} == {"done", "failed"}
    assert len(summary()) == 4


@pytest.mark.usefixtures("_plugins")
def test_a_launcher_that_gives_up_leaves_a_table(monkeypatch, capsys):
    monkeypatch.setattr("l2l_cli.sweep.LEAVE", 0.0)
    code, out, err = run(f"meta-train -m hydra/launcher=stand_in {SMALL} seed=0,1", monkeypatch, capsys)
    assert code == 1
    assert "1 done, 1 not begun" in out
    assert err.splitlines()[-1] == "error: the sweep ended early: RuntimeError: no more of this"
    assert [line["status"] for line in summary()] == ["done", "not begun"]


def test_an_interrupted_sweep_leaves_a_table(monkeypatch, capsys):
    def interrupted(settings, **flags):
        del settings, flags
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(meta_train, "run", interrupted)
    code, out, err = run(f"meta-train -m {SMALL} seed=0,1", monkeypatch, capsys)
    assert code == 130
    assert "1 interrupted, 1 not begun" in out
    said, following = err.splitlines()
    assert said == "interrupted; the same command continues from the last checkpoint"
    assert following == f"next: l2l meta-train -m {SMALL} seed=0,1"
    assert not list(Path().glob("outputs/multirun/*/.at-work*"))


# --- Processes --------------------------------------------------------------------------------------------------------

STARTER = """
import sys, time
from pathlib import Path
from l2l_cli.sweep import Sweep
sweep = Sweep(Path(sys.argv[1]), [])
print(sweep.place.process, flush=True)
time.sleep(60)
"""
WORKER = """
import sys, time
from pathlib import Path
from l2l_cli.results.sweeps import SweepJob
from l2l_cli.sweep import MeetingPlace
with MeetingPlace(Path(sys.argv[1]), process=int(sys.argv[2])).serving(SweepJob(0, [])):
    print("at work", flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_job_ends_with_the_process_of_its_sweep(tmp_path):
    with start(STARTER, str(tmp_path)) as starter:
        number = starter.stdout.readline().strip()
        with start(WORKER, str(tmp_path), number) as worker:
            assert worker.stdout.readline() == "at work\n"
            starter.kill()
            assert worker.wait(30) != 0
    with start(WORKER, str(tmp_path), number) as late:
        assert late.stdout.read() == ""
        assert late.wait(30) == 1
