"""Try an installed l2l as its users will: ``python tests/release.py PATH/TO/l2l``; ``make release`` runs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

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
COMPLAINT = re.compile(r"\w*Warning|deprecat", re.IGNORECASE)


def attempt(program: Path, command: str, folder: Path) -> list[str]:
    """Run a command in a folder and return what is wrong with it."""
    run = next(iter(sorted(folder.glob("outputs/meta-train/*"))), Path("RUN"))
    words = [str(run) if word == "RUN" else word for word in command.split()]
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if COMPLAINT.search(line)]
    if done.returncode:
        wrong.append(f"exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return wrong


def main() -> None:
    """Run all commands and exit with 1 if one failed or warned of anything."""
    program = Path(sys.argv[1]).absolute()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            wrong = attempt(program, command, Path(folder))
            failed = failed or bool(wrong)
            print("\n".join([f"{'failed' if wrong else 'passed'}: l2l {command}", *wrong]), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
