"""Execution of one configuration of a command, requested by the command line or by a Python program; no torch."""

from __future__ import annotations

import importlib

from l2l_cli.commands.known import remember
from l2l_cli.config.schema import Settings
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.runs.aside import again


def row_of_command(command: str, settings: Settings, flags: Node, aside: str | None = None) -> Entries:
    """Carry out a command with settings that have been checked, and return its row in a sweep's summary.

    Args:
        command: Name of a module of l2l_cli.commands.
        settings: Its configuration.
        flags: Its flags.
        aside: Name under which it runs again although it is done; None reuses finished results.
    """
    module = importlib.import_module(f"l2l_cli.commands.{command.replace('-', '_')}")
    row: Entries = module.run(settings if aside is None else again(settings, aside), **flags)
    remember(command, settings, flags, row)
    return row
