"""The command line.  It loads Typer, and nothing heavier until a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from l2l_cli import __version__
from l2l_cli.completion import (
    complete_artefacts,
    complete_contenders,
    complete_overrides,
    complete_papers,
    complete_runs,
    complete_scales,
)
from l2l_cli.config.groups import options, papers
from l2l_cli.config.schema import GROUPS, SCALES, ReproduceRequest
from l2l_cli.config.words import START, contenders_and_overrides, exporting, is_override, run_and_overrides
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.failures import failure_of
from l2l_cli.core.stop import STOP
from l2l_cli.core.streams import lost_output, protect
from l2l_cli.parallel.launched import refuse_ranks, take_place

CFG = ("job", "hydra", "all")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

# Typer gives the errors of its parser no public name; what they have in common is BadParameter's base.
WRONG_USAGE: type[typer.BadParameter] = typer.BadParameter.__mro__[1]


def _groups_help(*groups: str) -> str:
    lines = [f"[bold]{group}[/]: {', '.join(options(group))}" for group in groups if options(group)]
    first = "Groups, set as in [cyan]task=quadratic[/]; any option as in [cyan]meta.updates=500[/]."
    more = (
        "[cyan]task --help[/] says what the tasks are, and [cyan]task=quadratic --help[/] what options one of them has."
    )
    return "\n\n".join([first, *lines, more])


app = typer.Typer(
    name="l2l",
    help="Learning to learn: meta-train a learner, evaluate it, compare it fairly, reproduce the founding papers.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)

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
    bool, typer.Option("--force", help="Run again although it is done; the new result then takes the old one's place.")
]


def _launch(
    command: str,
    overrides: list[str] | None,
    config_dir: str | None,
    multirun: bool,
    cfg: str | None,
    info: str | None,
    force: bool,
    **flags: object,
) -> None:
    if command != "meta-train":
        refuse_ranks(command)
    _check_choice("--cfg", cfg, CFG)
    _check_choice("--info", info, INFO)
    if bool(multirun) + bool(cfg) + bool(info) > 1:
        raise UsageError("-m runs a sweep, --cfg and --info only print; give one of them")
    from l2l_cli import bridge

    hydra_flags = [
        *(["-m"] if multirun else []),
        *(["--cfg", cfg] if cfg else []),
        *(["--info", info] if info else []),
    ]
    with _interruptible():
        raise typer.Exit(bridge.launch(command, overrides or [], flags, hydra_flags, config_dir, force))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Tell a user who pressed Ctrl-C what to do next."""
    try:
        yield
    except KeyboardInterrupt as error:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        raise typer.Exit(130) from error


def _check_choice(name: str, asked: str | None, known: Sequence[str]) -> None:
    if asked is not None and asked not in known:
        raise UsageError(f"there is no {name} {asked!r}{did_you_mean(asked, known)} ({name}: {', '.join(known)})")


@app.command("meta-train", epilog=_groups_help("task", "learner", "optimizer", "gradient", "hardware"))
def meta_train(
    overrides: Overrides = None,
    multirun: Multirun = False,
    resume: Annotated[
        str | None, typer.Option(help="Resume this run from its last checkpoint, with its own settings.")
    ] = None,
    cfg: Cfg = None,
    info: Info = None,
    config_dir: ConfigDir = None,
    trust: Trust = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build and check everything, and say what it would take; train nothing.")
    ] = False,
    force: Force = False,
    export: Annotated[
        str | None,
        typer.Option(help="Write the finished run to this file, as in rule.safetensors, that later versions read."),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights in it, as in CC0-1.0.")] = None,
) -> None:
    """Meta-train a learner on a task, as in `l2l meta-train task=quadratic`."""
    if not (overrides or multirun or resume or cfg or info or config_dir or trust or dry_run or force or export):
        print(START)
        raise typer.Exit(UsageError.exit_code)
    if dry_run and (multirun or resume or cfg or info):
        raise UsageError("--dry-run plans one new training; drop -m, --resume, --cfg and --info")
    if resume and force:
        raise UsageError("--resume goes on with a run, and --force begins it again; give one of them")
    flags = {"resume": resume, "trust": trust or [], "dry_run": dry_run}
    flags |= exporting(export, licence, not (multirun or dry_run or cfg or info))
    _launch("meta-train", overrides, config_dir, multirun, cfg, info, force, **flags)


@app.command(epilog=_groups_help("task", "hardware"))
def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|KEY=VALUE]...",
            help="Run folder of a finished meta-train, and Hydra overrides.",
            autocompletion=complete_runs,
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The run folder, in place of RUN.")] = None,
    multirun: Multirun = False,
    cfg: Cfg = None,
    info: Info = None,
    config_dir: ConfigDir = None,
    trust: Trust = None,
    force: Force = False,
) -> None:
    """Score a meta-trained learner on fresh episodes, longer horizons, another task or a grid of them."""
    overrides, run = run_and_overrides(words or [], run)
    if run is None and not (cfg or info):
        raise UsageError("evaluate which run? name its folder, which `l2l meta-train` prints when it ends")
    _launch("evaluate", overrides, config_dir, multirun, cfg, info, force, run_folder=run, trust=trust or [])


