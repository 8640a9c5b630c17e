"""Arguments and flags that several commands of the command line share; nothing heavy is loaded here."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from l2l_cli.completion import complete_overrides
from l2l_cli.config.groups import options

CFG = ("job", "hydra", "all")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def groups_help(*groups: str) -> str:
    """Return the text below a command's help: the groups, and the choices in each."""
    lines = [f"[bold]{group}[/]: {', '.join(options(group))}" for group in groups if options(group)]
    first = "Choose from a group with [cyan]task=quadratic[/]; set any option with [cyan]meta.updates=500[/]."
    more = "[cyan]task --help[/] describes all tasks, [cyan]task=quadratic --help[/] one task and its options."
    return "\n\n".join([first, *lines, more])


Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Hydra overrides, as in task=b16 learner.hidden=12.", autocompletion=complete_overrides),
]
Multirun = Annotated[
    bool, typer.Option("--multirun", "-m", help="Sweep: one run for each combination, as in a=1,2 b=3,4.")
]
Cfg = Annotated[str | None, typer.Option(help="Print the configuration (job, hydra or all) without running.")]
Info = Annotated[str | None, typer.Option(help=f"Show how the configuration was composed ({', '.join(INFO)}).")]
ConfigDir = Annotated[
    str | None, typer.Option(help="Folder with your own task/, learner/, … files and the Python modules they name.")
]
Trust = Annotated[
    list[str] | None, typer.Option(help="Allow saved runs to load classes from this package (repeatable).")
]


Force = Annotated[
    bool, typer.Option("--force", help="Run again even if the result exists; the new result replaces the old one.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and the result.")]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object per line on standard output; other messages go to standard error."
    ),
]


class Given(NamedTuple):
    """The flags that all commands with a configuration share, as given by the user."""

    config_dir: str | None
    multirun: bool
    cfg: str | None
    info: str | None
    force: bool
    quiet: bool
    as_json: bool

    @property
    def of_hydra(self) -> list[str]:
        """The flags that Hydra itself understands."""
        return [
            *(["-m"] if self.multirun else []),
            *(["--cfg", self.cfg] if self.cfg else []),
            *(["--info", self.info] if self.info else []),
        ]
