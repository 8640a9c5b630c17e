"""The command line as a stranger meets it: every mistake is one line, and nothing is written before it is mended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from l2l_cli.cli import main
from l2l_cli.config.catalogue import listing

EXACT = {
    "meta-train task=quadratc": "there is no task 'quadratc'; did you mean 'quadratic'?",
    "meta-train learner=lsmt": "there is no learner 'lsmt'; did you mean 'lstm'?",
    "meta-train optimizer=adamm": "there is no optimizer 'adamm'; did you mean 'adam'?",
    "meta-train taks=b16": "there is no option 'taks'; did you mean 'task'?",
    "meta-train meta.updats=4": "there is no option 'meta.updats'; did you mean 'meta.updates'?",
    "meta-train learner.hiden=4": "did you mean 'learner.rule.hidden'?",
    "meta-train meta.updates=abc": "meta.updates: Value 'abc'",
    "meta-train learner.rule.hidden=big": "learner.rule.hidden must be of type int, not 'big'",
    "meta-train learner.rule.hidden=true": "learner.rule.hidden must be of type int, not True",
    "meta-train +learner.rule.depth=2": "CoordinatewiseLSTM has no such argument",
    "meta-train meta.updates=0": "meta.updates must be at least 1, not 0",
    "meta-train seed=-1": "seed must be at least 0, not -1",
    "meta-train learner.rule.hidden=0": "learner.rule: hidden and layers must be at least 1",
    "meta-train meta.schedule=linear": "meta.schedule must be cosine, constant or steps, not 'linear'",
    "meta-train hardware.threads=0": "hardware.threads must be at least 1",
    "meta-train hardware.precision=bfloat16": "hardware.precision=bfloat16 is for kernels on a GPU",
    "meta-train learner=adam": "learner adam is hand-made, with nothing to meta-train",
    "meta-train task._target_=nowhere.Task": "there is no module 'nowhere'",
    "meta-train task._target_=l2l_cli.tasks.quadratic.Quadratc": "has no class 'Quadratc'; did you mean 'Quadratic'?",
    "meta-train learner=lstm task=quadratic": "learner: learner lstm reads one example a step; Quadratic gives 10",
    "meta-train --resume nowhere": "there is no run folder nowhere",
    "meta-train --config-dir nowhere": "--config-dir nowhere is not a folder",
    "evaluate": "evaluate needs a run; name its folder",
    "evaluate nowhere": "there is no run folder nowhere",
    "evaluate one --run another": "evaluate scores one run, not another and one",
    "meta-train task=digitz --help": "there is no task 'digitz'; did you mean 'digits'?",
    "evaluate --run nowhere": "there is no run folder nowhere",
    "compare adaam": "'adaam' is neither a learner nor a run folder; did you mean 'adam'?",
    "compare task=b16": "nothing to compare: give at least one run folder or learner name",
    "compare coordinatewise_lstm": "has weights to be meta-trained first",
    "compare task=quadratic bayes": "no Bayes learner is known for task Quadratic",
    "reproduce": "reproduce needs a paper",
    "reproduce hochreiter2002": "did you mean 'hochreiter2001'?",
    "reproduce hochreiter2001 tabel2": "did you mean 'table2'?",
    "reproduce hochreiter2001 --scale shrot": "did you mean 'short'?",
    "reproduce bosc2016 table --scale smoke meta.updats=3": "did you mean 'meta.updates'?",
    "reproduce bosc2016 table --scale smoke hardware.threads=0": "hardware.threads must be at least 1, not 0",
}


def run(arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["l2l", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def assert_refused(arguments, message, monkeypatch, capsys, folder):
    """See that a command is refused with a message before anything is written into a folder."""
    monkeypatch.chdir(folder)
    code, _, err = run(arguments, monkeypatch, capsys)
    assert (code, message in err, list(folder.iterdir())) == (2, True, []), err


@pytest.mark.parametrize("arguments", EXACT)
def test_a_mistake_is_one_line_and_writes_nothing(arguments, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert EXACT[arguments] in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_run_is_one_also_with_an_equals_sign_in_its_name(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("a=b").mkdir()
    Path("a=b/run.json").write_text('{"status": "failed", "results": 1}')
    code, _, err = run("compare a=b adam", monkeypatch, capsys)
    assert code == 2
    assert "a=b is failed, not done" in err


def test_an_artefact_is_one_also_with_an_equals_sign_in_its_name(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("experiment/hochreiter2001").mkdir(parents=True)
    Path("experiment/hochreiter2001/a=b.yaml").write_text("")
    code, _, err = run("reproduce hochreiter2001 a=b c=d e --config-dir .", monkeypatch, capsys)
    assert code == 2
    assert "hochreiter2001 has no artefact 'e'" in err
    assert "a=b" in err


COMMAND = """
import json, sys
sys.argv = ["l2l", *{arguments!r}]
from l2l_cli.cli import main
try:
    main()
