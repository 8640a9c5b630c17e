"""The command ``l2l runs``: its words and flags; nothing heavy is loaded before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from l2l_cli.completion import complete_listed
from l2l_cli.core.errors import UsageError
from l2l_cli.core.suffixes import PRETRAINED


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER|KEY=VALUE|NAME]...",
            help="Run folders, or folders that contain runs (default: outputs); conditions such as status=failed or "
            "task=b14; and parts of run names.  `pretrained:` stands for the learned rules that come with l2l.",
            autocompletion=complete_listed,
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the selected runs, after confirmation.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow runs, sweeps and cluster jobs until all have ended.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", "-a", help="List all runs, not only the newest.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the report of the selected run.")] = False,
) -> None:
    """List runs and reports, newest first; show, follow or remove the selected ones.

    As in `l2l runs`, `l2l runs task=b14 status=failed`, `l2l runs outputs/meta-train/RUN` or `l2l runs --remove RUN`.
    """
    if (remove and watch) or (yes and not remove):
        raise UsageError("--yes needs --remove, and --watch cannot be combined with it")
    if words == [PRETRAINED]:
        if remove or watch or all_ or open_:
            raise UsageError(f"`l2l runs {PRETRAINED}` lists the rules that come with l2l; its only flag is --json")
        from l2l_cli.commands.pretrained import run

        raise typer.Exit(run(json_))
    from l2l_cli.commands import runs as command

    asked = tuple(filter(None, words or ()))  # an unset variable of the shell gives an empty word
    raise typer.Exit(command.run(command.RunsRequest(asked, remove, yes, watch, all_, json_, open_)))
