"""Full description of one run: what it is, its origin, its result and files, and the command that continues from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from textwrap import wrap

from l2l_cli.commands.next_words import words_after
from l2l_cli.config.compose import compose
from l2l_cli.config.saved import upgraded
from l2l_cli.core.errors import L2LError
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.printable import counted, printable, size_text
from l2l_cli.core.voice import next_line
from l2l_cli.results.listing import ListedRun, age_text
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import METRICS
from l2l_cli.results.terminal import console
from l2l_cli.runs.progress import duration
from l2l_cli.runs.watching import progress_of

PARTS = ("seed", "task", "learner", "optimizer", "gradient", "meta", "search", "vary", "evaluation", "tune")
"""Parts of a configuration that are compared with the defaults."""

NAME = 12
"""Number of characters of a line before its text."""


def lines_of(run: ListedRun) -> list[str]:
    """Describe a run line by line; text wider than the terminal continues on further lines.

    Commands stay on one line, so that they can be copied.
    """
    width = max(40, console().width)
    lines = [printable(str(run.path))]
    for name, texts in _parts(run):
        for index, text in enumerate(filter(None, texts)):
            head = f"  {name if index == 0 else '':{NAME - 2}}"
            first, *others = [text] if name == "command" else wrap(text, width - NAME) or [""]
            lines += [f"{head}{first}".rstrip(), *(f"{'':{NAME}}{part}" for part in others)]
    return [*map(printable, lines), next_line(words_after(run))]


def differences_of(run: ListedRun) -> list[str]:
    """Return the differences of a run from the defaults of its task and learner, or its overrides if unknown."""
    config, words = run.config, [f"{group}={name}" for group, name in run.choices.items()]
    if run.command == "reproduce" or not words:
        return run.differences
    with suppress(L2LError):
        defaults = asdict(compose("meta-train", words))
        saved = upgraded({key: config[key] for key in PARTS if key in config})
        found = dict(_changed(saved, {key: defaults[key] for key in saved}, ""))
        own = [text for text in run.differences if text.partition("=")[0].split(".")[0] not in saved]
        return list(dict.fromkeys([*words, *own, *(f"{key}={value}" for key, value in found.items())]))
    return words + run.differences


def _changed(found: object, default: object, key: str) -> Iterator[tuple[str, object]]:
    """Yield the values that differ from the defaults, by dotted key."""
    if isinstance(found, Mapping) and isinstance(default, Mapping):
        for name, value in found.items():
            yield from _changed(value, default.get(name), f"{key}.{name}" if key else str(name))
    elif found != default and not (isinstance(found, Mapping) and not found and default is None):
        yield key, "null" if found is None else found


def _parts(run: ListedRun) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield names with their texts; texts are empty if unknown."""
    facts = run.facts
    result = run.headline or progress_of(run)[1]
    yield "state", [f"{run.state}, {age_text(run.changed)} ago"]
    yield "result", [result] if result else []
    yield "differs", [in_one_line(text, 400) for text in differences_of(run)]
    yield "command", [in_one_line(facts["command"], 4000)] if "command" in facts else []
    yield "of", [str(parent) for parent in facts.get("parents", [])]
    yield "seeds", [", ".join(map(str, facts["seeds"]))] if "seeds" in facts else []
    yield "versions", [", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())]
    places = [str(facts[name]) for name in ("machine", "device", "kernels") if facts.get(name)]
    yield "machine", [", ".join([*places, *([f"commit {facts['commit']}"] if facts.get("commit") else [])])]
    yield "time", [_time(facts)] if "seconds" in facts else []
    yield "memory", [f"peak {size_text(facts['peak_memory_bytes'])}"] if "peak_memory_bytes" in facts else []
    yield "search", [", ".join(f"{key}={value:.4g}" for key, value in facts.get("chosen", {}).items())]
    yield "metrics", _metrics(run) if run.command == "meta-train" else []
    yield "said", [in_one_line(line, 400) for line in facts.get("closing", [])]
    yield "warning", [in_one_line(facts["warning"], 400)] if "warning" in facts else []
    yield "files", _files(run)


def _time(facts: Entries) -> str:
    spent = [f"{name} {duration(seconds)}" for name, seconds in facts.get("cpu_seconds", {}).items()]
    return f"{duration(facts['seconds'])} of wall-clock time{'; CPU: ' if spent else ''}{', '.join(spent)}"


def _metrics(run: ListedRun) -> list[str]:
    """Return the last value of each metric."""
    rows = []
    with suppress(L2LError, OSError):
        rows = MetricsFile(run.path / METRICS).latest()
    last = {(row.split, row.metric): row for row in rows if row.statistic == "mean"}
    return [f"{row.split} {row.metric} {row.value:.6g} at update {row.step}" for row in last.values()]


def _files(run: ListedRun) -> list[str]:
    """Return a run's files with their sizes, and its subfolders with the number and total size of their files."""
    found = []
    for path in sorted(run.path.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            files = [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
            size = size_text(sum(one.stat().st_size for one in files))
            found.append(f"{path.name}/  {counted(len(files), 'file')}, {size}")
        else:
            found.append(f"{path.name}  {size_text(path.lstat().st_size)}")
    return found
