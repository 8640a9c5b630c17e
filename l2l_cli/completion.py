"""Completion of words on the command line, from names of files only."""

from __future__ import annotations

from pathlib import Path

import typer

from l2l_cli.config.groups import ALL, options, papers, recipes
from l2l_cli.config.schema import GROUPS, SCALES
from l2l_cli.core.layout import META_TRAIN, OUTPUTS
from l2l_cli.core.suffixes import PRETRAINED, pretrained

STATES = ("done", "failed", "interrupted", "killed", "running")
"""States that are completed for ``l2l runs status=…``."""

ASKED = ("status", "task", "learner")
"""Keys of conditions that are completed for ``l2l runs``."""


def complete_overrides(context: typer.Context, incomplete: str) -> list[str]:
    """Complete ``group=option`` as whole words, or only the option if the shell splits words at '='."""
    if group := _split_off(context, incomplete):
        return [name for name in _choices(group) if name.startswith(incomplete)]
    group, equals, start = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in GROUPS if name.startswith(group)]
    return [f"{group}={name}" for name in _choices(group) if name.startswith(start)]


def _split_off(context: typer.Context, incomplete: str) -> str | None:
    """Return the group before an '=' that bash treats as a separate word; Typer drops such a word at the end."""
    words: list[str] = next(
        (context.params[name] for name in ("overrides", "contenders", "words") if context.params.get(name)), []
    )
    group = words[-2:-1] if words[-1:] == ["="] else words[-1:] if not incomplete else []
    return group[0] if group and group[0] in (*GROUPS, "status") else None


def _choices(group: str) -> list[str]:
    if group == "experiment":
        return [f"{paper}/{artefact}" for paper, artefacts in papers().items() for artefact in artefacts]
    if group == "recipe":
        return recipes()
    if group == "status":
        return list(STATES)
    return options(group) if group in GROUPS else []


def complete_contenders(context: typer.Context, incomplete: str) -> list[str]:
    """Complete names of learners, folders of trained runs, and overrides."""
    known = [] if _split_off(context, incomplete) else [ALL, *options("learner"), *_trained()]
    return [name for name in known if name.startswith(incomplete)] + complete_overrides(context, incomplete)


def complete_runs(context: typer.Context, incomplete: str) -> list[str]:
    """Complete folders of trained runs under ``outputs``, rules that come with the program, and overrides."""
    known = [] if _split_off(context, incomplete) else _trained()
    return [name for name in known if name.startswith(incomplete)] + complete_overrides(context, incomplete)


def complete_unfinished(incomplete: str) -> list[str]:
    """Complete folders of runs under ``outputs`` that have no weights yet."""
    trained = _folders(f"{META_TRAIN}/*/weights.safetensors")
    return [name for name in _folders("meta-train/*/run.json") if name.startswith(incomplete) and name not in trained]


def complete_listed(context: typer.Context, incomplete: str) -> list[str]:
    """Complete folders of all runs under ``outputs``, their names alone, and some conditions on runs."""
    if key := _split_off(context, incomplete):
        return [name for name in _choices(key) if name.startswith(incomplete)]
    key, equals, start = incomplete.partition("=")
    if equals and (known := _choices(key)):
        return [f"{key}={name}" for name in known if name.startswith(start)]
    folders = _folders("*/*/run.json")
    known = [*(f"{key}=" for key in ASKED), *folders, *(Path(folder).name for folder in folders)]
    return [name for name in known if name.startswith(incomplete)]


def _trained() -> list[str]:
    return [*_folders(f"{META_TRAIN}/*/weights.safetensors"), *(f"{PRETRAINED}{name}" for name in pretrained())]


def _folders(pattern: str) -> list[str]:
    """Return the folders of runs below ``outputs``, including those in output folders within it."""
    return sorted({str(path.parent) for depth in ("", "*/") for path in Path(OUTPUTS).glob(depth + pattern)})


def complete_scales(incomplete: str) -> list[str]:
    """Complete names of scales."""
    return [scale for scale in SCALES if scale.startswith(incomplete)]


def complete_papers(incomplete: str) -> list[str]:
    """Complete names of papers."""
    return [paper for paper in papers() if paper.startswith(incomplete)]


def complete_artefacts(context: typer.Context, incomplete: str) -> list[str]:
    """Complete artefacts of the paper that was named, and overrides."""
    known = [] if _split_off(context, incomplete) else papers().get(context.params.get("paper") or "", [])
    return [name for name in known if name.startswith(incomplete)] + complete_overrides(context, incomplete)
