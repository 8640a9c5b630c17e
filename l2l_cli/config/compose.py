"""Composition of overrides into checked settings, and of error messages for mistakes; no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from l2l_cli.config.classes import add_folder
from l2l_cli.config.groups import options, papers, recipes
from l2l_cli.config.installed import installed_folders, refuse_broken
from l2l_cli.config.own_task import opened
from l2l_cli.config.remembered import Composed, composed
from l2l_cli.config.running import searched
from l2l_cli.config.saved import refuse_references, upgraded
from l2l_cli.config.schema import GROUPS, Row, Settings
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.plain_text import in_one_line

ConfigError = (HydraException, OmegaConfBaseException, ValueError, TypeError, AssertionError, OSError)
"""Errors that Hydra and OmegaConf raise for an invalid configuration.

ValueError occurs for task=null, TypeError for a list in place of a mapping, AssertionError for a group without a name,
and OSError for a name that is too long for a file.
"""

LONGEST = 2000
"""Largest number of characters of a message."""

INTERNAL = {"choices", "overrides", "config_dir", "replaces"}
"""Fields of the settings that the program fills in."""


def compose(command: str, overrides: Sequence[str], config_dir: str | None = None) -> Settings:
    """Compose a configuration as the command line does, even inside a running job.

    Raises:
        UsageError: The configuration is not valid.
    """
    cfg, choices = _composed(command, overrides, config_dir)
    return replace(settings_from(cfg, choices, overrides), config_dir=config_dir)


def compose_seed(overrides: Sequence[str], seed: int, output: str, config_dir: str | None = None) -> Settings:
    """Compose the configuration of one seed of a training.

    Raises:
        UsageError: The configuration is not valid.
    """
    cfg, choices = _composed("meta-train", overrides, config_dir)
    cfg.update({"seed": seed, "output": output})
    typed = [*overrides, f"seed={seed}", f"output={output}"]
    return replace(settings_from(cfg, choices, typed), config_dir=config_dir)


def _composed(command: str, overrides: Sequence[str], config_dir: str | None) -> Composed:
    try:
        return composed(command, opened(overrides), folders_of(config_dir))
    except ConfigError as error:
        raise usage_error(error, overrides, config_dir) from error


def search_path(config_dir: str | None) -> list[str]:
    """Return the override that adds folders of configuration; see ``folders_of``."""
    return searched(folders_of(config_dir))


def folders_of(config_dir: str | None) -> list[Path]:
    """Return the folders of configuration besides conf/, and make modules in the user's folder importable.

    Raises:
        UsageError: The folder does not exist, or an installed package is broken.
    """
    refuse_broken()
    folders = installed_folders()
    if config_dir is None:
        return folders
    folder = Path(config_dir).resolve()
    if not folder.is_dir():
        raise UsageError(f"--config-dir {config_dir} is not a folder; name one with task/, learner/, … files")
    add_folder(folder)
    return [folder, *folders]


def settings_from(cfg: DictConfig, choices: Node, overrides: Sequence[str]) -> Settings:
    """Turn a composed configuration into checked settings.

    Raises:
        UsageError: A value is missing, of the wrong type or out of range.
    """
    own = cfg.copy()  # of type Settings, since the schema comes first in the defaults of conf/base.yaml
    OmegaConf.set_struct(own, False)
    own.pop("hydra", None)
    own.choices, own.overrides = dict(choices), list(overrides)
    try:
        missing = sorted(OmegaConf.missing_keys(own))
        if missing:
            raise UsageError(f"no value for {', '.join(missing)}; set it, as in {missing[0]}=…")
        settings = OmegaConf.to_object(own)
    except ConfigError as error:  # including failed range checks of the schema
        raise usage_error(error, overrides) from error
    assert isinstance(settings, Settings)
    for key in _foreign(settings):
        raise UsageError(in_one_line(_unknown_key(key, overrides, None), LONGEST))
    return settings


def _foreign(node: object, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that are not in the schema; an override with ``+`` can add any key."""
    known = getattr(node, "__dataclass_fields__", {})
    for name, value in vars(node).items():
        if name not in known:
            yield prefix + name
        elif is_dataclass(value):
            yield from _foreign(value, f"{prefix}{name}.")


def identity_of(settings: Settings, *keys: str) -> Entries:
    """Return the part of the settings that determines a run's results, given the keys that its command reads."""
    plain = asdict(settings)
    return {key: plain[key] for key in ("name", "seed", "task", *keys)} | {"name": settings.run_name}


def identity_of_training(settings: Settings, *keys: str) -> Entries:
    """Return the part of the settings that determines the result of meta-training, and the values of further keys."""
    used = {"search": settings.search.trials > 0, "vary": bool(settings.vary)}
    given = [key for key, is_used in used.items() if is_used]
    # Only the names of these two choices count: two recipes that compose the same settings are the same training.
    names = {group: settings.choices.get(group) for group in ("task", "learner")}
    return identity_of(settings, "learner", "optimizer", "gradient", "meta", *given, *keys) | {"choices": names}


