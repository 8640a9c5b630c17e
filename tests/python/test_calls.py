"""The commands from Python: the same runs, tables and errors; objects; and a guest that leaves no trace."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from html import unescape
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from torch import nn

import l2l_cli as l2l
from l2l_cli.core.stop import Stopped
from l2l_cli.runs import training
from tests.tasks import own
from tests.test_cli import run as typed

TINY = (
    *("gradient.episodes=2", "gradient.window=3", "meta.updates=2", "meta.validate_every=2"),
    *("meta.validation_episodes=4", "task.horizon=6", "learner.rule.hidden=3"),
)
SCORED = ("evaluation.episodes=8", "tune.episodes=2", "tune.budget=2")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("ignore", l2l.L2LWarning)  # pytest restores the filters: a short grid's edge is no fault here


def trained(**options):
    return l2l.meta_train("task=quadratic", *TINY, **options)


def own_network(**options):
    return l2l.meta_train(*TINY, "task.examples=5", **{"model": own.Net, "data": own.pair()} | options)


# --- The same as the command line -------------------------------------------------------------------------------------


def test_a_run_is_the_one_of_the_command_line(monkeypatch, capsys):
    run = trained()
    assert run.path == next(Path("outputs/meta-train").iterdir()).resolve()
    code, out, _ = typed(f"meta-train task=quadratic {' '.join(TINY)}", monkeypatch, capsys)
    assert code == 0
    assert "already done, reused" in out
    assert run.facts["command"] == f"l2l meta-train task=quadratic {' '.join(TINY)}"


def test_a_run_has_its_learner_and_metrics():
    run = trained()
    assert sum(one.numel() for one in run.learner.parameters()) == run.facts["meta_parameters"]
    assert run.facts["best_validation"] in run.metrics.value.tolist()
    assert "best validation loss" in repr(run)
    again = l2l.Run(run.path)
    theirs = again.learner.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in run.learner.state_dict().items())


def test_tables_are_those_of_the_reports():
    run = trained()
    compared = run.compare("sgd", torch.optim.AdamW, *SCORED)
    assert compared.table.contender.tolist() == ["coordinatewise_lstm (meta-trained)", "sgd", "torch.optim.AdamW"]
    losses = compared.metrics[(compared.metrics.metric == "loss") & (compared.metrics.statistic == "mean")]
    by_contender = losses.groupby("contender").value.mean()
    for row in compared.table.itertuples(index=False):
        assert row[-1] == pytest.approx(by_contender[row[0]], rel=1e-5)
    assert compared.headline == compared.facts["headline"]
    assert compared.certificate in {one["sentence"] for one in compared.facts["certificates"]}
    assert compared.certificate in unescape(compared._repr_html_())
    assert l2l.evaluate(str(run.path), SCORED[0]).table.steps.tolist() == [6, 12]
    grid = run.evaluate(SCORED[0], "evaluation.grid.dimension=[4,10]")
    assert len(grid.table) == 4


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(tmp_path, capsys):
    plan = l2l.dry_run(*TINY, "task.examples=5", model=own.Net, data=own.pair())
    assert plan.seconds > 0.0
    assert plan.minutes == plan.seconds / 60
    assert plan.bytes > 1e7
    lines = dict(plan.lines)
    assert lines["updates"].startswith("2, 1 validation on 4 episodes")
    assert lines["folder"].endswith("(new)")
    assert all(text in repr(plan) for text in lines.values())
    assert plan._repr_html_().count("<tr>") == len(plan.lines) + 1
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")
    run = own_network()
    assert str(run.path.relative_to(tmp_path)) in lines["folder"]


def test_a_rule_that_comes_with_l2l_is_opened_as_a_run():
    run = l2l.Run("pretrained:quadratic")
    assert sum(one.numel() for one in run.learner.parameters()) == run.facts["meta_parameters"]
    assert run.evaluate("evaluation.episodes=2").table.steps.tolist() == [100, 200]
    assert isinstance(l2l.load_optimizer(run, nn.Linear(2, 1).parameters()), torch.optim.Optimizer)


def test_a_run_that_is_named_twice_is_one_contender():
    run = trained()
    found = l2l.compare(run, str(run.path), os.path.relpath(run.path), "sgd", "adam", *SCORED)
    assert found.table.contender.tolist() == ["coordinatewise_lstm (meta-trained)", "sgd", "adam"]
    assert {one["rule"] for one in found.facts["certificates"]} == {"coordinatewise_lstm"}
    assert {one["rival"] for one in found.facts["certificates"]} == {"sgd", "adam"}


def test_files_of_one_name_are_contenders_each():
    """Two seeds of one recipe, exported to files that are called alike."""
    files = []
    for seed in (1, 2):
        Path(f"seed{seed}").mkdir()
        run = l2l.meta_train("task=quadratic", *TINY, f"seed={seed}")
        files.append(run.export(f"seed{seed}/rule.safetensors"))
    found = l2l.compare(*files, "sgd", *SCORED)
    assert found.table.contender.tolist() == [*(f"coordinatewise_lstm {file}" for file in files), "sgd"]
    assert [one["rule"] for one in found.facts["certificates"]] == ["coordinatewise_lstm, 2 runs"]


def test_modules_of_a_folder_are_found_wherever_a_run_goes(tmp_path):
    """In a program of its own: nothing that was imported before helps."""
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "own_net.py").write_text(Path(own.__file__).read_text())
    words = [*TINY, "task=module", "task.model=own_net:Net", "task.data=own_net:pair", "task.examples=5"]
    run = l2l.meta_train(*words, config_dir="my")
    code = (
        "import l2l_cli as l2l\n"
        f"run = l2l.Run({str(run.path)!r}, trust=['own_net'], config_dir='my')\n"
        "print(type(run.learner).__name__, run.export('rule.safetensors').name)\n"
        f"print(l2l.evaluate(run, {SCORED[0]!r}).table.steps.tolist())\n"
        f"print(len(l2l.compare(run, 'sgd', *{SCORED!r}).table))\n"
    )
    paths = {"PYTHONPATH": str(Path(l2l.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | paths,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Descent rule.safetensors", "[6, 12]", "2"]


def test_an_exported_file_is_opened_as_a_run():
    run = trained()
    file = run.export("rule.safetensors", licence="CC0-1.0")
    opened = l2l.Run(file)
    assert opened.facts["updates"] == 2
    assert opened.compare("sgd", *SCORED).table.contender.tolist()[1] == "sgd"
    with pytest.raises(l2l.UsageError, match="the metrics are in the folder of its run"):
        _ = opened.metrics


def test_done_is_done_and_force_runs_again():
    run = trained()
    before = (run.path / "run.json").stat().st_mtime_ns
    assert trained().path == run.path
    assert (run.path / "run.json").stat().st_mtime_ns == before
    assert trained(force=True).path == run.path
    assert (run.path / "run.json").stat().st_mtime_ns > before


@pytest.mark.slow
def test_a_paper_is_reproduced_from_a_script_without_a_guard(tmp_path):
    """Workers are spawned, and must not carry out the script that started them again."""
    Path("script.py").write_text(
        "import l2l_cli as l2l\n"
        "print('once')\n"
        "found = l2l.reproduce('bosc2016', 'table', 'hardware.processes=2', scale='smoke')\n"
        "print(len(found.table), list(found.table)[:4], len(found._repr_html_()) > 5000)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "once"
    assert "['artefact', 'row', 'metric', 'paper'] True" in second


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: l2l.meta_train("task=quadratc"), "there is no task 'quadratc'; did you mean 'quadratic'?"),
        (lambda: l2l.meta_train("meta.updats=3"), "did you mean 'meta.updates'?"),
        (lambda: l2l.meta_train("task=quadratic", "tune.budget=3"), "meta-train does not use tune.budget=3"),
        (lambda: l2l.meta_train("learner=adam"), "learner adam is hand-made, with nothing to meta-train"),
        (lambda: l2l.meta_train(3), "3 is a int; arguments are text"),
        (lambda: l2l.evaluate("pretrained:quadratic", 3), "3 is a int; arguments are text"),
        (lambda: l2l.evaluate(3), "3 is a int; name a run's folder"),
        (lambda: l2l.Run("pretrained:quadratc"), "did you mean 'quadratic'?"),
        (lambda: l2l.dry_run("task=quadratc"), "there is no task 'quadratc'; did you mean 'quadratic'?"),
        (lambda: l2l.reproduce(3), "3 is a int; arguments are text"),
        (lambda: l2l.reproduce("bosc2016", scale=None), "None is a NoneType; arguments are text"),
        (lambda: l2l.reproduce("bosc2016", seeds="3"), "seeds='3' is a str; it is a whole number"),
        (lambda: l2l.meta_train(model=own.Net), "only model given; a task needs model= and data="),
        (lambda: own_network(data=3), "data is a int; data are a pair of tensors"),
        (lambda: own_network(model=own.Net()), "is a Net; name a class of nn.Module, or a function"),
        (lambda: l2l.meta_train("task=b16", model=own.Net, data=own.pair()), "model= and data= are the task"),
        (lambda: l2l.meta_train("hardware=slurm", "task=quadratic"), "use `l2l meta-train`"),
        (lambda: own_network(loss=lambda outputs, targets: outputs), "must return one number for outputs and targets"),
        (lambda: l2l.evaluate("nowhere"), "there is no run folder"),
        (lambda: l2l.compare("adaam"), "did you mean 'adam'?"),
        (lambda: l2l.compare(torch.optim.Adam([nn.Parameter(torch.ones(1))])), "is a Adam; contenders are runs"),
        (lambda: l2l.reproduce("bosc2017"), "did you mean 'bosc2016'?"),
        (lambda: l2l.reproduce("bosc2016", scale="smok"), "did you mean 'smoke'?"),
    ],
)
def test_a_mistake_is_the_error_of_the_command_line_and_writes_nothing(call, message, tmp_path):
    with pytest.raises(l2l.UsageError) as caught:
        call()
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_the_users_code_raises_is_told_with_its_place_and_is_the_cause():
    def broken(outputs, targets):
        raise ZeroDivisionError("no loss today")

    with pytest.raises(
        l2l.RunFailed, match=r"your code raised ZeroDivisionError at .*test_calls\.py:\d+ in broken"
    ) as caught:
        own_network(loss=broken)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_data_that_fail_are_told_as_the_users_code_too():
    def broken():
        print("reading")
        raise ZeroDivisionError("no data today")

    for call in (l2l.meta_train, l2l.dry_run):
        with pytest.raises(l2l.RunFailed, match=r"your code raised ZeroDivisionError at .*test_calls\.py:\d+"):
            call(model=own.Net, data=broken)


def test_a_launchers_ranks_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(l2l.UsageError, match="a launcher has started this program 2 times"):
        trained()


def test_a_device_around_a_call_is_refused():
    with torch.device("meta"), pytest.raises(l2l.UsageError, match=r"call it outside of `with torch.device"):
        trained()


# --- Objects ----------------------------------------------------------------------------------------------------------


def test_what_a_module_has_is_the_command_lines_run(monkeypatch, capsys):
    run = own_network(data=own.pair)
    words = "task=module task.model=tests.tasks.own:Net task.data=tests.tasks.own:pair task.examples=5"
    code, out, _ = typed(f"meta-train {words} {' '.join(TINY)}", monkeypatch, capsys)
    assert code == 0
    assert f"already done, reused: outputs/meta-train/{run.path.name}" in out
    assert run.learner.is_meta_trained


def test_an_iterator_is_read_once_and_found_again_by_its_content():
    run = own_network(data=own.batches())
    assert run.evaluate(SCORED[0]).table.steps.tolist() == [6, 12]
    assert run.compare("sgd", *SCORED).table.contender.tolist()[1] == "sgd"
    assert own_network(data=list(own.batches())).path == run.path
    inputs, targets = own.pair()
    assert own_network(data=(inputs + 1, targets)).path != run.path


def network(width, slope=1.0):
    """Make a function that makes a network."""

    class Local(nn.Module):
        def __init__(self):
            super().__init__()
            self.all = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))

        def forward(self, inputs):
            return slope * self.all(inputs)

    return Local


def test_a_class_without_a_module_is_told_by_what_it_does():
    run = own_network(model=network(5))
    assert own_network(model=network(5)).path == run.path
    assert own_network(model=network(6)).path != run.path
    assert own_network(model=network(5, slope=2.0)).path != run.path


def test_a_later_program_gives_the_objects_again(monkeypatch, capsys):
    run = own_network(model=network(5))
    code, _, err = typed(f"evaluate {run.path}", monkeypatch, capsys)
    assert code == 2
    assert "an object that a Python program gave" in err
    with pytest.raises(l2l.UsageError, match=r"give it again, as in l2l_cli\.Run"):
        l2l.evaluate(run.path, SCORED[0])
    again = l2l.Run(run.path, model=network(5), data=own.pair())
    assert type(again.learner) is type(run.learner)
    with pytest.warns(l2l.L2LWarning, match="model is not what"):
        l2l.Run(run.path, model=network(6), data=own.pair())


def test_what_a_run_was_trained_without_is_refused():
    with pytest.raises(l2l.UsageError, match="trained without loss=; open it without"):
        l2l.Run(own_network().path, model=own.Net, data=own.pair(), loss=nn.functional.cross_entropy)
    with pytest.raises(l2l.UsageError, match="trained without model= and data="):
        l2l.Run("pretrained:quadratic", model=own.Net, data=own.pair())


def test_an_own_loss_counts():
    run = own_network(loss=lambda outputs, targets: nn.functional.cross_entropy(outputs, targets))
    other = own_network(loss=lambda outputs, targets: 2 * nn.functional.cross_entropy(outputs, targets))
    assert run.path != other.path
    assert other.facts["best_validation"] > run.facts["best_validation"]


# --- A guest ----------------------------------------------------------------------------------------------------------


def state():
    """All that a call might leave behind in its process."""
    hydra = {name for name in ConfigStore.instance().repo if name != "hydra"}
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
        "gradients": torch.is_grad_enabled(),
        "flushes": (torch.full((1,), 1e-39, dtype=torch.float32) * 1.0).item() == 0.0,
        "draws": (torch.rand(1).item(), np.random.rand(), random.random()),  # noqa: NPY002
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "folder": os.getcwd(),
        "argv": list(sys.argv),
        "path": list(sys.path),
        "environment": dict(os.environ),
        "outputs": (sys.stdout, sys.stderr),
        "style": dict(matplotlib.rcParams),
        "filters": list(warnings.filters),
        "hydra": (GlobalHydra.instance().is_initialized(), sorted(hydra)),
        "main": sys.modules["__main__"],
        "running": {one.name for one in threading.enumerate()},
    }


def seeded_state():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    return state()


@pytest.fixture
def unusual():
    """A process with settings of its own."""
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.set_flush_denormal(True)
    matplotlib.rcParams["lines.linewidth"] = 7.0
    yield
    matplotlib.rcdefaults()
    torch.set_flush_denormal(False)
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)


def test_nothing_is_left_behind_or_printed(unusual, capfd):
    before = seeded_state()
    with torch.no_grad():
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)
        run = trained()
    assert run.learner.parameters()
    run.compare("sgd", *SCORED, "task.dimension=4")  # offers Hydra the run's task
    with pytest.raises(l2l.UsageError):
        trained(config_dir="nowhere")
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_a_process_with_other_settings_comes_to_the_same(unusual):
    one = trained()
    losses = one.metrics.value.tolist()
    torch.set_default_dtype(torch.float32)
    assert trained(force=True).metrics.value.tolist() == losses
    assert {value.dtype for value in one.learner.state_dict().values()} == {torch.float32}


def test_what_is_not_quiet_says_what_the_command_line_says(capsys):
    trained(quiet=False)
    out = capsys.readouterr().out
    assert "best validation loss" in out
    assert "next: l2l evaluate" in out


@pytest.mark.slow
def test_warnings_are_pythons_and_name_the_callers_line():
    run = trained()
    warnings.simplefilter("default", l2l.L2LWarning)
    with pytest.warns(l2l.L2LWarning, match="edge of the values tried") as caught:
        run.compare("sgd", *SCORED)
    assert {Path(one.filename).name for one in caught} == {"test_calls.py"}


def test_a_logger_that_was_set_up_within_a_call_goes_on_to_write(capsys):
    class Noisy(own.Net):
        def __init__(self):
            super().__init__()
            loggers.append(logging.StreamHandler(sys.stderr))

    loggers = []
    l2l.dry_run(*TINY, "task.examples=5", model=Noisy, data=own.pair())
    assert capsys.readouterr().err == ""
    loggers[0].emit(logging.makeLogRecord({"msg": "afterwards"}))
    assert capsys.readouterr().err == "afterwards\n"


def test_two_threads_take_turns_and_the_main_threads_output_is_its_own(capsys):
    found, failures = {}, []

    def call(seed):
        try:
            found[seed] = l2l.meta_train("task=quadratic", *TINY, f"seed={seed}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in (1, 2)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        print("main")
        threads[0].join(0.05)
        threads[1].join(0.05)
    assert failures == []
    assert sorted(run.config["seed"] for run in found.values()) == [1, 2]
    out, err = capsys.readouterr()
    assert set(out.split()) == {"main"}
    assert err == ""


def test_an_interrupted_training_is_saved_and_the_same_call_goes_on(monkeypatch):
    check = training.STOP.check
    monkeypatch.setattr(training.STOP, "check", lambda: (_ for _ in ()).throw(Stopped()))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trained()
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(training.STOP, "check", check)
    assert trained().facts["updates"] == 2


# --- Notebooks, types and lightness -----------------------------------------------------------------------------------


def test_a_notebook_shows_tables_and_figures_whatever_names_hold():
    run = own_network(data=own.pair)
    assert "<b>coordinatewise_lstm on module</b>" in run._repr_html_()
    shown = l2l.compare(run, "sgd", *SCORED)
    text = shown._repr_html_()
    assert '<img src="data:image/svg+xml,' in text
    assert text.count("<tr>") == 3
    shown.table.loc[0, "contender"] = "<script>alert(1)</script>"
    assert "<script>" not in shown._repr_html_()


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, l2l_cli as l2l\n"
        "assert {'meta_train', 'Run', 'compare'} <= set(dir(l2l))\n"
        "assert l2l.UsageError.exit_code == 2\n"
        "print([name for name in ('torch', 'numpy', 'pandas', 'hydra', 'omegaconf', 'typer') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(l2l.__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_and_documented():
    for name in set(l2l.__all__) - {"__version__"}:
        assert getattr(l2l, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'meta_trai'"):
        _ = l2l.meta_trai


def test_the_package_says_that_it_has_types():
    assert (Path(l2l.__file__).parent / "py.typed").is_file()
