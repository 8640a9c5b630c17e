"""Try what is released as its users will; ``make release`` runs it.

python tests/release.py PATH/TO/l2l [--wheels FOLDER --pythons PYTHON...]

The program is tried as it is installed, and the package's metadata are looked at.  Of each Python an empty environment
gets the wheels and nothing of the checkout: there the main job runs, and the template package passes its tests.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "task=quadratic learner.rule.hidden=4 gradient.episodes=4 meta.updates=4 meta.validate_every=2 "
    "meta.validation_episodes=2"
)
COMMANDS = (
    f"meta-train {SMALL}",
    "evaluate --run RUN evaluation.episodes=2",
    "compare RUN sgd evaluation.episodes=2 tune.budget=2 tune.episodes=2",
    f"meta-train -m {SMALL} seed=0,1",
    f"meta-train -m {SMALL} seed=0,1,2 hydra/launcher=joblib",
)
MAIN_JOB = (*COMMANDS[:3], "reproduce bosc2016 table --scale smoke")
COMPLAINT = re.compile(r"\w*Warning|deprecat", re.IGNORECASE)
FROM_PYTHON = "import l2l_cli as l2l; print(len(l2l.meta_train(*{words!r}).compare('sgd', 'tune.budget=2').table))"
"""Program that uses the package."""


def attempt(program: Path, command: str, folder: Path) -> list[str]:
    """Run a command in a folder and return what is wrong with it."""
    run = next(iter(sorted(folder.glob("outputs/meta-train/*"))), Path("RUN"))
    words = [str(run) if word == "RUN" else word for word in command.split()]
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if COMPLAINT.search(line)]
    if done.returncode:
        wrong.append(f"exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return wrong


def told(what: str, wrong: list[str]) -> bool:
    """Print what was tried and what is wrong with it; return whether anything is."""
    print("\n".join([f"{'failed' if wrong else 'passed'}: {what}", *wrong]), flush=True)
    return bool(wrong)


def faults_of(wheel: Path) -> Iterator[str]:
    """Yield what an index, or a reader of it, would miss in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (place,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        facts = Parser().parsestr(archive.read(place).decode())
    for name in ("l2l_cli/py.typed", "l2l_cli/conf/base.yaml", "l2l_cli/results/page/static/uPlot.LICENSE.txt"):
        if name not in names:
            yield f"{name} is not in it"
    for file in facts.get_all("License-File", []):
        if not any(name.endswith(f"licenses/{file}") for name in names):
            yield f"the licence {file} is not in it"
    for field in ("Summary", "License-Expression", "Requires-Python", "Classifier", "Keywords"):
        if not facts.get_all(field):
            yield f"its metadata have no {field}"
    if relative := re.findall(r"\]\((?!https?://|#)[^)]*\)", facts.get_payload()):
        yield f"its long description links to what lies in the repository: {', '.join(relative)}"
    if not facts.get_all("Project-URL"):
        print(
            "not tried: URLs and pictures, for the repository's address is not known (L2L_REPOSITORY=https://… sets it)"
        )


def environment(python: str, wheels: list[Path], folder: Path) -> str:
    """Make an environment that has the wheels and pytest, and return why there is none; empty if there is."""
    if shutil.which(python) is None:
        return "it is not installed"
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    limits = ["-c", ROOT / "constraints.txt"]
    for words in (
        [python, "-m", "venv", folder],
        [*pip, *limits, "torch"],  # first, or a bare one comes with libraries for GPUs
        [*pip, *limits, *wheels, "pytest"],
    ):
        done = subprocess.run(words, cwd=folder.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip()[-300:] or f"{words} failed"
    return ""


def tried_in(python: str, wheels: list[Path], needed: bool) -> bool:
    """Try the wheels with a Python, in an empty environment outside of the checkout; return whether anything failed.

    Where there is no environment, that is a failure of the Python that is needed, and said of any other.
    """
    with tempfile.TemporaryDirectory() as name:
        place, work = Path(name) / "environment", Path(name) / "work"
        work.mkdir()
        if why := environment(python, wheels, place):
            print(f"{'failed' if needed else 'not tried'}: {python}: {why}", flush=True)
            return needed
        failed = [told(f"{python}: l2l {one}", attempt(place / "bin/l2l", one, work)) for one in MAIN_JOB]
        program = f"-c {FROM_PYTHON.format(words=SMALL.split())}".split(" ", 1)
        tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(work / "tests")]
        shutil.copytree(ROOT / ".github/plugin-template/tests", work / "tests")
        for what, words in (("from Python", program), ("the template's tests", tests)):
            done = subprocess.run([place / "bin/python", *words], cwd=work, capture_output=True, text=True, check=False)
            output = (done.stdout + done.stderr).strip()[-800:]
            failed.append(told(f"{python}: {what}", [output] if done.returncode else []))
        return any(failed)


def main() -> None:
    """Try everything and exit with 1 if something failed or warned of anything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--pythons", nargs="*", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failed = [told(f"l2l {one}", attempt(given.program.absolute(), one, Path(folder))) for one in COMMANDS]
    if given.wheels:
        wheels = sorted(given.wheels.absolute().glob("*.whl"))
        (own,) = (wheel for wheel in wheels if wheel.name.startswith("l2l_cli-"))
        failed.append(told(f"metadata of {own.name}", list(faults_of(own))))
        failed += [tried_in(python, wheels, not place) for place, python in enumerate(given.pythons)]
    sys.exit(any(failed))


if __name__ == "__main__":
    main()
