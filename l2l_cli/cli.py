"""The command line.  It loads Typer, and nothing heavier until a command runs."""

from __future__ import annotations

import atexit
import gc
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
    complete_papers,
    complete_runs,
    complete_scales,
    complete_unfinished,
)
from l2l_cli.config.groups import papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.schema import GROUPS
from l2l_cli.config.words import (
    START,
    START_COMPARE,
    artefacts_and_overrides,
    contenders_and_overrides,
    exporting,
    run_and_overrides,
)
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.failures import failure_of
from l2l_cli.core.stop import STOP
from l2l_cli.core.streams import lost_output, protect
from l2l_cli.core.voice import VOICE
from l2l_cli.flags import (
    CFG,
    INFO,
    Cfg,
    ConfigDir,
    Force,
    Given,
    Info,
    Json,
    Multirun,
    Overrides,
    Quiet,
    Trust,
    groups_help,
)
from l2l_cli.listing import runs
from l2l_cli.parallel.launched import refuse_ranks, take_place
from l2l_cli.starting import starting

# Typer has no public name for the errors of its parser; their common class is the base of BadParameter.
WRONG_USAGE: type[typer.BadParameter] = typer.BadParameter.__mro__[1]


app = typer.Typer(
    name="l2l",
    help="Learning to learn: meta-train a learner, evaluate it, compare it fairly, reproduce the founding papers.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)


def _launch(command: str, overrides: list[str] | None, given: Given, **flags: object) -> None:
    if command != "meta-train":
        refuse_ranks(command)
    _check_choice("--cfg", given.cfg, CFG)
    _check_choice("--info", given.info, INFO)
    if bool(given.multirun) + bool(given.cfg) + bool(given.info) > 1:
        raise UsageError("-m runs a sweep, --cfg and --info only print; give only one of them")
    if (given.quiet or given.as_json) and (given.cfg or given.info):
        raise UsageError("--cfg and --info print the configuration; drop --quiet and --json")
    from l2l_cli import bridge

    with _speaking(command, given.quiet, given.as_json):
        code = bridge.launch(command, overrides or [], flags, given.of_hydra, given.config_dir, given.force)
    raise typer.Exit(code)


@contextmanager
def _speaking(command: str, quiet: bool, as_json: bool) -> Iterator[None]:
    """Print in the manner that the user wants, even after Ctrl-C."""
    try:
        with VOICE.speaking(command, quiet, as_json):
            yield
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error


def _check_choice(name: str, asked: str | None, known: Sequence[str]) -> None:
    if asked is not None and asked not in known:
        raise UsageError(f"there is no {name} {asked!r}{did_you_mean(asked, known)} ({name}: {', '.join(known)})")


@app.command("meta-train", epilog=groups_help("task", "learner", "optimizer", "gradient", "hardware"))
def meta_train(
    overrides: Overrides = None,
    multirun: Multirun = False,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Resume this run from its last checkpoint, with its own settings.", autocompletion=complete_unfinished
        ),
    ] = None,
    cfg: Cfg = None,
    info: Info = None,
    config_dir: ConfigDir = None,
    trust: Trust = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Build and check everything, and estimate time and memory without training."),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    json_: Json = False,
    export: Annotated[
        str | None,
        typer.Option(help="Export the finished run to this file (such as rule.safetensors), for later versions too."),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the exported weights, such as CC0-1.0.")] = None,
) -> None:
    """Meta-train a learner on a task, as in `l2l meta-train task=quadratic`."""
    if not (overrides or multirun or resume or cfg or info or config_dir or trust or dry_run or force or export):
        print(START)
        raise typer.Exit(UsageError.exit_code)
    if dry_run and (multirun or resume or cfg or info):
        raise UsageError("--dry-run plans a single new training run; drop -m, --resume, --cfg and --info")
    if resume and force:
        raise UsageError("--resume continues a run, and --force starts it again; give only one of them")
    flags = {"resume": resume, "trust": trust or [], "dry_run": dry_run}
    flags |= exporting(export, licence, not (multirun or dry_run or cfg or info))
    given = Given(config_dir, multirun, cfg, info, force, quiet, json_)
    _launch("meta-train", overrides, given, **flags)


