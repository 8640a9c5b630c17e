"""``--help`` after a choice: its description, and all of its options; no torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from l2l_cli.config.choices import Option, choice_of
from l2l_cli.config.groups import options
from l2l_cli.config.schema import GROUPS
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.printable import printable

HELP = ("--help", "-h")

DESCRIBED = tuple(group for group in GROUPS if group not in ("recipe", "experiment"))
"""Groups whose choices are described; ``l2l reproduce --list`` lists those of papers."""

PLAIN = re.compile(r"(?:(?:Sequence|list|tuple|dict)\[)*(?:int|float|bool|str)\b.*")
"""Types that a user can read; others are names internal to this program."""


def explained(words: Sequence[str]) -> bool:
    """Print the help that a command line requests on groups and choices, as in `l2l meta-train task=digits --help`.

    Returns whether there was any; an error that a user can correct is printed in one line and ends the program.
    """
    topics = asked(words)
    folders = [after for word, after in pairwise(words) if word == "--config-dir"]
    folders += [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    try:
        print_choices(topics, words[0], folders[-1] if folders else None)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    return bool(topics)


def asked(words: Sequence[str]) -> list[str]:
    """Return the groups and choices on which a command line requests help, such as "task" and "task=digits"."""
    if not any(word in HELP for word in words):
        return []
    return [word for word in words[1:] if word.partition("=")[0] in DESCRIBED]


def print_choices(words: Sequence[str], command: str, config_dir: str | None) -> None:
    """Print the descriptions of groups and choices.

    Raises:
        UsageError: A group has no such choice.
    """
    screen = Console(highlight=False, soft_wrap=True)
    width = max(40, Console().width)
    for index, word in enumerate(words):
        if index:
            screen.print()
        group, _, name = word.partition("=")
        for line in (
            _of_choice(group, name, config_dir, width) if name else _of_group(group, command, config_dir, width)
        ):
            screen.print(line)


def _of_group(group: str, command: str, config_dir: str | None, width: int) -> list[Text]:
    names = options(group, config_dir)
    lines = [Text(f"{group}=NAME; `l2l {command} {group}=NAME --help` shows the options of one", "bold")]
    indent = max(map(len, names)) + 4
    for name in names:
        choice = choice_of(group, name, config_dir)
        said = wrap(printable(choice.description) if choice else "", max(20, width - indent)) or [""]
        lines.append(Text(f"  {name:<{indent - 2}}{said[0]}"))
        lines += [Text(" " * indent + line) for line in said[1:]]
    return lines


def _of_choice(group: str, name: str, config_dir: str | None, width: int) -> list[Text]:
    choice = choice_of(group, name, config_dir)
    if choice is None:
        known = options(group, config_dir)
        raise UsageError(f"there is no {group} {name!r}{did_you_mean(name, known)} ({group}: {', '.join(known)})")
    lines = [Text(f"{group}={name}", "bold")]
    lines += [Text(line) for said in choice.lines for line in wrap(printable(said), width)]
    if choice.sets:
        lines.append(Text(f"By default it comes with {', '.join(choice.sets)}."))
    lines.append(Text())
    for option in choice.options.values():
        lines += _of_option(option, width)
    return lines


def _of_option(option: Option, width: int) -> list[Text]:
    kind = _readable(option.type)
    head = Text.assemble(
        "  ", (option.key, "cyan"), f"={printable(option.default)}", (f"  {kind}" if kind else "", "dim")
    )
    return [head, *(Text(f"      {line}") for line in wrap(printable(option.meaning), width - 6))]


def _readable(kind: str) -> str:
    """Return a type in readable form; empty for a class of this program, whose name tells a user nothing."""
    if found := re.fullmatch(r"Literal\[(.*)\]", kind):
        return " | ".join(part.strip().strip("'\"") for part in found[1].split(","))
    return kind.replace("None", "null") if PLAIN.fullmatch(kind) else ""
