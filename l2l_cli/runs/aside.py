"""Results in a folder of their own: runs repeated next to earlier ones that they will replace, or on some hardware."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from l2l_cli.config.schema import Settings
from l2l_cli.core.layout import STORE
from l2l_cli.results import index
from l2l_cli.results.folder_lock import LOCK
from l2l_cli.results.run import RUN, RunFolder

AGAIN = ".again-"
"""Prefix of the name of a folder, below the output folder, in which something is run again."""

HARDWARE = "hardware"
"""Folder, below the output folder, for the measurements of a sweep over hardware."""


def on_hardware(settings: Settings, words: Sequence[str]) -> Settings:
    """Return settings whose results are kept apart from those on other hardware, with which they would be confused.

    Args:
        settings: The settings.
        words: Overrides that name the hardware.
    """
    label = re.sub(r"[^\w.=-]+", "_", " ".join(word.lstrip("+").removeprefix("hardware.") for word in words))
    return _below(settings, Path(settings.output) / HARDWARE / label)


def again(settings: Settings, key: str) -> Settings:
    """Return settings with which all results are computed again, next to existing ones; see ``settled``.

    Args:
        settings: The settings.
        key: Name of what is run again; the same name continues an interrupted repetition.
    """
    output, store = Path(settings.output), settings.store.dir
    replaces = {"output": str(output), "store": store or str(output / STORE)}
    return replace(_below(settings, output / f"{AGAIN}{key}"), replaces=replaces)


def _below(settings: Settings, folder: Path) -> Settings:
    return replace(settings, output=str(folder), store=replace(settings.store, dir=None, also=[]))


def settled(folder: RunFolder, settings: Settings) -> RunFolder:
    """Move a finished run, and all that was stored for it, to the place of the earlier results, if it replaces any.

    The earlier run is moved aside for a moment, and deleted after that.

    Raises:
        UsageError: Another process is writing the earlier run; the new one stays where it is.
    """
    if not settings.replaces:
        return folder
    output = Path(settings.output)
    place = Path(settings.replaces["output"]) / folder.path.relative_to(output)
    keep_entries(output / STORE, Path(settings.replaces["store"]).expanduser())
    take_place(folder.path, place)
    shutil.rmtree(output)
    return RunFolder(place)


def keep_entries(store: Path, others: Path) -> None:
    """Move the entries of a store into another one, where they replace those of the same names."""
    for entry in store.glob("*/*.parquet"):
        target = others / entry.relative_to(store)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(entry, target)


def take_place(made: Path, place: Path) -> None:
    """Move a folder to a place, replacing a folder that is there.

    Raises:
        UsageError: Another process is writing the folder that is there.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        made.rename(place)
        _say(place)
        return
    earlier = made.with_name(f".{made.name}.earlier")
    with RunFolder(place).lock():
        place.rename(earlier)
        made.rename(place)
    shutil.rmtree(earlier)
    _say(place)


def _say(place: Path) -> None:
    """Let the index of all results show a run that is in its place."""
    if (place / RUN).exists():
        index.say(place, RunFolder(place).facts())


def replace_files(made: Path, place: Path) -> None:
    """Move the files of a folder to a place; files of other names that are there stay.

    Raises:
        UsageError: Another process is writing the folder that is there.
    """
    place.mkdir(parents=True, exist_ok=True)
    with RunFolder(place).lock():
        for path in sorted(made.rglob("*")):
            if path.is_file() and path.name != LOCK:  # checksums stored next to rows are hidden files, too
                target = place / path.relative_to(made)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    _say(place)
