"""The choices in a group, as described by their YAML: a description, and every option with its default and comment.

Only files are read; no class is imported, since that would load torch.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from l2l_cli.config.groups import roots_of
from l2l_cli.config.user_yaml import read_yaml

TARGET, GLOBAL = "_target_", "# @package _global_"


class Option(NamedTuple):
    """An option of a choice.

    Attributes:
        key: Key on the command line, as in task.horizon.
        default: Its value in YAML, with references to other options unresolved.
        type: Type that the constructor declares, in Python's syntax; empty if it declares none.
        meaning: Comment next to it or, without one, the constructor's documentation of the argument.
    """

    key: str
    default: str
    type: str
    meaning: str


class Choice(NamedTuple):
    """A choice of a group.

    Attributes:
        group: Name of the group.
        name: Name of the choice.
        lines: Sentences at the top of the YAML file: a description, and its source.
        options: Its options by key, including those of the choices that it is composed of.
        sets: Choices that it makes in other groups, as in "gradient=mlhf".
    """

    group: str
    name: str
    lines: list[str]
    options: dict[str, Option]
    sets: list[str]

    @property
    def description(self) -> str:
        """The first sentence."""
        return self.lines[0].partition(".  ")[0].rstrip(".:") if self.lines else ""


class Argument(NamedTuple):
    """A constructor's documentation of an argument: its type and its meaning."""

    type: str
    meaning: str


def choice_of(group: str, name: str, config_dir: str | None = None) -> Choice | None:
    """Return a choice; None if there is no such file.

    Raises:
        UsageError: The file is not valid YAML.
    """
    file = next((path for root in roots_of(config_dir) if (path := root / group / f"{name}.yaml").is_file()), None)
    if file is None:
        return None
    entries, text = read_yaml(file)
    options: dict[str, Option] = {}
    sets: list[str] = []
    for item in entries.get("defaults", []):
        if isinstance(item, str) and item != "_self_" and (base := choice_of(group, item, config_dir)):
            options |= base.options
            sets += base.sets
        elif isinstance(item, dict):
            sets += [f"{_group_of(key)}={value}" for key, value in item.items() if str(key).startswith("override ")]
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    prefix = "" if text.lstrip().startswith(GLOBAL) else f"{group}."
    folders = [Path(config_dir)] if config_dir else []
    if isinstance(node, yaml.MappingNode):
        found = {option.key: option for option in _options(node, prefix, text.splitlines(), folders)}
        filled = {key: _filled(option, options.get(key)) for key, option in found.items()}
        # A node replaces a null.
        options = {
            key: one for key, one in options.items() if not any(own.startswith(f"{key}.") for own in found)
        } | filled
    return Choice(group, name, _said(text), options, sets)


def _filled(own: Option, base: Option | None) -> Option:
    """Return an option, with type and meaning taken from its base where it lacks them."""
    if base is None:
        return own
    return own._replace(type=own.type or base.type, meaning=own.meaning or base.meaning)


def _group_of(key: object) -> str:
    return str(key).removeprefix("override ").strip().lstrip("/").partition("@")[0]


def _said(text: str) -> list[str]:
    """Return the sentences at the top of a file; each starts on a new line and may continue over several."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if line.strip() == GLOBAL:
            continue
        words = line.lstrip("# ").rstrip()
        if lines and not lines[-1].endswith((".", ":")):
            lines[-1] += f" {words}"
        else:
            lines.append(words)
    return lines


def _options(node: yaml.MappingNode, prefix: str, lines: list[str], folders: list[Path]) -> Iterator[Option]:
    values = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    target = values.get(TARGET)
    known = arguments_of(target.value, tuple(folders)) if isinstance(target, yaml.ScalarNode) else {}
    for name, value in values.items():
        if name in (TARGET, "defaults"):
            continue
        if isinstance(value, yaml.MappingNode) and value.flow_style is not True and value.value:
            yield from _options(value, f"{prefix}{name}.", lines, folders)
            continue
        said = known.get(name, Argument("", ""))
        comment = _comment(lines[value.end_mark.line - (value.end_mark.column == 0)])
        yield Option(f"{prefix}{name}", _shown(value), said.type, comment or said.meaning)


def _comment(line: str) -> str:
    found = re.search(r"\s#\s*(.*)$", line)
    return found[1].strip() if found else ""


def _shown(node: yaml.Node) -> str:
    """Return a value as it would be typed."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(_shown(each) for each in node.value)}]"
    return f"{{{', '.join(f'{_shown(key)}: {_shown(value)}' for key, value in node.value)}}}"


@cache
def arguments_of(dotted: str, folders: tuple[Path, ...] = ()) -> dict[str, Argument]:
    """Return the documentation of a class's constructor arguments, read from its source; empty if that is not found.

    Arguments that a class passes on, as in ``**options``, are not followed.
    """
    module, _, name = dotted.rpartition(".")
    if (file := _source_of(module, folders)) is None:
        return {}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    definition = next((one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == name), None)
    if definition is None:
        return {}
    inits = [one for one in definition.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    types: dict[str, str] = {}
    if inits:
        arguments = inits[0].args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        types = {each.arg: ast.unparse(each.annotation) for each in every if each.annotation is not None}
    else:  # a dataclass
        fields = [one for one in definition.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
        types = {one.target.id: ast.unparse(one.annotation) for one in fields if isinstance(one.target, ast.Name)}
    meanings = _documented(ast.get_docstring(definition) or "")
    return {each: Argument(types.get(each, ""), meanings.get(each, "")) for each in {**types, **meanings}}


def _source_of(module: str, folders: tuple[Path, ...]) -> Path | None:
    parts = module.split(".")
    for folder in folders:
        if (file := folder.joinpath(*parts).with_suffix(".py")).is_file():
            return file
    try:
        spec = importlib.util.find_spec(parts[0])  # of the package only: finding its modules would import it
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(place).joinpath(*parts[1:]).with_suffix(".py")).is_file():
            return file
    return None


def _documented(docstring: str) -> dict[str, str]:
    """Return the entries of a docstring's Args section, each as one line."""
    found = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if not found:
        return {}
    entries: dict[str, str] = {}
    name = ""
    for line in found[1].splitlines():
        if head := re.match(r"^    (\w+): (.*)$", line):
            name, entries[head[1]] = head[1], head[2].strip()
        elif name and line.startswith("        "):
            entries[name] += f" {line.strip()}"
    return entries
