"""Composition, checks and execution of a command as on the command line, within a user's program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from l2l_cli.commands.checks import check, on_the_task_of_runs
from l2l_cli.commands.doing import row_of_command
from l2l_cli.commands.known import key_of
from l2l_cli.config.compose import compose
from l2l_cli.config.own_task import opened
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.reference import giving
from l2l_cli.parallel.launched import launched
from l2l_cli.python.apart import apart
from l2l_cli.python.given import GivenObjects


class Calling(NamedTuple):
    """Options for carrying out a command.

    Attributes:
        config_dir: Folder with further configuration and Python modules, as for ``--config-dir``.
        force: Whether it runs again even if it is done.
        quiet: Whether nothing is printed.
    """

    config_dir: str | None
    force: bool
    quiet: bool

    @classmethod
    def of(cls, config_dir: str | Path | None, force: bool, quiet: bool) -> Calling:
        """Return the options, from a program's arguments."""
        return cls(None if config_dir is None else str(config_dir), force, quiet)


def carried_out(
    command: str, words: Sequence[str], overrides: Sequence[str], flags: Node, manner: Calling, given: GivenObjects
) -> Entries:
    """Carry out a command and return its row in a sweep's summary.

    Args:
        command: Name of the command.
        words: Words of its command line, for records.
        overrides: Overrides among them.
        flags: Its flags.
        manner: Options for carrying it out.
        given: Objects that its configuration names.

    Raises:
        L2LError: As on the command line, with the same messages.
    """
    asked = [*words, *(["--config-dir", manner.config_dir] if manner.config_dir else [])]
    with apart([command, *asked], manner.quiet), giving(given.objects):
        see_that_they_are_words(words)
        see_that_it_is_alone(command)
        settings = compose(command, opened(on_the_task_of_runs(flags, overrides)), manner.config_dir)
        check(command, settings, flags, alone=True)
        if settings.hardware.cluster and not flags.get("dry_run"):
            raise on_a_cluster(command)
        if given.objects and max(settings.hardware.world, settings.hardware.replicas) > 1:
            raise UsageError(
                "hardware.world and hardware.replicas divide work over processes, which do not have the objects given "
                "here; define them in a module, and import them from there"
            )
        return row_of_command(command, settings, flags, key_of(command, settings, flags) if manner.force else None)


def on_a_cluster(command: str) -> UsageError:
    """Return the error of a command that would leave its work to a cluster."""
    return UsageError(
        f"hardware.cluster leaves the work to jobs and returns, so a call has no result; use `l2l {command}`"
    )


def see_that_it_is_alone(command: str) -> None:
    """Check that no launcher has started several processes of the program.

    Raises:
        UsageError: A launcher has done so.
    """
    if place := launched():
        raise UsageError(
            f"a launcher has started this program {place.size} times, and a call is the work of one process; use `l2l "
            f"{command}`, or leave RANK and WORLD_SIZE out of its environment"
        )


def see_that_they_are_words(words: Sequence[object]) -> None:
    """Check that all arguments are strings.

    Raises:
        UsageError: An argument is not a string.
    """
    for word in words:
        if not isinstance(word, str):
            raise UsageError(f'{word!r} is a {type(word).__name__}; arguments are text, as in "meta.updates=100"')
