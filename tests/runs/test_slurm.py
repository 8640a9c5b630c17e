"""The way to SLURM, against stand-ins for its programs: what is asked for, what states mean, and requeueing."""

from __future__ import annotations

import itertools
import os
import stat
import sys
import time

import pytest

from l2l_cli.config.hardware import Hardware
from tests.runs.test_cluster import attempts, is_done, sent

pytest.importorskip("submitit")

# Runs the tasks of a script's array as processes, each begun again as long as a file asks for it.
SBATCH = """
import os, pathlib, re, subprocess, sys
here, script = pathlib.Path(os.environ["FAKE_SLURM"]), pathlib.Path(sys.argv[1]).read_text()
number = int(os.environ["FAKE_FIRST"]) + len(list(here.glob("*.sbatch")))
(here / f"{number}.sbatch").write_text(script)
print(f"Submitted batch job {number}")
if not (here / "runs").exists():
    sys.exit()
array = re.search("--array=0-([0-9]+)", script)
program = "import os, pathlib, subprocess, sys; wanted = pathlib.Path(sys.argv[1])\\n"
program += "while True:\\n  wanted.unlink(missing_ok=True)\\n  subprocess.run(['bash', '-c', sys.argv[2]])\\n"
program += "  if not wanted.exists(): break"
for task in range(int(array.group(1)) + 1) if array else [None]:
    own = {"SLURM_JOB_ID": str(number), "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SUBMITIT_EXECUTOR": "slurm"}
    name = str(number)
    if array:
        own |= {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(task)}
        name = f"{number}_{task}"
    command = [sys.executable, "-c", program, str(here / f"{name}.requeue"), script]
    out = open(here / f"{name}.out", "w")
    subprocess.Popen(command, env=os.environ | own, stdout=out, stderr=out, start_new_session=True)
"""
SRUN = """
import os, sys
first = next(place for place, word in enumerate(sys.argv) if "python" in word)
os.execv(sys.argv[first], sys.argv[first:])
"""
SACCT = """
import os, pathlib
here = pathlib.Path(os.environ["FAKE_SLURM"])
print("JobID|State|NodeList")
if (here / "state").exists():
    for script in here.glob("*.sbatch"):
        for task in range(4):
            print(f"{script.stem}_{task}|{(here / 'state').read_text()}|node1")
"""
SCONTROL = """
import os, pathlib, sys
(pathlib.Path(os.environ["FAKE_SLURM"]) / f"{sys.argv[2]}.requeue").touch()
"""

NUMBERS = itertools.count(100, 100)

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder with stand-ins for the programs of SLURM, which are found first, and what they leave there."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, program in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": SCONTROL}.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{program}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("FAKE_FIRST", str(next(NUMBERS)))  # submitit remembers the states of all jobs of a process
    return folder


def test_one_array_asks_for_what_the_configuration_says(slurm, tmp_path):
    wanted = Hardware(cluster="slurm", partition="long", account="me", minutes=90, memory=6, threads=3, array=2)
    states = sent(tmp_path, wanted, one="", two="", three="")
    assert [(one.state, one.note) for one in states] == [("waiting", "submitted")] * 3
    (script,) = slurm.glob("*.sbatch")
    asked = {line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH")}
    expected = {"array=0-2%2", "partition=long", "account=me", "time=90", "mem=6GB", "cpus-per-task=3", "job-name=l2l"}
    assert expected <= asked
    assert not any(line.startswith("gpus") for line in asked)
    again = sent(tmp_path, wanted, one="", two="", three="")
    assert [one.note for one in again] == [f"job {script.stem}_{task}" for task in range(3)]
    assert len(list(slurm.glob("*.sbatch"))) == 1


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "REQUEUED"])
def test_a_job_that_slurm_has_is_waited_for(state, slurm, tmp_path):
    sent(tmp_path, Hardware(cluster="slurm"), one="", two="")
    (slurm / "state").write_text(state)
    assert [one.state for one in sent(tmp_path, Hardware(cluster="slurm"), one="", two="")] == ["waiting", "waiting"]
    assert len(list(slurm.glob("*.sbatch"))) == 1


@pytest.mark.parametrize("state", ["OUT_OF_MEMORY", "CANCELLED by 1000", "NODE_FAIL"])
def test_a_job_that_slurm_has_ended_is_submitted_again_and_told(state, slurm, tmp_path):
    sent(tmp_path, Hardware(cluster="slurm"), one="", two="")
    (script,) = slurm.glob("*.sbatch")
    (slurm / "state").write_text(state)
    states = sent(tmp_path, Hardware(cluster="slurm"), one="", two="")
    ended = [f"job {script.stem}_{task} ended as {state.split()[0]}" for task in range(2)]
    assert [one.note for one in states] == [f"submitted again: {end}" for end in ended]
    assert len(list(slurm.glob("*.sbatch"))) == 2


@pytest.mark.slow
def test_an_array_runs_and_a_job_that_is_preempted_goes_on_in_the_queue(slurm, tmp_path):
    (slurm / "runs").touch()
    hardware, until = Hardware(cluster="slurm"), time.monotonic() + 60.0
    while sent(tmp_path, hardware, one="", two="SIGUSR2"):
        assert time.monotonic() < until
        time.sleep(0.3)
    assert is_done(tmp_path / "one")
    assert is_done(tmp_path / "two")
    assert (attempts(tmp_path, "one"), attempts(tmp_path, "two")) == (1, 2)
    assert len(list(slurm.glob("*.sbatch"))) == 1
