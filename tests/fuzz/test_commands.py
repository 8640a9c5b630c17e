"""The real commands on damaged folders: the same bits, or an error in one line; nothing else, and nothing outside."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fuzz.material import SCORED, TINY, Runs, weights_of
from tests.fuzz.mutations import Mutation, put
from tests.fuzz.outcome import SLOW, Faults, Outcome, digest_of, unfit
from tests.fuzz.warm import LIMIT, Ended, Warm, cold

pytestmark = SLOW

FRAMES = re.compile(r"Traceback|^  \S+:\d+ in |^l2l \S+ failed|^error: l2l \S+ failed|Exception ignored", re.MULTILINE)
DAMAGE: tuple[Mutation | str, ...] = (
    *(Mutation("bit", 3001, 5), Mutation("bit", 77, 3), Mutation("cut", 100, 0), Mutation("zeros", 300, 63)),
    *(Mutation("swap", 40, 11), Mutation("other file", 1, 0), Mutation("value", 5, 8), Mutation("value", 11, 31)),
    *("missing", "link out", "FIFO", "folder"),
)
RULES = ("tune.episodes=2", "tune.budget=1", *(word for word in SCORED if "stretch" not in word))
REPRODUCE = ["reproduce", "hochreiter2001", "drift", "--scale", "smoke", "--output", "outputs/here", "meta.updates=2"]


class Command(NamedTuple):
    """A command on one kind of folder.

    Attributes:
        kind: Folder that it is run in: "finished", "interrupted" or "reproduced".
        arguments: Words of its line.
        files: Patterns of the files that are damaged, below that folder.
        ends: Pattern of the file whose bits it is to come to; none where what it prints counts.
        limit: Seconds after which it hangs.
    """

    kind: str
    arguments: list[str]
    files: tuple[str, ...]
    ends: str = ""
    limit: float = LIMIT


def commands(runs: Runs) -> dict[str, Command]:
    run, ends = str(runs.run), "outputs/meta-train/*/weights.safetensors"

    def files(kind: str, *names: str) -> tuple[str, ...]:
        return tuple(f"outputs/{kind}/*/{name}.*" for name in names)

    own, saved = files("meta-train", "config", "run"), files("meta-train", "checkpoint", "metrics")
    weights, lock = files("meta-train", "weights"), ("outputs/meta-train/*/.lock",)
    compared, rows = files("compare", "config", "run", "metrics"), ("outputs/here/rows/*.csv", "outputs/here/run.json")
    everything = (*own, *saved, *lock, *files("meta-train", "overrides"))
    rivals = ["compare", run, "adam", *RULES]
    return {
        "resume": Command("interrupted", ["meta-train", "--resume", run], everything, ends),
        "repeat": Command("interrupted", ["meta-train", *TINY], (*own, *saved), ends),
        "resume a finished one": Command("finished", ["meta-train", "--resume", run], own, ends),
        "repeat a finished one": Command("finished", ["meta-train", *TINY], (*own, *weights), ends),
        "evaluate": Command("finished", ["evaluate", "--run", run, *SCORED], (*own, *weights, *saved, *lock)),
        "compare": Command("finished", rivals, (*weights, *compared)),
        "store": Command("finished", rivals, ("outputs/store/*/*.parquet",)),
        "reproduce": Command("reproduced", REPRODUCE, rows, "outputs/here/results.csv", 12 * LIMIT),
    }


NAMES = (
    "resume",
    "repeat",
    "resume a finished one",
    "repeat a finished one",
    "evaluate",
    "compare",
    "store",
    "reproduce",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def warm(tmp_path) -> Iterator[Warm]:
    with Warm(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def sound(runs, tmp_path_factory):
    """Folders as their commands leave them, and what each command comes to there."""
    with Warm(tmp_path_factory.mktemp("own")) as warm:
        return _sound(runs, warm)


def _sound(runs: Runs, warm: Warm) -> dict[str, str]:
    (runs.root / "reproduced").mkdir()
    known = {}
    for name, command in commands(runs).items():
        place = runs.root / command.kind
        if name in ("compare", "reproduce"):
            first = warm.run(command.arguments, place, 30 * LIMIT)
            assert first.code == 0, first.err
        shutil.copytree(place, trial := runs.root / "trial")
        known[name] = result(command, trial, warm.run(command.arguments, trial, command.limit))
        shutil.rmtree(trial)
    return known


def result(command: Command, place: Path, ended: Ended) -> str:
    """What a command that ended well comes to."""
    assert ended.code == 0, ended
    if not command.ends:
        return "\n".join(line for line in ended.out.splitlines() if not line.startswith("store:"))
    if command.ends.endswith("safetensors"):
        (weights,) = place.glob(command.ends)
        return weights_of(weights.parent)
    return (place / command.ends).read_text()


def cases(command: Command, place: Path) -> list[tuple[Path, Mutation | str]]:
    """Damage to each file; of many that one pattern finds, to the first alone."""
    found = [next(iter(sorted(place.glob(pattern))), None) for pattern in command.files]
    return [(path.relative_to(place), damage) for path in found if path is not None for damage in DAMAGE]


def judged(command: Command, place: Path, ended: Ended, own: Path) -> Outcome:
    """Say what is wrong with an end."""
    faults = []
    if ended.code is None:
        faults.append("hangs")
    elif ended.code not in (0, 1, 2):
        faults.append(f"exit code {ended.code}")
    if FRAMES.search(ended.out + ended.err):
        shown = [line for line in ended.err.splitlines() if FRAMES.search(line) or " in " in line]
        faults.append(f"frames: {shown[-1].strip()[:80] if shown else ''}")
    lines = [line for line in (ended.out + ended.err).splitlines() if line.strip()]
    faults += [f"{wrong} in what is printed" for wrong in {unfit(line) for line in lines} - {""}]
    errors = [line for line in lines if line.startswith("error: ")]
    if ended.code in (1, 2) and len(errors) != 1:
        faults.append(f"{len(errors)} errors are told")
    if (own / "canary").exists():
        (own / "canary").unlink()
        faults.append("imported a stranger's module")
    if extra := {path.name for path in place.iterdir()} - {"outputs"}:
        faults.append(f"wrote {', '.join(extra)}")
    value = None
    if ended.code == 0 and not faults:
        try:
            value = result(command, place, ended)
        except (OSError, ValueError) as error:
            faults.append(f"ended well without a result ({type(error).__name__})")
    return Outcome(value, " / ".join(errors) if ended.code else "", "; ".join(faults))


def untouched(command: Command, place: Path) -> str:
    """The bits that lie there, where a finished run's weights are damaged: who does not read them leaves them alone."""
    found = sorted(place.glob(command.ends)) if command.ends.endswith("safetensors") else []
    return weights_of(found[0].parent) if found and found[0].is_file() and not found[0].is_symlink() else ""