except SystemExit:
    pass
{then}
print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""


def loaded(arguments: str, *heavy: str, then: str = "") -> list[str]:
    """Which of some modules a command, in a process of its own, has loaded when it is done; ``then`` checks more."""
    code = COMMAND.format(arguments=arguments.split(), heavy=heavy, then=then)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_help_is_light():
    """No torch, pandas, numpy or hydra before a command runs."""
    assert loaded("--help", "torch", "pandas", "numpy", "hydra", "omegaconf", "matplotlib") == []


@pytest.mark.parametrize(
    "arguments",
    [
        "meta-train task=quadratix",
        "meta-train meta.updates=x",
        "meta-train meta.updates=-1",
        "meta-train --resume nowhere",
        "evaluate --run nowhere",
        "compare nowhere adam",
        "compare",
        "reproduce --list",
        "reproduce bosc2016 table meta.updates=x",
        "reproduce bosc2016 table no_such_key=1",
        "meta-train",
        "meta-train task=digits learner=mlhf task --help",
    ],
)
def test_what_needs_no_torch_does_not_wait_for_it(arguments):
    assert loaded(arguments, "torch", "pandas", "numpy", "matplotlib") == []


def test_a_run_loads_no_compiler_and_no_device_mode_and_its_repetition_no_torch(tmp_path, monkeypatch):
    """Both would cost every process: seconds and memory, and a wrapper around each call of torch."""
    monkeypatch.chdir(tmp_path)
    small = "meta-train task=quadratic meta.updates=2 meta.validation_episodes=2 gradient.episodes=2"
    heavy = ("torch._dynamo", "torch._inductor", "sympy", "triton", "pandas", "matplotlib")
    no_mode = "import torch; assert torch.overrides._len_torch_function_stack() == 0"
    assert loaded(small, *heavy, then=no_mode) == []
    assert json.loads(next(tmp_path.glob("outputs/meta-train/*/run.json")).read_text())["status"] == "done"
    assert loaded(small, "torch", *heavy) == []
    assert loaded(small.replace("meta-train", "meta-train -m"), "torch", *heavy) == []


@pytest.mark.parametrize("command", ["", *(f"{name} " for name in ("meta-train", "evaluate", "compare", "reproduce"))])
def test_help_has_a_short_name(command, monkeypatch, capsys):
    assert run(f"{command}-h", monkeypatch, capsys) == run(f"{command}--help", monkeypatch, capsys)


