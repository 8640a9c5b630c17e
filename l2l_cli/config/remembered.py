"""Configurations by the choices of their groups, composed once in a process and then changed key by key.

Hydra takes a tenth of a second to put a configuration together from its files, and next to no time to set keys.  A
paper's rows and a notebook's calls differ mostly in keys.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from l2l_cli.config.groups import config_root
from l2l_cli.config.own_task import OWN_TASK, key_of_word
from l2l_cli.config.running import composition
from l2l_cli.config.schema import GROUPS
from l2l_cli.core.nodes import Entries

KEPT = 64
"""Number of configurations that are kept."""


class Composed(NamedTuple):
    """A configuration without Hydra's own part, and the choice made in each group."""

    config: DictConfig
    choices: Entries


def composed(command: str, words: Sequence[str], folders: Sequence[Path]) -> Composed:
    """Return what Hydra composes from overrides.

    Args:
        command: Name of a file in conf/.
        words: Overrides in Hydra's grammar.
        folders: Folders of configuration besides conf/.

    Raises:
        HydraException, OmegaConfBaseException, ValueError: The configuration is not valid.
    """
    chosen = [word for word in words if _is_choice(word)]
    values = [word for word in words if word not in chosen]
    # A user's folder may be a whole project: looking for what has changed in it takes longer than composing.
    changes = _changes(values) if OWN_TASK not in words and not folders else None
    if changes is None:
        return _whole(composition(command, words, folders))
    base = _kept(command, tuple(chosen), _stamps())
    config = copy.deepcopy(base.config)
    try:
        for change in changes:
            OmegaConf.update(config, change.key_or_group, change.value(), merge=True)
    except (HydraException, OmegaConfBaseException):  # Hydra says more about what is wrong
        return _whole(composition(command, words, folders))
    OmegaConf.set_struct(config, False)
    return Composed(config, dict(base.choices))


def _whole(config: DictConfig) -> Composed:
    """Take Hydra's own part out of a configuration, which then takes any key."""
    found = _without_hydra(config)
    OmegaConf.set_struct(found.config, False)
    return found


def _without_hydra(config: DictConfig) -> Composed:
    choices = {group: config.hydra.runtime.choices.get(group) for group in GROUPS}
    with open_dict(config):
        config.pop("hydra")
    return Composed(config, choices)


def _is_choice(word: str) -> bool:
    """Say whether an override chooses a file of a group: then the order of all others stays what it is."""
    key = key_of_word(word)
    return word[0] not in "+~" and (key != word.split("=")[0] or "/" in key or (config_root() / key).is_dir())


def _changes(words: Sequence[str]) -> list[Override] | None:
    """Return overrides that do no more than set a key that exists; None if one does something else."""
    if any(not re.match(r"(?!hydra\.)\w+(\.\w+)*=", word) for word in words):
        return None
    changes = OverridesParser.create().parse_overrides(list(words))
    return None if any(change.is_sweep_override() for change in changes) else changes


def _stamps() -> tuple[tuple[str, int, int], ...]:
    """Return path, time and size of all files in conf/, so that a file that has changed is read again."""
    files = sorted(config_root().rglob("*.yaml"))
    return tuple((str(path), (state := path.stat()).st_mtime_ns, state.st_size) for path in files)


@lru_cache(KEPT)
def _kept(command: str, chosen: tuple[str, ...], stamps: object) -> Composed:
    del stamps
    return _without_hydra(composition(command, chosen, []))