Run = Callable[[list[str], Path, float], Ended]


def trial(
    command: Command, known: str, runs: Runs, tmp_path: Path, case: tuple[Path, Mutation | str], run: Run
) -> Outcome:
    """Damage one file and run a command."""
    file, damage = case
    place, outside = tmp_path / "place", tmp_path / "outside"
    for folder in (place, outside):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(runs.root / command.kind, place, symlinks=True)
    outside.mkdir()
    if isinstance(damage, str):
        put(damage, place / file, outside)
    else:
        damage(
            place / file,
            [one for one in sorted((place / file).parent.iterdir()) if one.is_file() and one.name != file.name],
        )
    before, left = digest_of(outside), untouched(command, place)
    ended = judged(command, place, run(command.arguments, place, command.limit), tmp_path)
    if digest_of(outside) != before:
        ended = ended._replace(fault=f"{ended.fault}; changed what a link leads to")
    return ended._replace(value=known) if ended.value and ended.value == left else ended


@pytest.mark.parametrize("name", NAMES)
def test_damaged_folders(name, runs, sound, warm, tmp_path, tally):
    command, faults = commands(runs)[name], Faults(sound[name])
    for case in cases(command, runs.root / command.kind):
        faults.judge((name, *case), trial(command, sound[name], runs, tmp_path, case, warm.run))
    tally(faults)


def test_damaged_folders_in_new_processes(runs, sound, tmp_path, tally):
    """Every seventeenth of these cases, as a user meets it."""
    every = [
        (name, case)
        for name in NAMES[:-1]
        for case in cases(commands(runs)[name], runs.root / commands(runs)[name].kind)
    ]
    faults = Faults()
    for name, case in every[:: max(1, len(every) // 20)]:
        command = commands(runs)[name]
        ended = trial(command, sound[name], runs, tmp_path, case, partial(cold, place=tmp_path))
        if not ended.fault and not ended.refusal and ended.value != sound[name]:
            ended = ended._replace(fault="other bits")
        faults.judge((name, *case), ended)
    tally(faults)
