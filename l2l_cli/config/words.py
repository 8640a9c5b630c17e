"""The roles of words on a command line: overrides, learners, folders of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l2l_cli.config.groups import ALL, is_class, options, papers
from l2l_cli.config.schema import SCALES
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.suffixes import PRETRAINED, is_exported, pretrained

START = """l2l meta-train meta-trains a learner on the task that you choose:

  l2l meta-train task=quadratic             a learned optimizer; 20 seconds
  l2l meta-train task=b16 learner=lstm      an LSTM that learns in its state
  l2l meta-train task=quadratic --dry-run   estimate of time and memory

`l2l meta-train task --help` describes all tasks, and `l2l meta-train
learner --help` all learners.
next: l2l meta-train task=quadratic"""
"""What ``l2l meta-train`` prints without arguments."""

START_COMPARE = """l2l compare scores the contenders that you name on the same test episodes:

  l2l compare task=quadratic adam sgd       learners by name, each tuned first
  l2l compare RUN adam sgd                  a meta-trained run against them
  l2l compare task=quadratic all            every hand-made learner that fits

`l2l runs` lists your runs, and `l2l compare learner --help` describes all
learners.
next: l2l compare task=quadratic adam sgd"""
"""What ``l2l compare`` prints without arguments."""


def contenders_and_overrides(words: Sequence[str], config_dir: str | None) -> tuple[list[str], list[str], list[str]]:
    """Separate overrides, learners and run folders.

    Overrides of ``learner.…`` apply to the learner that is named, if there is exactly one and no other was chosen.

    Raises:
        UsageError: A word is none of these.
    """
    from l2l_cli.config.own_task import key_of_word  # it loads Hydra

    known = [ALL, *options("learner", config_dir)]
    overrides = [word for word in words if is_override(word) and not _is_run(word)]
    rest = [word for word in words if word not in overrides]
    for word in rest:
        if word not in known and not _is_there(word) and not is_class(word):
            raise UsageError(
                f"{word!r} is neither a learner nor a run folder{did_you_mean(word, known)} "
                f"(learners: {', '.join(known)}; learned rules: "
                f"{', '.join(f'{PRETRAINED}{name}' for name in pretrained())})"
            )
    learners = [word for word in rest if word in known or (is_class(word) and not _is_there(word))]
    keys = [key_of_word(word) for word in overrides]
    is_for_one = len(learners) == 1 and not is_class(learners[0]) and learners != [ALL]
    if is_for_one and "learner" not in keys and any(key.startswith("learner.") for key in keys):
        overrides = [f"learner={learners[0]}", *overrides]
    return overrides, learners, [word for word in rest if word not in learners]


def exporting(file: str | None, licence: str | None, trains: bool) -> dict[str, str | None]:
    """Return the flags for exporting a training.

    Args:
        file: File to write.
        licence: Licence of the weights.
        trains: Whether the command is a single training, not a sweep, a plan or a listing.

    Raises:
        UsageError: An export is requested without a single training, or a licence without an export.
    """
    if file and not trains:
        raise UsageError("--export writes one finished run; drop -m, --dry-run, --cfg and --info")
    if licence and not file:
        raise UsageError("--licence applies to an exported file; name the file by --export")
    return {"export": file, "licence": licence}


def is_override(word: str) -> bool:
    """Return whether a word has the form of an override."""
    return "=" in word or word.startswith(("~", "+"))


def run_and_overrides(words: Sequence[str], run: str | None) -> tuple[list[str], str | None]:
    """Return the overrides and the folder of a run, which is one of the words or given as ``run``.

    Raises:
        UsageError: There are several runs.
    """
    overrides = [word for word in words if is_override(word) and not _is_run(word)]
    folders = [*([run] if run else []), *(word for word in words if word not in overrides)]
    if len(folders) > 1:
        raise UsageError(f"evaluate scores one run, not {' and '.join(folders)}; `l2l compare` compares several")
    return overrides, folders[0] if folders else None


def _is_run(word: str) -> bool:
    """Return whether a word is a run's folder or file, whose name may contain characters of an override."""
    return (Path(word) / "run.json").is_file() or is_exported(Path(word))


def artefacts_and_overrides(
    paper: str | None, words: Sequence[str], scale: str, config_dir: str | None
) -> tuple[list[str], list[str]]:
    """Return the artefacts of a paper and the overrides among words.

    Raises:
        UsageError: There is no such paper, artefact or scale.
    """
    known = papers(config_dir)
    if paper is None:
        raise UsageError(f"reproduce needs a paper (papers: {', '.join(known)}); see `l2l reproduce --list`")
    if paper not in known:
        raise UsageError(f"there is no paper {paper!r}{did_you_mean(paper, known)} (papers: {', '.join(known)})")
    artefacts = [word for word in words if word in known[paper] or not is_override(word)]
    for artefact in artefacts:
        if artefact not in known[paper]:
            raise UsageError(
                f"{paper} has no artefact {artefact!r}{did_you_mean(artefact, known[paper])} "
                f"(artefacts: {', '.join(known[paper])})"
            )
    if scale not in SCALES:
        raise UsageError(f"there is no scale {scale!r}{did_you_mean(scale, SCALES)} (scales: {', '.join(SCALES)})")
    return artefacts, [word for word in words if word not in artefacts]


def _is_there(word: str) -> bool:
    return Path(word).is_dir() or is_exported(Path(word))
