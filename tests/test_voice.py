"""What a command says beside its results: events, signs of life, and a last line that is a command which works."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l2l_cli.core import voice
from l2l_cli.core.voice import VOICE, line_of, program
from l2l_cli.runs.progress import Reporter
from tests.test_cli import main, run

TINY = "task=quadratic learner.rule.hidden=2 task.horizon=4 gradient.window=4 gradient.episodes=2"
SMALL = f"{TINY} meta.updates=4 meta.validate_every=2 meta.validation_episodes=2"
SCORED = "evaluation.episodes=4 tune.episodes=2 tune.budget=2"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def events(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def repeated(line: str, monkeypatch, capsys) -> tuple[int, str, str]:
    """Run a line that a command has printed, as a shell would."""
    program, *words = shlex.split(line)
    assert program == "l2l"
    monkeypatch.setattr(sys, "argv", ["l2l", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def next_line(text: str) -> str:
    last = text.rstrip().splitlines()[-1]
    assert last.startswith("next: l2l "), text
    return last.removeprefix("next: ")


def test_every_command_leads_on_to_one_that_works(monkeypatch, capsys):
    """From a plan to the page of a comparison, by the last line of each command as it is printed."""
    code, out, err = run(f'meta-train {SMALL} name="it\'s" --dry-run', monkeypatch, capsys)
    seen = []
    while code == 0 and len(seen) < 9 and (line := next_line(out)) not in seen:
        seen.append(line)
        code, out, err = repeated(line, monkeypatch, capsys)
    assert code == 0, err
    assert [shlex.split(line)[1] for line in seen] == ["meta-train", "evaluate", "compare", "runs", "runs", "runs"]
    assert "--open" in seen[3]
    assert "it's-" in shlex.split(seen[1])[2]


def test_what_was_interrupted_goes_on_by_its_last_line(monkeypatch, capsys):
    from l2l_cli.core.stop import Stopped
    from l2l_cli.meta.gradient_training import MetaTraining

    def stopped(self):
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(MetaTraining, "update", stopped)
        code, out, err = run(f"meta-train {SMALL} +vary.dimension=[4,6]", patched, capsys)
    assert (code, out) == (130, "")
    assert err.splitlines()[-2] == "interrupted; the same command continues from the last checkpoint"
    (folder,) = Path().glob("outputs/meta-train/*")
    code, out, _ = run(f"runs {folder}", monkeypatch, capsys)
    assert next_line(out) == f"l2l meta-train --resume {folder}"
    line = next_line(err)
    assert shlex.split(line)[1:] == ["meta-train", *SMALL.split(), "+vary.dimension=[4,6]"]
    assert repeated(line, monkeypatch, capsys)[0] == 0
    assert json.loads((folder / "run.json").read_text())["status"] == "done"


@pytest.mark.parametrize(
    "words", ["runs", "reproduce --list", pytest.param(f"meta-train {SMALL} -m seed=0,1", marks=pytest.mark.slow)]
)
def test_the_last_line_of_other_commands_is_a_command(words, monkeypatch, capsys):
    code, out, _ = run(words, monkeypatch, capsys)
    assert code == 0
    line = next_line(out)
    if "reproduce" in words:  # too long to be run here
        assert shlex.split(line)[-2:] == ["--scale", "smoke"]
        assert repeated(f"{line} --list", monkeypatch, capsys)[0] == 0
    elif "seed" in words:
        assert repeated(f"{line} {SCORED.split()[0]}", monkeypatch, capsys)[0] == 0


@pytest.mark.slow
def test_a_smoke_run_leads_on_to_the_short_scale(monkeypatch, capsys):
    code, out, _ = run("reproduce hochreiter2001 drift --scale smoke meta.updates=4", monkeypatch, capsys)
    assert code == 0
    line = next_line(out)
    assert shlex.split(line)[1:] == ["reproduce", "hochreiter2001", "drift", "meta.updates=4", "--scale", "short"]
    code, out, _ = repeated(f"{line} --seeds 1", monkeypatch, capsys)
    assert code == 0
    assert repeated(next_line(out), monkeypatch, capsys)[0] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_what_a_cluster_does_is_followed_and_collected_by_the_last_line(monkeypatch, capsys):
    code, out, _ = run(f"meta-train {SMALL} seed=5 hardware=submitit_local", monkeypatch, capsys)
    assert code == 0
    until = time.monotonic() + 120
    while "on the cluster" in out or "waiting" in out or "running" in out:
        assert time.monotonic() < until
        time.sleep(0.5)
        code, out, _ = repeated(next_line(out), monkeypatch, capsys)
        assert code == 0
    assert next_line(out).startswith("l2l evaluate ")


@pytest.mark.slow
def test_a_run_with_classes_from_elsewhere_leads_on_with_the_flags_that_find_them(monkeypatch, capsys):
    Path("mine").mkdir()
    Path("mine/my_rules.py").write_text("from l2l_cli.optimizers.adam import Adam\n\nclass Slow(Adam): pass\n")
    words = f"meta-train {SMALL} optimizer._target_=my_rules.Slow --config-dir mine"
    code, out, err = run(words, monkeypatch, capsys)
    assert code == 0, err
    line = next_line(out)
    assert line.endswith("--config-dir mine --trust my_rules")
    assert repeated(f"{line} {SCORED.split()[0]}", monkeypatch, capsys)[0] == 0


def test_events_are_one_object_a_line_and_words_go_elsewhere(monkeypatch, capsys):
    code, out, err = run(f"meta-train {SMALL} --json", monkeypatch, capsys)
    told = events(out)
    assert code == 0
    assert [told[0]["event"], told[-2]["event"], told[-1]["event"]] == ["began", "done", "next"]
    assert told[0]["command"] == "meta-train"
    progress = [event for event in told if event["event"] == "progress"]
    assert (progress[-1]["done"], progress[-1]["total"], progress[-1]["unit"]) == (4, 4, "updates")
    assert Path(str(told[-2]["run"]), "weights.safetensors").exists()
    assert told[-2]["score"] == told[-2]["results"]["best_validation"]
    assert "best validation loss" in err


@pytest.mark.slow
def test_the_events_of_a_comparison_name_its_report(monkeypatch, capsys):
    code, out, _ = run(f"compare task=quadratic task.horizon=4 sgd adam {SCORED} --json", monkeypatch, capsys)
    (done,) = (event for event in events(out) if event["event"] == "done")
    assert code == 0
    assert Path(str(done["report"])).is_file()
    assert isinstance(done["score"], float)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (f"meta-train {SMALL} learner.rule.hidden=0 --json", 2, "must be at least 1"),
        ("reproduce bosc2016 nothing --json", 2, "has no artefact 'nothing'"),
        pytest.param(f"meta-train {SMALL} -m seed=0,-1 --json", 2, "seed must be at least 0", marks=pytest.mark.slow),
    ],
)
def test_a_failure_is_an_event_too(words, code, message, monkeypatch, capsys):
    ended, out, err = run(words, monkeypatch, capsys)
    (failed,) = (event for event in events(out) if event["event"] == "failed")
    assert (ended, failed["exit_code"]) == (code, code)
    assert message in str(failed["message"])
    assert message in err


def test_quiet_says_the_result_alone(monkeypatch, capsys):
    code, out, err = run(f"meta-train {SMALL} --quiet", monkeypatch, capsys)
    assert (code, err) == (0, "")
    first, *_ = out.splitlines()
    assert first.startswith("run: ")
    assert "next:" not in out
    again = run(f"meta-train {SMALL} -q", monkeypatch, capsys)
    assert again == (0, out, "")  # nor that it was there
    folder = first.removeprefix("run: ")
    code, out, err = run(f"evaluate {folder} {SCORED.split()[0]} --quiet", monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("report: ")
    code, _, err = run("compare nobody --quiet", monkeypatch, capsys)
    assert (code, len(err.splitlines())) == (2, 1)
    assert not VOICE.quiet


def test_what_prints_the_configuration_has_no_events(monkeypatch, capsys):
    for flag in ("--json", "--quiet"):
        code, _, err = run(f"meta-train --cfg job {flag}", monkeypatch, capsys)
        assert (code, "drop --quiet and --json" in err) == (2, True)


def test_words_of_other_processes_go_elsewhere_and_the_output_is_given_back():
    code = (
        "import os, sys\nfrom l2l_cli.core.streams import protect\nfrom l2l_cli.core.voice import VOICE\nprotect()\n"
        "with VOICE.speaking('compare', as_json=True):\n"
        "    os.system('echo child'); print('word'); VOICE.event('progress', loss=float('nan'), text='a\\nb')\n"
        "print('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *told, after = done.stdout.splitlines()
    assert after == "after"
    assert [event["event"] for event in map(json.loads, told)] == ["began", "progress"]
    assert json.loads(told[1]) == {"event": "progress", "loss": None, "text": "a\nb"}
    assert done.stderr.split() == ["child", "word"]


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(voice, "EVERY", 0.05)
    monkeypatch.setattr(voice, "BEAT", 0.01)


def test_a_command_that_says_nothing_gives_signs_of_life(hasty, capsys):
    with VOICE.speaking("compare"):
        time.sleep(0.3)
        assert "compare: at work for 0 s" in capsys.readouterr().err
        with Reporter("meta-train x", 100, 7, unit="updates"):
            time.sleep(0.3)
        assert "meta-train x: 7 of 100 updates · this step has taken 0 s so far" in capsys.readouterr().err
        with Reporter("meta-train y", 100, relay=lambda *_: None):
            time.sleep(0.3)  # whoever is told of it speaks
        assert "meta-train" not in capsys.readouterr().err
    with VOICE.speaking("compare", quiet=True):
        time.sleep(0.3)
    with VOICE.speaking("compare", as_json=True), Reporter("tune", 8, 2):
        time.sleep(0.3)
    out, err = capsys.readouterr()
    assert err == ""
    signs = [event for event in events(out) if event["event"] == "progress"]
    assert signs
    assert {(event["work"], event["done"]) for event in signs} == {("tune", 2)}


def test_a_sign_of_life_says_how_long_the_step_takes_and_not_how_long_nothing_was_said(hasty, capsys):
    with VOICE.speaking("compare"), Reporter("tune", 8) as reporter:
        reporter.advance("loss 1")
        time.sleep(0.7)
        assert "this step has taken 1 s so far" in capsys.readouterr().err
        reporter.advance("loss 1")
        time.sleep(0.2)
        assert "this step has taken 0 s so far" in capsys.readouterr().err


def test_a_program_that_no_path_leads_to_is_called_by_its_place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/l2l"), "runs"])
    assert line_of(["runs"], program()) == ".venv/bin/l2l runs"
    (tmp_path / "l2l").touch(mode=0o755)
    assert program() == "l2l"
