"""The runs that a user's words select, by folder, part of a name or value; no torch and no pandas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.results.listing import ListedRun, newest_first, runs_below
from l2l_cli.results.run import RUN

SHOWN = 8
"""Largest number of names or values that a message lists."""

PATTERN = "*?["
"""Characters that make a word a pattern."""


class Chosen(NamedTuple):
    """The runs that words select.

    Attributes:
        runs: The runs, newest first.
        total: Number of all runs in the folders that were searched.
        where: Folders that were searched.
        narrowed: Whether the words select runs in these folders, rather than all of them.
    """

    runs: list[ListedRun]
    total: int
    where: str
    narrowed: bool


def chosen_runs(words: Sequence[str], default: Path) -> Chosen:
    """Return the runs in and below those words that are folders, as far as they match all of the other words.

    Args:
        words: Folders of runs, or folders to be searched for runs; values such as ``status=failed``; parts of names.
        default: Folder that is searched if no word is a folder.

    Raises:
        UsageError: A word matches no run; the message says what there is.
    """
    folders = [word for word in words if Path(word).is_dir()]
    named = {word: ListedRun.at(Path(word), Path(word).parent) for word in folders if (Path(word) / RUN).is_file()}
    roots = [Path(word) for word in folders if word not in named] or ([] if named else [default])
    found = {run.path.resolve(): run for run in named.values()}
    for root in roots:
        found |= {run.path.resolve(): run for run in (runs_below(root) if root != default or root.is_dir() else [])}
    every = newest_first(list(found.values()))
    runs, others = every, [word for word in words if word not in folders]
    where = ", ".join(map(str, [*named, *roots]))
    for word in others:
        runs = _having(runs, word, where)
    return Chosen(runs, len(every), where, bool(others or named))


def _having(runs: Sequence[ListedRun], word: str, where: str) -> list[ListedRun]:
    """Return the runs that match a word.

    Raises:
        UsageError: No run matches.
    """
    if not runs:
        raise UsageError(f"there are no runs in {where}; `l2l meta-train` makes one")
    key, equals, wanted = word.partition("=")
    by_name = [run for run in runs if _is_named(run, word)]
    kept = by_name or [run for run in runs if equals and _has(run, key, wanted)]
    if kept:
        return kept
    if not equals:
        names = [run.path.name for run in runs]
        close = did_you_mean(word, [*names, *{part for name in names for part in name.split("-")}])
        raise UsageError(f"no run in {where} has {word!r} in its name{close} (runs: {_some(names)})")
    values = Counter(value for run in runs if (value := run.value(key)) is not None)
    if not values:
        keys = sorted({key for run in runs for key in run.keys})
        raise UsageError(f"no run in {where} has a value for {key}{did_you_mean(key, keys)} (known: {_some(keys, 20)})")
    there = [f"{value} ({count})" for value, count in values.most_common()]
    raise UsageError(f"no run in {where} has {word}{did_you_mean(wanted, values)} ({key}: {_some(there)})")


def _is_named(run: ListedRun, word: str) -> bool:
    name, word = f"{run.path.as_posix()}".casefold(), word.casefold().rstrip("/")
    if any(sign in word for sign in PATTERN):
        return fnmatchcase(name, word) or any(fnmatchcase(part, word) for part in (run.place.casefold(), run.path.name))
    return word in run.place.casefold() or name == word


def _has(run: ListedRun, key: str, wanted: str) -> bool:
    value = run.value(key)
    if value is None:
        return False
    return value == wanted or any(_is(value, one.strip()) for one in wanted.split(","))


def _is(value: str, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except ValueError:
        return fnmatchcase(value, wanted)


def _some(names: Sequence[str], most: int = SHOWN) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