def settings_of_run(config: Node, present: Settings) -> Settings:
    """Return the settings in a run folder's config.yaml, with the present hardware and folders.

    Raises:
        UsageError: It is not what this version or an older one would have written.
    """
    refuse_references(config)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Settings), upgraded(_own(config)))
        settings = OmegaConf.to_object(merged)
    except ConfigError as error:
        raise UsageError(f"the run's config.yaml cannot be read: {_first_line(error)}") from error
    assert isinstance(settings, Settings)
    if not all(isinstance(settings.choices.get(group), str) for group in ("task", "learner")):
        raise UsageError("the run's config.yaml does not say which task and learner were chosen (choices)")
    places = {name: getattr(present, name) for name in ("hardware", "data", "store", "logger", "output", "config_dir")}
    return replace(settings, **places)


def _own(config: Node) -> Entries:
    """Return the content of a config.yaml without the fingerprints of code and data."""
    return {key: value for key, value in config.items() if key != "sources"}


def usage_error(error: Exception, overrides: Sequence[str] = (), config_dir: str | None = None) -> UsageError:
    """Describe an error of Hydra or OmegaConf in one line: what was asked for, what exists, the nearest match."""
    return UsageError(in_one_line(_described(error, overrides, config_dir), LONGEST))


def _described(error: Exception, overrides: Sequence[str], config_dir: str | None) -> str:
    # Hydra wraps OmegaConf's error about the value of an override.
    text = str(error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error)
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r} as KEY=VALUE; quote a value with signs, as in 'name=\"a=b\"'"
    if found := re.search(r"Could not (?:find|load) '([^']+/[^']+)'", text):
        return _unknown_choice(found.group(1), text, config_dir)
    if text.startswith("Config group override must be"):
        return "a group takes the name of one of its files, as in task=quadratic, not null"
    if found := re.search(r"Multiple values for ([^.]+)\.", text):
        return f"{found.group(1)} is already chosen; write {found.group(1)}=… without the '+'"
    if found := re.search(r"Could not (?:override|append to|delete from config\.) '([^']+)'", text):
        return _unknown_key(found.group(1).split("@")[0], overrides, config_dir)
    if found := re.search(r"Key '([^']+)' (?:is not in struct|not in '\w+')", text):
        return _unknown_key(_full_key(text) or found.group(1), overrides, config_dir)
    if found := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{found.group(1)!r} gives several values; add -m to sweep over them, or write a list [a,b]"
    key = _full_key(text)
    first = _first_line(error) if not text.strip() else text.strip().splitlines()[0].strip()
    return f"{key}: {first}" if key and key not in first else first


def _unknown_choice(asked: str, text: str, config_dir: str | None) -> str:
    """Describe a missing option of a group by those that exist; Hydra's ``text`` lists some of them."""
    found = re.search(r"Available options in '[^']+':\n((?:\t.+\n?)+)", text)
    folder = asked.rpartition("/")[0]
    group = folder if folder.startswith("hydra/") else folder.partition("/")[0]
    listed = found.group(1).split() if found else options(folder, config_dir)
    known = [f"{folder}/{name}" for name in listed if not name.startswith("_")]  # as in ``options``
    if not known and group == "experiment":
        known = [f"{group}/{paper}/{name}" for paper, names in papers(config_dir).items() for name in names]
    if group == "recipe":
        known = [f"{group}/{name}" for name in recipes(config_dir)]
    asked, *known = (name.removeprefix(f"{group}/") for name in [asked, *known])
    return f"there is no {group} {asked!r}{did_you_mean(asked, known)} ({group}: {', '.join(known) or 'none'})"


def _unknown_key(key: str, overrides: Sequence[str], config_dir: str | None) -> str:
    """Describe a key that does not exist by the keys that do."""
    if key.startswith(("hydra.", "hydra/")):
        return f"Hydra has no option {key!r}; `--cfg hydra` shows those that it has"
    parent, _, _ = key.rpartition(".")
    if parent.startswith("rows."):
        known = [f"{parent}.{each.name}" for each in fields(Row)]
    else:
        # A sweep's choices are left out, since there is no single configuration to compare with.
        chosen = [item for item in overrides if item.split("=")[0] in GROUPS and "," not in item]
        # If the choices alone cannot be composed, there is no configuration to compare with, either.
        known = list(_keys(asdict(compose("meta-train", chosen, config_dir)))) if chosen != list(overrides) else []
    beside = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
    place = f"under {parent}" if parent else "at the top"
    listing = f" ({place}: {', '.join(beside)})" if beside else f"; there is nothing {place}"
    node = parent.partition(".")[0] in ("task", "learner", "optimizer", "gradient")
    added = f"; if its class takes one of that name, +{key}=… adds it" if node and beside else ""
    return f"there is no option {key!r}{did_you_mean(key, known)}{listing}{added}"


def _keys(node: Node, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key that a user may set."""
    for name, value in node.items():
        if name.startswith("_") or (not prefix and name in INTERNAL):
            continue
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")


def _full_key(text: str) -> str | None:
    found = re.search(r"full_key: (.+)", text)  # names of rows may contain spaces
    return found.group(1) if found else None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()
