"""The four commands end to end, small, through the real command line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from l2l_cli.core.stop import Stopped
from l2l_cli.papers.origin import CLAIM, Origin
from l2l_cli.results.metrics import Metric
from l2l_cli.results.verdicts import COLUMNS
from tests.test_cli import run

SMALL = "meta.updates=40 meta.validate_every=10 meta.validation_episodes=8"
LSTM = f"task=b14 task.length=12 learner=lstm learner.hidden=4 gradient.episodes=4 {SMALL}"
RULE = f"task=quadratic learner.rule.hidden=4 gradient.episodes=4 {SMALL}"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def only(pattern: str) -> Path:
    (found,) = Path().glob(pattern)
    return found


@pytest.mark.parametrize(
    "what", [pytest.param(LSTM, marks=pytest.mark.slow), RULE], ids=["lstm", "coordinatewise_lstm"]
)
def test_train_evaluate_and_compare(what, monkeypatch, capsys):
    assert run(f"meta-train {what}", monkeypatch, capsys)[0] == 0
    folder = only("outputs/meta-train/*")
    facts = json.loads((folder / "run.json").read_text())
    assert (facts["status"], facts["updates"], facts["skipped"], facts["kernels"]) == ("done", 40, 0, "reference")
    code, out, _ = run(f"meta-train {what}", monkeypatch, capsys)
    assert code == 0
    assert "already done, reused" in out

    arguments = f"evaluate --run {folder} evaluation.episodes=6 evaluation.stretch=[1,3]"
    code, _, _ = run(arguments, monkeypatch, capsys)
    assert code == 0
    report = only("outputs/evaluate/*/report.md").read_text()
    assert "| steps |" in report.replace("  ", "")
    frame = pd.read_csv(only("outputs/evaluate/*/metrics.csv"))
    assert set(frame.problem) == {"×1", "×3"}
    assert only("outputs/evaluate/*/figures/horizons.png").stat().st_size > 5000

    others = "bayes logistic_regression adam" if what == LSTM else "sgd adam"
    arguments = f"compare {folder} {others} evaluation.episodes=6 tune.episodes=4 tune.budget=3"
    code, out, _ = run(arguments, monkeypatch, capsys)
    assert code == 0
    text = only("outputs/compare/*/report.md").read_text()
    assert "3 settings each" in text
    assert "best of 3: rule.lr=" in text
    facts = json.loads(only("outputs/compare/*/run.json").read_text())
    assert len(facts["tuning"]["adam"]) == 3
    rivals = {"adam"} if what == LSTM else {"sgd", "adam"}  # a limit and a solver are none
    assert {one["rival"] for one in facts["certificates"]} == rivals
    for one in facts["certificates"]:
        assert [mark["stands"] for mark in one["marks"]] == ["not judged"] * 3  # of six episodes
        assert "not judged beside your tuned" in one["sentence"]
        assert (one["trials"], one["training"] > 0, one["ratio"]) == (3, True, one["step"] / one["rival_step"])
    assert facts["certificate"] in text
    assert f"certificate: {facts['certificate']}" in out
    with only("outputs/compare/*/metrics.csv").open() as file:
        header = next(csv.reader(file))
    assert header == list(Metric._fields)


@pytest.mark.slow
def test_what_runs_compiled_is_said(monkeypatch, capsys):
    assert run(f"meta-train {RULE} hardware.kernels=fast", monkeypatch, capsys)[0] == 0
    assert json.loads((only("outputs/meta-train/*") / "run.json").read_text())["kernels"] == "numba"
    second = f"meta-train {RULE} learner.second_order=true"
    code, out, _ = run(f"{second} meta.updates=100 meta.validate_every=100", monkeypatch, capsys)
    assert code == 0
    assert "kernels: reference: second_order or gradient.rho differentiates the gradients too" in out
    code, _, err = run(f"{second} hardware.kernels=fast", monkeypatch, capsys)
    assert code == 2
    assert "no compiled kernel for learner coordinatewise_lstm: second_order or gradient.rho differentiates" in err


def test_evaluate_says_when_weights_do_not_fit(monkeypatch, capsys):
    run(f"meta-train {LSTM}", monkeypatch, capsys)
    folder = only("outputs/meta-train/*")
    code, _, err = run(f"evaluate --run {folder} task=quadratic", monkeypatch, capsys)
    assert code == 2
    assert "learner lstm reads one example a step; Quadratic gives 10 at once" in err
    code, out, _ = run(f"evaluate --run {folder} task=b16 evaluation.episodes=4", monkeypatch, capsys)
    assert code == 0
    assert "b16-lstm" in out


def test_a_run_of_a_version_to_come_is_refused(monkeypatch, capsys):
    run(f"meta-train {LSTM}", monkeypatch, capsys)
    path = only("outputs/meta-train/*/run.json")
    facts = json.loads(path.read_text())
    facts["versions"]["l2l"], facts["results"] = "9.0.0", 1000
    path.write_text(json.dumps(facts))
    code, _, err = run(f"evaluate --run {path.parent}", monkeypatch, capsys)
    assert code == 2
    assert "was made by l2l 9.0.0, this is 0.2.0" in err


@pytest.mark.parametrize("launcher", ["", pytest.param("hydra/launcher=joblib", marks=pytest.mark.slow)])
def test_a_sweep_ends_in_one_table(launcher, monkeypatch, capsys):
    arguments = f"meta-train -m {LSTM} learner.hidden=2,3 seed=0,1 {launcher}".replace("learner.hidden=4 ", "")
    code, out, _ = run(arguments, monkeypatch, capsys)
    assert code == 0
    assert "4 jobs: 4 done" in out
    summary = pd.read_csv(only("outputs/multirun/*/summary.csv"))
    assert len(summary) == 4
    assert (summary.objective == summary.best_validation).all()
    assert len(list(Path("outputs/meta-train").iterdir())) == 4


def test_a_job_that_fails_does_not_end_a_sweep(monkeypatch, capsys):
    arguments = f"meta-train -m {LSTM} meta.schedule=cosine,linear"
    code, out, err = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert "meta.schedule must be cosine, constant or steps" in err
    assert "2 jobs: 1 done, 1 failed" in out
    assert len(list(Path("outputs/meta-train").iterdir())) == 1


def long_run(output: str) -> list[str]:
    code = "import sys; sys.argv[0] = 'l2l'; from l2l_cli.cli import main; main()"
    what = LSTM.replace("meta.updates=40", "meta.updates=1200").split()
    return [
        sys.executable,
        "-c",
        code,
        "meta-train",
        *what,
        "meta.checkpoint_every=0.2",
        "meta.patience=null",
        f"output={output}",
    ]


def test_seeds_side_by_side_are_the_seeds_alone(monkeypatch, capsys):
    """And one that was interrupted goes on beside one that was not begun."""
    from l2l_cli.config.compose import compose
    from l2l_cli.runs.training import train, train_together

    what = "task=b14 task.length=12 task.functions=5 learner=lstm1997 gradient=truncated1997 optimizer=sgd"
    plan = "meta.updates=6 meta.validate_every=2 meta.validation_episodes=4 optimizer.lr=0.1"

    def settings(seed, root):
        return compose("meta-train", [*what.split(), *plan.split(), f"seed={seed}", f"output={root}"])

    alone = [train(settings(seed, "alone"), relay=lambda *_: None) for seed in range(3)]
    from l2l_cli.meta.online_training import OnlineTraining

    update, calls = OnlineTraining.update, []

    def interrupted(self):
        calls.append(self)
        if len(calls) == 4:
            raise Stopped
        return update(self)

    monkeypatch.setattr(OnlineTraining, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings(1, "together"), relay=lambda *_: None)
    together = train_together([settings(seed, "together") for seed in range(3)], relay=lambda *_: None)
    for one, other in zip(alone, together, strict=True):
        assert one.status == other.status == "done"
        assert (one.path / "metrics.csv").read_bytes() == (other.path / "metrics.csv").read_bytes()
        first, second = (load_file(folder.path / "weights.safetensors") for folder in (one, other))
        assert all((first[name] == second[name]).all() for name in first)
        assert one.facts()["kernels"] == "numba"


@pytest.mark.parametrize(
    "sent", [signal.SIGKILL, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)], ids=["killed", "hung up"]
)
def test_a_killed_run_goes_on_as_if_never_killed(sent, monkeypatch, capsys):
    code, out, _ = run(" ".join(long_run("whole")[3:]), monkeypatch, capsys)
    assert code == 0
    assert "1200 updates" in out
    process = subprocess.Popen(long_run("parts"), stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not list(Path().glob("parts/meta-train/*/checkpoint.safetensors")) and time.monotonic() - began < 60:
        time.sleep(0.02)
    os.kill(process.pid, sent)
    _, err = process.communicate()
    status = json.loads(only("parts/meta-train/*/run.json").read_text())["status"]
    if sent == signal.SIGHUP:
        assert (process.returncode, status) == (130, "interrupted")
        assert "interrupted" in err
    else:
        assert status == "running"
    subprocess.run(long_run("parts"), capture_output=True, text=True, check=True)
    rows = [only(f"{root}/meta-train/*/metrics.csv").read_bytes() for root in ("whole", "parts")]
    assert rows[0] == rows[1]
    one, other = (load_file(only(f"{root}/meta-train/*/weights.safetensors")) for root in ("whole", "parts"))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.slow  # the quick suite reproduces a paper in test_check_holds_the_numbers_to_the_preset
def test_reproduce_at_smoke_scale(monkeypatch, capsys):
    presets = "table2 figure2 drift"
    code, _, _ = run(f"reproduce hochreiter2001 {presets} --scale smoke --output here", monkeypatch, capsys)
    assert code == 0
    frame = pd.read_csv("here/results.csv")
    assert list(frame.columns) == [*COLUMNS, *Origin._fields]
    frame = frame[frame.metric != CLAIM]
    table2 = frame[frame.artefact == "table2"]
    families = ["B14, 64", "B16, 256", "semi-linear, 64", "semi-linear, 1000", "quadratic, 1000"]
    rows = [f"{family} examples{how}" for family in families for how in (", to the letter", "")]
    assert [row for row in dict.fromkeys(table2.row) if row in rows] == rows
    assert set(table2.metric) == {"train_mse", "test_mse", "subordinate_steps", "subordinate_mse"}
    assert set(frame.artefact) == set(presets.split())
    left_out = frame[frame.verdict == "not run"]
    assert set(left_out.row) == {"semi-linear, 64 examples, to the letter"}
    assert (frame.ours.isna() == (frame.verdict == "not run")).all()
    report = Path("here/report.md").read_text()
    assert "0.0758 / 64 = 0.00118" in report
    assert "This is a smoke run" in report
    for name in ("figure2", "figure2_families", "table2", "table2_curves", "drift"):
        assert Path(f"here/figures/{name}.png").stat().st_size > 5000
        assert Path(f"here/figures/{name}.pdf").exists()
        assert f"figures/{name}.svg" in report
    page = Path("here/report.html").read_text()
    assert "data:image/svg+xml" in page
    assert len(page) < 1_500_000
    # All runs are reused: the second call trains nothing.
    written = {path: path.stat().st_mtime_ns for path in Path("here").rglob("weights.safetensors")}
    assert run(f"reproduce hochreiter2001 {presets} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in Path("here").rglob("weights.safetensors")} == written


@pytest.mark.slow
def test_a_finished_rule_is_evaluated_at_another_learning_rate(monkeypatch, capsys):
    small = (
        "task=digits task.hidden=[3] task.pool=4 task.examples=8 learner=mlhf meta.updates=2 meta.validate_every=2 "
        "meta.validation_steps=4 gradient.window=3"
    )
    assert run(f"meta-train {small}", monkeypatch, capsys)[0] == 0
    folder = only("outputs/meta-train/*")
    losses = {}
    for rate in ("1.0", "0.01"):
        arguments = f"evaluate --run {folder} evaluation.episodes=2 evaluation.steps=8 evaluation.stretch=[1]"
        assert run(f"{arguments} evaluation.learner.rule.lr={rate}", monkeypatch, capsys)[0] == 0
        frame = pd.read_csv(
            sorted(Path("outputs/evaluate").glob("*/metrics.csv"), key=lambda path: path.stat().st_mtime)[-1]
        )
        losses[rate] = frame[(frame.metric == "loss") & (frame.step == 8)].value.mean()
    assert losses["1.0"] != losses["0.01"]
    code, _, error = run(f"evaluate --run {folder} evaluation.learner.rule.rate=1.0", monkeypatch, capsys)
    assert code == 2
    assert "rule.rate" in error
    code, _, error = run(f"evaluate --run {folder} evaluation.learner.rule.hidden=5", monkeypatch, capsys)
    assert code == 2
    assert "do not fit" in error