@app.command(epilog=_groups_help("task", "learner", "tune", "hardware"))
def compare(
    contenders: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of learners, folders of finished runs, and overrides; `all` is every hand-made learner that "
            "fits, and a class of torch.optim.Optimizer is one, as in torch.optim.NAdam.",
            autocompletion=complete_contenders,
        ),
    ] = None,
    multirun: Multirun = False,
    cfg: Cfg = None,
    info: Info = None,
    config_dir: ConfigDir = None,
    trust: Trust = None,
    force: Force = False,
) -> None:
    """Compare learners on the same episodes, as in `l2l compare task=quadratic RUN adam sgd`.

    Hand-made learners are tuned first, each with the same budget, on separate episodes.
    """
    overrides, learners, runs = contenders_and_overrides(contenders or [], config_dir)
    _launch(
        "compare", overrides, config_dir, multirun, cfg, info, force, learners=learners, runs=runs, trust=trust or []
    )


@app.command(epilog=_groups_help("hardware"))
def reproduce(
    paper: Annotated[str | None, typer.Argument(help="Name of the paper.", autocompletion=complete_papers)] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARTEFACT|KEY=VALUE]...",
            help="Tables and figures, by default all; and overrides, which the report names unless they are of "
            "hardware or data.",
            autocompletion=complete_artefacts,
        ),
    ] = None,
    scale: Annotated[str, typer.Option(help="smoke, short, study or paper.", autocompletion=complete_scales)] = "short",
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds per row (default: the scale's).")] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder for the results (default: outputs/PAPER/SCALE-HASH).")
    ] = None,
    check: Annotated[bool, typer.Option(help="Exit with 3 if a number breaks one of the preset's promises.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show papers, artefacts and scales, with minutes.")] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="Runs in parallel (default: one per core).")] = None,
    config_dir: ConfigDir = None,
    force: Force = False,
) -> None:
    """Run a paper's tables and figures and compare them with the published numbers and the limits.

    Overrides change every row, as in `l2l reproduce PAPER table1 hardware.threads=2 meta.updates=100`.
    """
    refuse_ranks("reproduce")
    known = papers(config_dir)
    if list_:
        from l2l_cli.commands.catalogue import print_catalogue

        raise typer.Exit(print_catalogue(known, config_dir))
    if paper is None:
        raise UsageError(f"which paper? known are {', '.join(known)}; see `l2l reproduce --list`")
    if paper not in known:
        raise UsageError(f"there is no preset for {paper!r}{did_you_mean(paper, known)} (papers: {', '.join(known)})")
    artefacts = [word for word in words or [] if word in known[paper] or not is_override(word)]
    overrides = [word for word in words or [] if word not in artefacts]
    for artefact in artefacts:
        if artefact not in known[paper]:
            raise UsageError(
                f"{paper} has no artefact {artefact!r}{did_you_mean(artefact, known[paper])} "
                f"(artefacts: {', '.join(known[paper])})"
            )
    if scale not in SCALES:
        raise UsageError(f"there is no scale {scale!r}{did_you_mean(scale, SCALES)} (scales: {', '.join(SCALES)})")
    request = ReproduceRequest(
        paper, tuple(artefacts), scale, seeds, output, check, processes, config_dir, tuple(overrides), force
    )
    with _interruptible():
        from l2l_cli.commands.checks import check_reproduction

        check_reproduction(request)
        from l2l_cli.commands import reproduce as command

        raise typer.Exit(command.run(request))


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Learning to learn: meta-train a learner, evaluate it, compare it fairly, reproduce the founding papers."""
    if version:
        print(f"l2l {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; every error that a user can correct is one line."""
    protect()
    if {"--help", "-h"} & set(sys.argv) and {word.partition("=")[0] for word in sys.argv[2:]} & set(GROUPS):
        from l2l_cli.commands.choice_help import explained

        if explained(sys.argv[1:]):
            return
    # Read when torch is loaded: otherwise its idle threads keep the cores busy that our kernels' threads wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        # Standalone, Typer would print its own errors over several lines.
        # A launcher passes on a signal that the terminal has sent to all of its ranks already.
        with STOP.listening(serves=take_place() is not None):
            code = app(standalone_mode=False)
    except KeyboardInterrupt:  # of what saves nothing, as a listing
        sys.exit(130)
    except WRONG_USAGE as error:
        path, message = error.ctx.command_path if error.ctx else "l2l", " ".join(error.format_message().split())
        if message:  # empty where `l2l` alone has printed its help
            print(f"error: {message} (see `{path} --help`)", file=sys.stderr)
        sys.exit(UsageError.exit_code)
    except Exception as error:
        failure = failure_of(error)
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
    if lost := lost_output():
        print(f"error: the output could not be written ({lost}); what was computed is saved", file=sys.stderr)
    sys.exit(code or (1 if lost else 0))