@app.command(epilog=groups_help("task", "hardware"))
def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|KEY=VALUE]...",
            help="Folder of a finished meta-training run, or a learned rule that comes with l2l (such as "
            "pretrained:digits), and Hydra overrides.",
            autocompletion=complete_runs,
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The run folder, instead of the argument RUN.")] = None,
    multirun: Multirun = False,
    cfg: Cfg = None,
    info: Info = None,
    config_dir: ConfigDir = None,
    trust: Trust = None,
    force: Force = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Score a meta-trained learner on fresh episodes, longer horizons, another task or a grid of them."""
    overrides, run = run_and_overrides(words or [], run)
    if run is None and not (cfg or info):
        raise UsageError("evaluate needs a run; name its folder (`l2l runs` lists the runs that exist)")
    given = Given(config_dir, multirun, cfg, info, force, quiet, json_)
    _launch("evaluate", overrides, given, run_folder=run, trust=trust or [])


@app.command(epilog=groups_help("task", "learner", "tune", "hardware"))
def compare(
    contenders: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of learners, folders of finished runs, learned rules that come with l2l (such as "
            "pretrained:digits), subclasses of torch.optim.Optimizer (such as torch.optim.NAdam), and overrides; `all` "
            "stands for every hand-made learner that fits the task.",
            autocompletion=complete_contenders,
        ),
    ] = None,
    multirun: Multirun = False,
    cfg: Cfg = None,
    info: Info = None,
    config_dir: ConfigDir = None,
    trust: Trust = None,
    force: Force = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Compare learners on the same episodes, as in `l2l compare task=quadratic RUN adam sgd`.

    Hand-made learners are tuned first, each with the same budget, on separate episodes.
    """
    if not (contenders or multirun or cfg or info or config_dir or force):
        print(START_COMPARE)
        raise typer.Exit(UsageError.exit_code)
    overrides, learners, runs = contenders_and_overrides(contenders or [], config_dir)
    given = Given(config_dir, multirun, cfg, info, force, quiet, json_)
    _launch("compare", overrides, given, learners=learners, runs=runs, trust=trust or [])


@app.command(epilog=groups_help("hardware"))
def reproduce(
    paper: Annotated[str | None, typer.Argument(help="Name of the paper.", autocompletion=complete_papers)] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARTEFACT|KEY=VALUE]...",
            help="Tables and figures (default: all), and overrides, which the report lists unless they concern only "
            "hardware or the location of data.",
            autocompletion=complete_artefacts,
        ),
    ] = None,
    scale: Annotated[
        str, typer.Option(help="Size: smoke, short, study or paper.", autocompletion=complete_scales)
    ] = "short",
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds per row (default: the scale's).")] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder for the results (default: outputs/PAPER/SCALE-HASH).")
    ] = None,
    check: Annotated[bool, typer.Option(help="Exit with code 3 if a result misses a bound of the preset.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="List the papers, or the artefacts of one paper, with scales and minutes.")
    ] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="Runs in parallel (default: one per core).")] = None,
    config_dir: ConfigDir = None,
    force: Force = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Run a paper's tables and figures and compare them with the published numbers and the limits.

    Overrides change every row, as in `l2l reproduce PAPER table1 hardware.threads=2 meta.updates=100`.
    """
    refuse_ranks("reproduce")
    with _speaking("reproduce", quiet, json_):
        if list_:
            from l2l_cli.commands.catalogue import print_catalogue

            code = print_catalogue(papers(config_dir), paper, config_dir)
        else:
            artefacts, others = map(tuple, artefacts_and_overrides(paper, words or [], scale, config_dir))
            request = ReproduceRequest(
                str(paper), artefacts, scale, seeds, output, check, processes, config_dir, others, force
            )
            from l2l_cli.commands.checks import check_reproduction

            check_reproduction(request)
            from l2l_cli.commands import reproduce as command

            code = command.run(request).exit_code
    raise typer.Exit(code)


app.command()(runs)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Learning to learn: meta-train a learner, evaluate it, compare it fairly, reproduce the founding papers."""
    if version:
        print(f"l2l {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; any error that a user can correct is printed in one line."""
    protect()
    atexit.register(gc.freeze)  # otherwise Python would run the garbage collector once more, which takes a second
    if {"--help", "-h"} & set(sys.argv) and {word.partition("=")[0] for word in sys.argv[2:]} & set(GROUPS):
        from l2l_cli.commands.choice_help import explained

        if explained(sys.argv[1:]):
            return
    # Read when torch is loaded: otherwise its idle threads occupy the cores that our kernels' threads need.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        # In standalone mode, Typer would print its own errors over several lines.  A launcher passes on a signal that
        # the terminal has already sent to all of its ranks.
        with STOP.listening(serves=take_place() is not None), starting(sys.argv[1:]):
            code = app(standalone_mode=False)
    except KeyboardInterrupt:  # from commands that save nothing, such as listings
        sys.exit(130)
    except WRONG_USAGE as error:
        path, message = error.ctx.command_path if error.ctx else "l2l", " ".join(error.format_message().split())
        if message:  # empty if `l2l` alone has printed its help
            print(f"error: {message} (see `{path} --help`)", file=sys.stderr)
        sys.exit(UsageError.exit_code)
    except Exception as error:
        failure = failure_of(error)
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
    if lost := lost_output():
        print(f"error: the output could not be written ({lost}); what was computed is saved", file=sys.stderr)
    sys.exit(code or (1 if lost else 0))