def test_nothing_begins_unasked(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("meta-train", monkeypatch, capsys)
    assert (code, err, list(tmp_path.iterdir())) == (2, "", [])
    assert "l2l meta-train task=quadratic" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", ["meta-train", "evaluate", "compare"])
def test_help_lists_the_groups(command, monkeypatch, capsys):
    code, out, _ = run(f"{command} --help", monkeypatch, capsys)
    assert code == 0
    assert "quadratic_function" in out
    assert "b14" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("l2l meta-train task=qu", ["task=quadratic", "task=quadratic_function"]),
        ("l2l meta-train opt", ["optimizer="]),
        ("l2l compare nest", ["nesterov"]),
        ("l2l reproduce hoch", ["hochreiter2001"]),
        ("l2l reproduce hochreiter2001 fig", ["figure2"]),
        ("l2l reproduce hochreiter2001 hardw", ["hardware="]),
        (
            "l2l reproduce hochreiter2001 hardware=",
            ["hardware=cpu", "hardware=cuda", "hardware=slurm", "hardware=submitit_local"],
        ),
        ("l2l meta-train recipe=bosc2016/ce", ["recipe=bosc2016/cell"]),
        ("l2l compare tune=a", ["tune=all"]),
        ("l2l reproduce bosc2016 --scale s", ["smoke", "short", "study"]),
    ],
)
def test_completion_completes_whole_words(words, expected, monkeypatch):
    environment = {
        "_L2L_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "PATH": "/usr/bin:/bin",
    }
    code = "import sys; sys.argv = ['l2l']; from l2l_cli.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == expected


def test_the_configuration_can_be_looked_at(monkeypatch, capsys):
    code, out, _ = run("meta-train --cfg job task=b16", monkeypatch, capsys)
    assert code == 0
    assert "_target_: l2l_cli.tasks.functions.Booleans" in out


def test_version(monkeypatch, capsys):
    assert run("--version", monkeypatch, capsys)[:2] == (0, "l2l 0.2.0\n")


def test_the_catalogue_names_minutes(monkeypatch, capsys):
    code, out, _ = run("reproduce --list", monkeypatch, capsys)
    assert code == 0
    assert "table2" in out
    minutes = listing("hochreiter2001", "table2").scales["short"]["minutes"]
    assert f"{minutes} (3 to 8)" in out


def test_the_catalogue_of_one_paper_is_of_that_paper_alone(monkeypatch, capsys):
    code, out, _ = run("reproduce bosc2016 --list", monkeypatch, capsys)
    assert code == 0
    assert "variants" in out
    assert "hochreiter2001" not in out
    assert out.splitlines()[-1] == "next: l2l reproduce bosc2016 --scale smoke"
    code, _, err = run("reproduce bosc2017 --list", monkeypatch, capsys)
    assert code == 2
    assert "did you mean 'bosc2016'" in err


def test_compare_without_words_says_what_it_would_do(monkeypatch, capsys):
    code, out, _ = run("compare", monkeypatch, capsys)
    assert code == 2
    assert out.splitlines()[-1] == "next: l2l compare task=quadratic adam sgd"


def test_every_yaml_of_a_group_builds(capsys):
    """A file that nobody can compose, or whose arguments its class refuses, is found here."""
    from l2l_cli.config.build import build
    from l2l_cli.config.compose import compose
    from l2l_cli.config.groups import options
    from tests.configured import missing_package

    conf = Path(__file__).resolve().parents[1] / "conf"
    assert set(options("task")) == {path.stem for path in (conf / "task").glob("[!_]*.yaml")}
    needed = {"module": ["task.model=tests.tasks.own:Net", "task.data=tests.tasks.own:pair"]}
    tasks = {
        name: compose("meta-train", [f"task={name}", "learner=lstm", *needed.get(name, [])]) for name in options("task")
    }
    for settings in tasks.values():
        build(settings.task, "task")
    function, hiding = (build(tasks[name].task, "task") for name in ("b16", "halfplanes"))
    for name in (one for one in options("learner") if not missing_package(one)):
        settings = compose("meta-train", [f"learner={name}", "task=b16"])
        once = settings.learner.get("growth", 0.0) is None  # fits where a task begins to hide, if it does
        build(settings.learner, "learner", task=hiding if once else function)
    for group in ("optimizer", "gradient"):
        for name in options(group):
            build(getattr(compose("meta-train", ["learner=recurrent", f"{group}={name}"]), group), group)
