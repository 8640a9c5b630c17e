"""Options of the configuration's groups, read from file names: fast enough for help and completion."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from l2l_cli.config.installed import installed_folders


def config_root() -> Path:
    """Return the folder of the configuration: next to the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (package.parent / "pyproject.toml").is_file() else package / "conf"


def roots_of(config_dir: str | None = None) -> list[Path]:
    """Return all folders of configuration: the user's, this program's, and those of installed packages."""
    return [*([Path(config_dir)] if config_dir else []), config_root(), *installed_folders()]


def options(group: str, config_dir: str | None = None) -> list[str]:
    """Return the names of a group's options; files whose names begin with an underscore are parts of others."""
    names = {path.stem for root in roots_of(config_dir) for path in (root / group).glob("*.yaml")}
    return sorted(name for name in names if not name.startswith("_"))


ANY_CLASS = "torch_optim"
"""Learner that takes any class of ``torch.optim.Optimizer``."""

ALL = "all"
"""Name among the contenders of ``compare`` that stands for every hand-made learner that fits the task."""


def contenders_of(names: Collection[str], config_dir: str | None = None) -> dict[str, list[str]]:
    """Return the overrides of hand-made contenders by name, with ``ALL`` replaced by all learners."""
    given = [name for name in names if name != ALL]
    known = options("learner", config_dir) if ALL in names else []
    return {name: contender_words(name, config_dir) for name in [*given, *known]}


def contender_words(name: str, config_dir: str | None = None) -> list[str]:
    """Return the overrides of a hand-made contender: a learner, or a class of ``torch.optim.Optimizer``."""
    if is_class(name) and name not in options("learner", config_dir):
        return [f"learner={ANY_CLASS}", f"learner.optimizer={name}"]
    return [f"learner={name}"]


def is_class(word: str) -> bool:
    """Return whether a word has the form of a class's dotted name, as in torch.optim.NAdam."""
    return re.fullmatch(r"(?:[^\W\d]\w*\.)+[A-Z]\w*", word) is not None


def recipes(config_dir: str | None = None) -> list[str]:
    """Return the recipes of all papers, in the form ``PAPER/NAME``, without the parts of others; see ``options``."""
    roots = [root / "recipe" for root in roots_of(config_dir)]
    files = [path.relative_to(root).with_suffix("") for root in roots for path in root.rglob("*.yaml")]
    named = [path for path in files if path.parts[0] not in ("learner", "pair") and not path.name.startswith("_")]
    return sorted({path.as_posix() for path in named})


def papers(config_dir: str | None = None) -> dict[str, list[str]]:
    """Return the artefacts of each paper that can be reproduced."""
    folders = sorted(
        {path.parent.name for root in roots_of(config_dir) for path in (root / "experiment").glob("*/*.yaml")}
    )
    return {folder: options(f"experiment/{folder}", config_dir) for folder in folders}
